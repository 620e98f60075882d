"""`make cuts`: files sent by tus whose line is cut in mid-file, again and again, while the web server is killed and started again.

Real HTTP, a real gunicorn, the client of the command line. Then every file's hash is compared with the blob on the disk.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import queue
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import IO, Any

from client import sending
from client.folder import Item
from client.line import Line, Reply
from client.sending import Outcome, Patience, Sender


@dataclass
class Result:
    files: int = 0
    equal_hashes: int = 0
    cuts: int = 0
    fewest_cuts_of_a_file: int = 0
    server_kills: int = 0
    megabytes: float = 0
    megabytes_sent: float = 0
    """With what was sent twice: a cut costs at most what was on the way."""
    seconds: float = 0
    doubled: int = 0
    left_behind: int = 0
    """Bytes or rows of files that are not stored, and what the sweep does not take away."""
    begun_twice: int = 0
    """Creations whose answer died with the server: the sender began anew. The sweep takes them away after the days of the setting."""
    trouble: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        for name, value in asdict(self).items():
            yield f"{name.replace('_', ' '):<28} {value if not isinstance(value, float) else round(value, 1)}"


class Cut(OSError):
    """The line, cut in mid-file."""


class CutFile:
    """A file that breaks the line when it comes to one of its places, once at each."""

    def __init__(self, file: IO[bytes], places: list[int], sent: list[int]) -> None:
        self.file, self.places, self.sent = file, places, sent

    def read(self, size: int) -> bytes:
        here = self.file.tell()
        if self.places and here >= self.places[0]:
            self.places.pop(0)
            raise Cut("cut")
        if self.places:
            size = min(size, self.places[0] - here)
        data = self.file.read(size)
        self.sent[0] += len(data)
        return data


class CutLine(Line):
    """Cuts every file at its own random places; `cuts` counts them."""

    def __init__(self, server: str, token: str, places: dict[str, list[int]], cuts: dict[str, int], sent: list[int]) -> None:
        super().__init__(server, token)
        self.places, self.cuts, self.sent = places, cuts, sent

    def ask(self, method: str, path: str, body: Any = None, headers: Any = None, length: int | None = None) -> Reply:
        if not hasattr(body, "read"):
            return super().ask(method, path, body, headers, length)
        name = Path(body.name).name
        before = len(self.places[name])
        try:
            return super().ask(method, path, CutFile(body, self.places[name], self.sent), headers, length)  # type: ignore[arg-type]
        finally:
            self.cuts[name] += before - len(self.places[name])


class Hurry(Patience):
    """Pauses as short as a test can wait."""

    def wait(self, why: str, tries: int, since: float) -> None:
        if time.monotonic() - since > self.seconds:
            raise AssertionError(f"given up: {why}")
        time.sleep(min(0.5, 0.1 * 2**tries))


def make_files(folder: Path, count: int, size: int, chance: random.Random) -> list[Item]:
    """By their first bytes photographs; nobody decodes them here."""
    folder.mkdir(parents=True)
    made = []
    for number in range(count):
        data = b"\xff\xd8\xff" + chance.randbytes(size // 2 + chance.randrange(size))
        path = folder / f"{number}.jpg"
        path.write_bytes(data)
        made.append(Item(path, path.name, len(data), f"{len(data)}-0"))
    return made


def run(folder: Path, *, files: int, size: int, cuts: int, kills: int, senders: int = 4, seed: int = 7) -> Result:
    """Send, cut, kill, count."""
    from portal.accounts.models import Role, Site
    from portal.accounts.tokens import make
    from portal.images.services import open_upload
    from tests.cast import make_user
    from tests.serving import serving

    chance, started = random.Random(seed), time.monotonic()
    items = make_files(folder / "sent", files, size, chance)
    places = {item.name: sorted(chance.sample(range(1, item.size), cuts)) for item in items}
    done = {item.name: 0 for item in items}
    site = Site.objects.create(name="Cuts", slug="cuts")
    actor = make_user("cutter", (Role.UPLOADER, site))
    _, token = make(site=site, name="cuts", days=1, actor=actor)
    upload = open_upload(site=site, actor=actor, expected=files)
    sent, outcomes, stop = [0], list[Outcome](), threading.Event()
    sending.SMALL = 0  # also these go in pieces
    with serving(folder / "web", workers=2) as web:
        waiting: queue.SimpleQueue[Item] = queue.SimpleQueue()
        for item in items:
            waiting.put(item)

        def work() -> None:
            patience = Hurry(300, stop, lambda words: None)
            sender = Sender(CutLine(web.url, token, places, done, sent), f"/api/v1/uploads/{upload.pk}/tus/", patience)
            while not waiting.empty():
                try:
                    outcomes.append(sender.send(waiting.get_nowait(), None))
                except queue.Empty:
                    return

        threads = [threading.Thread(target=work, daemon=True) for _ in range(senders)]
        for thread in threads:
            thread.start()
        due = [files * (n + 1) // (kills + 1) for n in range(kills)]
        while any(thread.is_alive() for thread in threads):
            if due and len(outcomes) >= due[0]:
                due.pop(0)
                web.restart()
            time.sleep(0.02)
        result = Result(files, cuts=sum(done.values()), fewest_cuts_of_a_file=min(done.values()), server_kills=web.starts - 1)
        _count(result, items, outcomes, site.pk, folder / "web" / "originals")
    result.megabytes, result.megabytes_sent = sum(item.size for item in items) / 1e6, sent[0] / 1e6
    result.seconds = time.monotonic() - started
    return result


def _count(result: Result, items: list[Item], outcomes: list[Outcome], site: int, originals: Path) -> None:
    from django.conf import settings
    from django.test import override_settings
    from django.utils import timezone

    from portal.images import arrivals
    from portal.images.models import Arrival, Image, UploadFile

    rows = dict(Image.objects.filter(site=site).values_list("original_name", "sha256"))
    for item in items:
        wanted = hashlib.sha256(item.path.read_bytes()).hexdigest()
        blob = originals / str(site) / wanted
        stored = blob.exists() and hashlib.sha256(blob.read_bytes()).hexdigest() == wanted
        result.equal_hashes += stored and rows.get(item.name) == wanted
    result.doubled = len(rows) - len(items) + UploadFile.objects.filter(image__site=site).count() - len(items)
    unfinished = Arrival.objects.filter(file=None)
    result.begun_twice = unfinished.filter(name__in=rows).count()
    lost = unfinished.exclude(name__in=rows).count()
    unfinished.update(moved=timezone.now() - timedelta(days=settings.PARTIAL_DAYS, minutes=1))
    with override_settings(ORIGINALS_DIR=originals):
        arrivals.sweep()
    result.left_behind = lost + unfinished.count() + len(list((originals / ".partial").glob("*")))
    result.trouble = [f"{o.name}: {o.outcome} {o.message}" for o in outcomes if o.outcome != "accepted"][:10]


def main() -> int:
    parser = argparse.ArgumentParser(prog="make cuts", description=__doc__)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--bytes", type=int, default=400_000, help="of a file, on the average")
    parser.add_argument("--cuts", type=int, default=3)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    from tests import servers

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    root = Path(__file__).resolve().parent.parent.parent
    subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], check=True, cwd=root, env={**os.environ, "WINNOW_AS_OWNER": "1"})
    import django

    django.setup()
    result = run(
        servers.FOLDER / "cuts", files=options.files, size=options.bytes, cuts=options.cuts, kills=options.kills, seed=options.seed
    )
    sys.stdout.write("\n".join(result.lines()) + "\n")
    return 0 if result.equal_hashes == result.files and not result.doubled and not result.left_behind else 1


if __name__ == "__main__":
    sys.exit(main())
