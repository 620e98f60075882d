"""The reading room among a million images: how long the next picture and an answer take, and how many cycles a second eight readers make.

`python -m benchmarks.reading [--images 1000000] [--open 1000,100000] [--pairs 400] [--cycles 600] [--keep FOLDER]`. A Postgres of its
own is filled by COPY with sites, patients, exams, images, the machines' word on them, closed and open questions, answers, leases and
their audit trail. Then, with few and with many open questions: `lease_next` and `submit_read` one after another (median and 95th
percentile), for a reader who has answered none and for one who has answered 5,000 that are still open; eight readers at once, who must
not be given a place twice; and cycles of answer and next through gunicorn as `manage.py up` starts it. `--keep`: the filled database
stays in that folder and is used again.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import platform
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from benchmarks.filled import fill, open_questions
from benchmarks.stack import servers

READERS = 8
HEAVY = 5_000
KIND = "regular"


def percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def pairs(readers: Sequence[Any], count: int) -> tuple[list[float], list[float]]:
    """Seconds of `lease_next` and of `submit_read`, one after another, the readers in turn."""
    from portal.reviews.services import Answer, lease_next, submit_read

    leased, submitted = [], []
    for number in range(count + 20):
        reader = readers[number % len(readers)]
        began = time.perf_counter()
        lease = lease_next(reader=reader)
        between = time.perf_counter()
        assert lease is not None, "the queue ran dry"
        submit_read(task=lease.task, reader=reader, answer=Answer(KIND))
        if number >= 20:
            leased.append(between - began)
            submitted.append(time.perf_counter() - between)
    return leased, submitted


def at_once(readers: Sequence[Any], each: int) -> tuple[int, int]:
    """Eight readers at once: how many pictures were handed out, and how many of them to more readers than answers were missing."""
    from django.db import connection

    from portal.reviews.services import Answer, lease_next, submit_read
    from tests.portal.reviews.looks import over_assigned

    start = threading.Barrier(len(readers))

    def work(reader: Any) -> tuple[int, int]:
        start.wait()
        found = 0
        for _ in range(each):
            lease = lease_next(reader=reader)
            assert lease is not None
            found += len(over_assigned(lease.task_id))
            submit_read(task=lease.task, reader=reader, answer=Answer(KIND))
        connection.close()
        return each, found

    with ThreadPoolExecutor(len(readers)) as pool:
        counts = list(pool.map(work, readers))
    return sum(given for given, _ in counts), sum(found for _, found in counts)


class Browser:
    """One reader's session over one kept line."""

    def __init__(self, port: int, user: Any) -> None:
        from django.conf import settings
        from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
        from django.contrib.sessions.backends.db import SessionStore
        from django.middleware.csrf import _get_new_csrf_string

        from portal.accounts import sessions

        session = SessionStore()
        session[SESSION_KEY], session[BACKEND_SESSION_KEY] = str(user.pk), settings.AUTHENTICATION_BACKENDS[0]
        session[HASH_SESSION_KEY] = user.get_session_auth_hash()
        sessions.begin(session, user)
        session.save()
        secret = _get_new_csrf_string()
        self.headers = {
            "Accept": "application/json", "Cookie": f"sessionid={session.session_key}; csrftoken={secret}", "X-CSRFToken": secret,
            "Content-Type": "application/x-www-form-urlencoded",
        }  # fmt: skip
        self.line = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def ask(self, method: str, address: str, **fields: Any) -> dict[str, Any]:
        self.line.request(method, address, urlencode(fields) if fields else None, self.headers)
        answer = self.line.getresponse()
        body = answer.read()
        assert answer.status == 200, (answer.status, body[:300])
        return dict(json.loads(body))


def cycles(port: int, readers: Sequence[Any], count: int) -> tuple[float, list[float]]:
    """Cycles a second of eight readers, and the seconds of each. The next picture comes with the answer's own answer."""
    browsers = [Browser(port, reader) for reader in readers]
    tokens = [browser.ask("GET", "/reading/next/")["token"] for browser in browsers]
    start = threading.Barrier(len(browsers) + 1)

    def work(place: int) -> list[float]:
        token, spent = tokens[place], []
        start.wait()
        for _ in range(count // len(browsers)):
            began = time.perf_counter()
            said = browsers[place].ask("POST", "/reading/answer/", token=token, kind=KIND, seconds="2.5")
            spent.append(time.perf_counter() - began)
            token = said["next"]["token"]
            assert token, said
        return spent

    with ThreadPoolExecutor(len(browsers)) as pool:
        found = [pool.submit(work, place) for place in range(len(browsers))]
        start.wait()
        began = time.perf_counter()
        spent = [second for part in found for second in part.result()]
    return len(spent) / (time.perf_counter() - began), spent


def measure(waiting: int, options: argparse.Namespace, port: int) -> dict[str, float]:
    """All figures with so many open questions."""
    from portal.accounts.models import User

    people = list(User.objects.filter(email__startswith="reader-").order_by("pk"))
    readers, heavy, fresh = people[:READERS], people[READERS], people[READERS + 1]
    figures: dict[str, float] = {}

    def note(name: str, values: Sequence[float]) -> None:
        figures[f"{name}, median ms"] = 1000 * statistics.median(values)
        figures[f"{name}, p95 ms"] = 1000 * percentile(values, 0.95)

    for title, who in (("", readers), (" of a reader who has answered none", [fresh]), (f" of one who has {HEAVY:,} still open", [heavy])):
        open_questions(waiting, heavy=heavy.pk, answered=min(HEAVY, waiting // 2))
        leased, submitted = pairs(who, options.pairs)
        note("lease_next" + title, leased)
        note("submit_read" + title, submitted)
    open_questions(waiting, heavy=heavy.pk, answered=min(HEAVY, waiting // 2))
    given, over = at_once(readers, options.pairs // READERS)
    figures["handed out to eight at once"], figures["of these over-assigned"] = given, over
    open_questions(waiting, heavy=heavy.pk, answered=min(HEAVY, waiting // 2))
    cycles(port, readers, options.cycles // 4)
    rate, spent = cycles(port, readers, options.cycles)
    figures["HTTP cycles/s, eight readers"] = rate
    note("HTTP cycle", spent)
    return figures


@contextmanager
def web(folder: Path) -> Iterator[int]:
    """gunicorn, with as many workers as `manage.py up` gives it."""
    from tests.serving import serving

    with serving(folder / "web", workers=min(4, os.cpu_count() or 1)) as server:
        yield server.port


def said(what: Callable[[], Any], name: str) -> Any:
    began = time.monotonic()
    result = what()
    print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--open", default="1000,100000")
    parser.add_argument("--pairs", type=int, default=400)
    parser.add_argument("--cycles", type=int, default=600)
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    counts = [int(count) for count in options.open.split(",")]
    with servers(options.keep) as folder:
        said(lambda: fill(options.images), "filled")
        with web(folder) as port:
            found = [said(lambda count=count: measure(count, options, port), f"{count:,} open") for count in counts]
    print(f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print(f"{f'among {options.images:,} images':<64}" + "".join(f"{count:>12,}" for count in counts) + f"{'ratio':>8}")
    for name in found[0]:
        values = [figures[name] for figures in found]
        print(f"{name:<64}" + "".join(f"{value:>12.2f}" for value in values) + f"{values[-1] / values[0] if values[0] else 0:>8.2f}")


if __name__ == "__main__":
    main()
