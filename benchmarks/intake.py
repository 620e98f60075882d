"""Taking in and sanitising files, against the least that must be done anyway, in one run.

`python -m benchmarks.intake [--images 200] [--sizes 800x600,3264x2448]`. Receive (hash, fsync, rename, rows, job, audit) against bare
copy + sha256 + fsync; the sanitiser (child process, clean store, thumbnail, rows) against bare decode + encode in this process. Rounds
alternate, so that a busy disk slows both sides.

`--api 1000`: that many files of 0.4 MB by tus and with a token through a real gunicorn, sent by the command line client's own code,
against bare copy + sha256 + fsync of the same files in the same rounds; and the web process's memory after each round.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image as Picture

from benchmarks.end_to_end import files
from benchmarks.stack import servers

_ROUNDS = 4


def bare_copy(contents: list[bytes], folder: Path) -> None:
    """`cp`, sha256 and fsync of file and folder: durable, but known to nobody."""
    folder.mkdir(parents=True, exist_ok=True)
    for content in contents:
        source, digest = io.BytesIO(content), hashlib.sha256()
        path = folder / f"{time.monotonic_ns()}"
        with open(path, "xb", buffering=0) as out:
            while chunk := source.read(1 << 20):
                digest.update(chunk)
                out.write(chunk)
            os.fsync(out.fileno())
        opened = os.open(folder, os.O_RDONLY)
        os.fsync(opened)
        os.close(opened)


def bare_clean(contents: list[bytes], folder: Path) -> None:
    """Decode, write at quality 95, write a thumbnail; unlimited, in this process, without fsync."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, content in enumerate(contents):
        with Picture.open(io.BytesIO(content)) as source:
            picture = source.convert("RGB")
        picture.save(folder / f"{number}.jpg", quality=95, subsampling=0)
        picture.thumbnail((320, 320), Picture.Resampling.LANCZOS, reducing_gap=3.0)
        picture.save(folder / f"{number}.thumb.jpg", quality=85)


def receive_all(contents: list[bytes], name: str) -> None:
    from portal.accounts.models import Membership, Role, Site, User
    from portal.images import services

    site, _ = Site.objects.get_or_create(name=name, slug=name)
    user, made = User.objects.get_or_create(email=f"{name}@example.org")
    if made:
        Membership.objects.create(user=user, site=site, role=Role.UPLOADER)
    opened = services.open_upload(site=site, actor=user, expected=len(contents))
    for number, content in enumerate(contents):
        services.receive(upload=opened, file=io.BytesIO(content), name=f"{number}.jpg", actor=user)


def sanitise_all() -> None:
    from portal.images import services
    from portal.jobs import services as jobs

    while claims := jobs.claim("sanitise", worker="bench"):
        services.sanitise_claimed(claims)


def seconds(work: Callable[[], None]) -> float:
    start = time.monotonic()
    work()
    return time.monotonic() - start


def measure(count: int, size: tuple[int, int], folder: Path) -> dict[str, float]:
    """Images/s of each of the four, summed over the rounds."""
    contents = files(count, size)
    share = len(contents) // _ROUNDS
    spent = dict.fromkeys(("receive", "copy", "sanitise", "decode"), 0.0)
    receive_all(files(2, (64, 48)), f"warm{size[0]}")
    sanitise_all()
    for turn in range(_ROUNDS):
        part = contents[turn * share : (turn + 1) * share]
        spent["copy"] += seconds(lambda part=part: bare_copy(part, folder / "copy"))  # type: ignore[misc]
        spent["receive"] += seconds(lambda part=part: receive_all(part, f"bench{size[0]}"))  # type: ignore[misc]
        spent["decode"] += seconds(lambda part=part: bare_clean(part, folder / "bare"))  # type: ignore[misc]
        spent["sanitise"] += seconds(sanitise_all)
    return {name: share * _ROUNDS / time_spent for name, time_spent in spent.items()}


def through_the_api(count: int, size: int, folder: Path) -> None:
    """Files/s by tus, of the bare copy, and their ratio; sender, web process and Postgres share the cores."""
    import psutil

    from portal.accounts.models import Membership, Role, Site, User
    from portal.accounts.tokens import make
    from portal.images.services import open_upload
    from tests.serving import serving

    site = Site.objects.create(name="api", slug="api")
    user = User.objects.create(email="api@example.org")
    Membership.objects.create(user=user, site=site, role=Role.UPLOADER)
    _, token = make(site=site, name="bench", days=1, actor=user)
    upload = open_upload(site=site, actor=user, expected=count)
    sent, share = folder / "sent", max(1, count // _ROUNDS)
    sent.mkdir()
    spent = {"copy": 0.0, "tus": 0.0}
    with serving(folder / "web", workers=2) as web:
        assert web.process is not None
        send_all(_warm(sent), web.url, token, upload.pk)
        for turn in range(_ROUNDS):
            contents = [b"\xff\xd8\xff" + os.urandom(size) for _ in range(share)]
            names = [f"{turn}-{number}.jpg" for number in range(share)]
            for name, content in zip(names, contents, strict=True):
                (sent / name).write_bytes(content)
            paths = [sent / name for name in names]
            spent["copy"] += seconds(lambda part=contents: bare_copy(part, folder / "copy"))  # type: ignore[misc]
            spent["tus"] += seconds(lambda part=paths: send_all(part, web.url, token, upload.pk))  # type: ignore[misc]
            memory = sum(process.memory_info().rss for process in psutil.Process(web.process.pid).children()) / 1e6
            print(f"api: {share * (turn + 1)} sent, web process {memory:.0f} MB", flush=True)
            for path in (*paths, *(folder / "copy").iterdir()):
                path.unlink()
    tus, copy = (share * _ROUNDS / spent[name] for name in ("tus", "copy"))
    print(f"api, {size / 1e6:.1f} MB: tus with token {tus:.1f}/s, bare copy+hash+fsync {copy:.1f}/s, ratio {tus / copy:.2f} (goal 150/s)")


def _warm(folder: Path) -> list[Path]:
    """Some files that are not counted: every thread of the web processes has its connection then, as after a minute's work."""
    paths = [folder / f"warm-{number}.jpg" for number in range(40)]
    for path in paths:
        path.write_bytes(b"\xff\xd8\xff" + os.urandom(10_000))
    return paths


def send_all(paths: list[Path], server: str, token: str, upload: int) -> None:
    """By as many threads as the client has."""
    from client.command import PARALLEL
    from client.folder import Item
    from client.line import Line
    from client.sending import Patience, Sender

    def work(part: list[Path]) -> None:
        sender = Sender(Line(server, token), f"/api/v1/uploads/{upload}/tus/", Patience(60, threading.Event(), print))
        for path in part:
            outcome = sender.send(Item(path, path.name, path.stat().st_size, "bench"), None)
            assert outcome.outcome == "accepted", outcome

    with ThreadPoolExecutor(PARALLEL) as pool:
        list(pool.map(work, [paths[first::PARALLEL] for first in range(PARALLEL)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--sizes", default="800x600,3264x2448")
    parser.add_argument("--api", type=int, default=1000, help="files through the API; 0 leaves it out")
    options = parser.parse_args()
    with servers() as folder:
        if options.api:
            through_the_api(options.api, 400_000, folder)
        for text in options.sizes.split(",") if options.images else []:
            width, height = map(int, text.split("x"))
            rate = measure(options.images, (width, height), folder)
            print(
                f"{text}: receive {rate['receive']:.1f}/s, bare copy+hash+fsync {rate['copy']:.1f}/s, "
                f"ratio {rate['receive'] / rate['copy']:.2f}; sanitise {rate['sanitise']:.1f}/s, "
                f"bare decode+encode {rate['decode']:.1f}/s, ratio {rate['sanitise'] / rate['decode']:.2f}"
            )


if __name__ == "__main__":
    main()
