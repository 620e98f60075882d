"""`manage.py verify_audit`: has anybody changed the audit trail behind the portal's back?"""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from portal.audit import services


class Command(BaseCommand):
    help = "Walk the hash chain of the audit trail; exit with an error where it is broken."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--head", default="", help="A head digest from an earlier log ('audit sealed: ...'); it must still be there.")

    def handle(self, *args: Any, head: str, **options: Any) -> None:  # noqa: ARG002
        found = services.verify(expected_head=head)
        self.stdout.write(f"{found.sealed} events sealed, {found.unsealed} not yet; head {found.head}")
        if found.breaks:
            raise CommandError("The audit trail was changed:\n" + "\n".join(found.breaks))
        self.stdout.write("The chain is whole.")
