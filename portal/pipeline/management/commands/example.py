"""`manage.py example`: upload the drawn example set; `--settle` answers for the readers with the generator's truth."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from portal.pipeline import example


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--if-empty", action="store_true", help="do nothing where something was uploaded already")
        parser.add_argument("--patients", type=int, default=40)
        parser.add_argument("--settle", action="store_true", help="label what was analysed so far by the truth it was drawn from")

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ARG002
        if options["settle"]:
            settled = example.settle(actor=None)
            self.stdout.write(f"settled {settled.settled}; {settled.waiting} not yet analysed, {settled.done} settled before")
            return
        if options["if_empty"] and not example.wanted():
            return
        self.stdout.write(f"drawing pictures of {options['patients']} patients of three example sites ...")
        self.stdout.write(f"uploaded {example.send(patients=options['patients'])} example images; they fill the pages as they are analysed")
