"""`manage.py verify_store`: are the originals, clean pictures and thumbnails there, sound, and somebody's?"""

from __future__ import annotations

from argparse import ArgumentTypeError
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from portal.images import checking
from portal.images.walk import Finding, Sort, Wanted


def _day(text: str) -> float:
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()
    except ValueError as error:
        raise ArgumentTypeError("a day such as 2027-03-31") from error


def _share(text: str) -> float:
    value = float(text)
    if not 0 < value <= 1:
        raise ArgumentTypeError("a share above 0, up to 1")
    return value


class Command(BaseCommand):
    help = "Read the stores beside their rows: rotten, missing and orphan blobs, temporary leftovers. Exit status 1 where any is found."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--since", type=_day, default=0.0, help="read only what was written since this day")
        parser.add_argument("--sample", type=_share, default=1.0, help="read only this share of the blobs, chosen by chance, such as 0.05")
        parser.add_argument("--repair", action="store_true", help="put orphans into lost+found; make clean pictures and thumbnails anew")

    def handle(self, *args: Any, since: float, sample: float, repair: bool, **options: Any) -> None:  # noqa: ARG002
        report = checking.Report()
        for report in checking.check(Wanted(since, sample), repair=repair):
            if options["verbosity"] > 1:
                self.stdout.write(f"{report.blobs} blobs read ...")
        for finding in report.findings:
            self.stdout.write(_said(finding))
        self.stdout.write(f"{report.blobs} blobs, {report.bytes / 1e9:.2f} GB read.")
        wrong = {sort: count - report.mended.get(sort, 0) for sort, count in report.counts.items()}
        if report.mended:
            self.stdout.write("Set right: " + ", ".join(f"{count} {sort}" for sort, count in report.mended.items()))
        if any(wrong.values()):
            raise CommandError("Found: " + ", ".join(f"{count} {sort}" for sort, count in wrong.items() if count))
        self.stdout.write("All is sound.")


def _said(finding: Finding) -> str:
    owner = ", image " + ", ".join(map(str, finding.images)) if finding.images else ""
    where = ".incoming" if finding.sort is Sort.LEFTOVER else finding.site
    return f"{finding.sort}: {finding.store}/{where}/{finding.name}{owner}"
