"""`manage.py work ROLE`: become the worker of one role (io, gpu, train, beat), with the command line that `manage.py up` uses too."""

from __future__ import annotations

import os
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from portal.pipeline.commands import worker_commands


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("role", choices=sorted(worker_commands()))

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ARG002
        command = worker_commands()[options["role"]]
        os.execv(command[0], command)  # noqa: S606  # nosec B606 # one of our own commands, chosen by a name from a list
