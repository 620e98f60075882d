"""`manage.py move_store --to s3`: copy the stores to where they are to be kept, and compare every blob, before the setting is changed."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from portal.images import moving, objects


class Command(BaseCommand):
    help = (
        "Copy originals, clean pictures and thumbnails from the folders into the buckets (--to s3) or back (--to files), read each back, "
        "compare it. Safe to repeat. Nothing is removed. Exit status 1 where any blob cannot be relied on there."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--to", choices=["s3", "files"], required=True)

    def handle(self, *args: Any, to: str, **options: Any) -> None:  # noqa: ARG002
        if not (settings.S3_ORIGINALS and settings.S3_CLEAN):
            raise CommandError("Name the two buckets first: WINNOW_S3_ORIGINALS and WINNOW_S3_CLEAN.")
        if why := objects.trouble():
            raise CommandError(f"{why.capitalize()}. Nothing was copied.")
        blobs = copied = size = wrong = 0
        try:
            for blobs, moved in enumerate(moving.move(to), 1):
                copied, size, wrong = copied + moved.copied, size + moved.size, wrong + bool(moved.trouble)
                if moved.trouble:
                    self.stdout.write(f"{moved.store}/{moved.site}/{moved.name}: {moved.trouble}")
                if blobs % 1000 == 0:
                    self.stdout.write(f"{blobs:,} blobs compared, {copied:,} of them copied now ...")
        except objects.Unreachable as away:
            raise CommandError(f"{away.strerror} after {blobs:,} blobs. Run it again: what is there is not sent twice.") from away
        self.stdout.write(f"{blobs:,} blobs, {size / 1e9:.2f} GB: all compared, {copied:,} copied now.")
        if wrong:
            raise CommandError(f"{wrong:,} cannot be relied on there: see above. Mend them (`manage.py verify_store`), then run it again.")
        self.stdout.write(f"Now set WINNOW_STORE={to}, and run `manage.py verify_store` before the workers start.")
