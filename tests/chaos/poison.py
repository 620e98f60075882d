"""Pictures that crash, stall or fatten their decoder among good ones, through a real worker: `python -m tests.chaos.poison`."""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests import servers

PATIENCE = 600


@dataclass
class Outcome:
    good: int = 0
    poisoned: int = 0
    done: int = 0
    """Good ones that became clean."""
    failed: int = 0
    """Poisoned ones that ended with a reason."""
    reasons: dict[str, int] = field(default_factory=dict)
    workers_lost: int = 0
    deaths: int = 0
    """Jobs whose worker died."""
    seconds: float = 0


def run(folder: Path, *, good: int, poisoned: int, decoder_seconds: float = 0, say: Callable[[str], None] = lambda line: None) -> Outcome:
    """Send them, let one io worker loose on them, count. Needs Django and an empty database. `decoder_seconds`: 0 for the real limits."""
    from django.db.models import Q

    from portal.images.models import Image
    from portal.jobs.models import Job
    from tests.chaos.groups import beat, workers

    names = _send(good, poisoned)
    env = {
        **os.environ, "CHAOS_DECODER_SECONDS": str(decoder_seconds), "DJANGO_SETTINGS_MODULE": "portal.settings", **_stores(),
    }  # fmt: skip
    io_worker, clock = workers(folder, env)[0], beat(folder, env)
    began, live = time.monotonic(), Job.objects.filter(kind="sanitise", state__in=["queued", "claimed"])
    try:
        io_worker.start()
        clock.start()
        while left := live.count():
            if time.monotonic() - began > PATIENCE:
                break
            say(f"{left} wait")
            time.sleep(0.5)
        lost = int(io_worker.process is None or io_worker.process.poll() is not None)
    finally:
        io_worker.kill()
        clock.kill()
    bad = Image.objects.filter(original_name__in=names)
    ended = bad.filter(state__in=["failed", "rejected"]).exclude(state_reason="")
    done = Image.objects.exclude(original_name__in=names).exclude(Q(clean_sha256="") | Q(state="failed"))
    return Outcome(
        good, poisoned, done.count(), ended.count(), dict(Counter(ended.values_list("state_reason", flat=True))), lost,
        Job.objects.filter(deaths__gt=0).count(), round(time.monotonic() - began, 1),
    )  # fmt: skip


def _stores() -> dict[str, str]:
    from django.conf import settings

    return {"WINNOW_ORIGINALS": str(settings.ORIGINALS_DIR), "WINNOW_CLEAN": str(settings.CLEAN_DIR)}


def _send(good: int, poisoned: int) -> set[str]:
    """All in one upload, the poison spread among them. Returns the names of the poisoned."""
    from portal.accounts.models import Role, Site
    from portal.images import services
    from tests.cast import make_user, picture_bytes
    from tests.chaos.poisons import KINDS, POISON

    site = Site.objects.create(name="Poison", slug="poison")
    upload = services.open_upload(site=site, actor=(actor := make_user("poison", (Role.UPLOADER, site))))
    names: set[str] = set()
    every = (good + poisoned) // poisoned
    for number in range(good + poisoned):
        data, name = picture_bytes(), f"{number}.jpg"
        if number % every == every // 2 and len(names) < poisoned:
            data += POISON + KINDS[len(names) % len(KINDS)].encode()
            names.add(name)
        services.receive(upload=upload, file=io.BytesIO(data), name=name, actor=actor)
    return names


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--good", type=int, default=1_980)
    parser.add_argument("--poisoned", type=int, default=20)
    parser.add_argument("--decoder-seconds", type=float, default=5, help="the decoder's limit; 0 for that of the portal")
    options = parser.parse_args()
    root = Path(__file__).resolve().parent.parent.parent
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], check=True, cwd=root, env={**os.environ, "WINNOW_AS_OWNER": "1"})
    import django

    django.setup()
    outcome = run(servers.FOLDER, good=options.good, poisoned=options.poisoned, decoder_seconds=options.decoder_seconds)
    sys.stdout.write("".join(f"{name:<14} {value}\n" for name, value in asdict(outcome).items()))
    return int((outcome.done, outcome.failed, outcome.workers_lost) != (options.good, options.poisoned, 0))


if __name__ == "__main__":
    sys.exit(main())
