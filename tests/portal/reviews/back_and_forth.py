"""Migrations of a database of its own, back and forth, with something in it: what is said, and what is there afterwards, as JSON.
A program, because migrating closes and changes what a running Django relies on."""

from __future__ import annotations

import json
import sys

import django


def main() -> None:
    django.setup()
    from django.core.management import CommandError, call_command
    from django.db.models.functions import Now

    from portal.accounts.models import Membership
    from portal.reviews.models import Lease, Read, ReviewTask
    from tests.cast import make_cast, make_read, make_task

    def migrate(*where: str) -> str:
        try:
            call_command("migrate", *where, verbosity=0)
        except CommandError as refused:
            return str(refused)
        return ""

    migrate()
    cast = make_cast()
    task = make_task(cast.north)
    make_read(task, cast.ravi)
    told = {"plain": migrate("reviews", "0002"), "forth": migrate()}
    lease = Lease.objects.create(task=task, reader=cast.ada, token="t", until=Now(), adjudicating=True)
    told["known"] = migrate("reviews", "0010")
    lease.delete()
    make_read(task, cast.rita, current=False)
    make_read(task, cast.rita, "green_filter", version=2, confidence=1)
    told |= {"amended": migrate("reviews", "0002"), "led": migrate("accounts", "0002")}
    Membership.objects.filter(role="study_lead").delete()
    told |= {"not led": migrate("accounts", "0002"), "forth again": migrate()}
    answers = list(Read.objects.order_by("pk").values_list("kind", "version", "current"))
    counted = ReviewTask.objects.get().readers == [cast.rita.pk, cast.ravi.pk]
    sys.stdout.write(json.dumps({**told, "answers": answers, "counted": counted}) + "\n")


if __name__ == "__main__":
    main()
