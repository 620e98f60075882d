"""`manage.py prepare`: what a fresh database needs before the first visitor. `manage.py up` reads the JSON that it prints last."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from portal.accounts.services import first_administrator_link
from portal.core.errors import WinnowError
from portal.images.comparing import compare_the_rest
from portal.registry.services import ensure_baseline


class Command(BaseCommand):
    help = (
        "Register the shipped bundle, make the first administrator's one-time link where there is none yet, queue what was never compared."
    )
    # they import every page, which costs seconds of the start; the web server checks its routes itself
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ARG002
        compare_the_rest()
        self.stdout.write(json.dumps({"notes": _register(), "link": first_administrator_link()}))


def _register() -> list[str]:
    """What the administrator should know of the baseline bundle; nothing where all is well."""
    folder = settings.BASELINE_BUNDLE
    try:
        if ensure_baseline(bundle=folder) is None:
            return [f"no baseline bundle in {folder}: uploads wait, unanalysed, until a bundle is registered and promoted."]
    except WinnowError as error:
        return [f"the baseline bundle in {folder} was refused: {error.message}"]
    return []
