"""`manage.py check_invariants`: prints what is broken; exit status 1 if anything is."""

import sys
from typing import Any

from django.core.management.base import BaseCommand

from portal.pipeline.invariants import HARMLESS, SHOWN, collect, violations


class Command(BaseCommand):
    help = "Check that nothing is stuck, lost, doubled, without its blob, or unaudited."

    def handle(self, *args: Any, **options: Any) -> None:
        del args, options
        found = violations()
        for name, rows in sorted(found.items()):
            print(f"{name}: {len(rows)}{'+' if len(rows) >= SHOWN else ''}: " + ", ".join(str(row) for row in rows[:5]))
        broken = found.keys() - HARMLESS
        queries, checks = collect()
        print(f"{len(queries) + len(checks)} invariants checked, {len(broken)} broken.")
        sys.exit(1 if broken else 0)
