"""The reading room among a million images: how long the next picture and an answer take, and how many cycles a second eight readers make.

`python -m benchmarks.reading [--images 1000000] [--open 1000,100000] [--pairs 120] [--cycles 240] [--rounds 4] [--keep FOLDER]`. A
Postgres of its own is filled by COPY with sites, patients, exams, images, the machines' word on them, closed and open questions, answers,
leases and their audit trail. Then, by turns with few and with many open questions, each in a database of its own: `lease_next` and
`submit_read` one after another (median and 95th percentile), for a reader who has answered none and for one who has answered 5,000 that
are still open; eight readers at once, who must not be given a place twice; and cycles of answer and next through gunicorn as `manage.py
up` starts it. `--keep`: the filled databases stay in that folder and are used again.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import platform
import re
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psycopg

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


class Figures:
    """What was measured, by name and by how many questions were open."""

    def __init__(self) -> None:
        self.spans: dict[str, dict[int, list[float]]] = {}
        self.numbers: dict[str, dict[int, list[float]]] = {}

    def note(self, name: str, waiting: int, seconds: Sequence[float]) -> None:
        self.spans.setdefault(name, {}).setdefault(waiting, []).extend(seconds)

    def number(self, name: str, waiting: int, value: float) -> None:
        self.numbers.setdefault(name, {}).setdefault(waiting, []).append(value)

    def lines(self, counts: Sequence[int]) -> Iterator[str]:
        for name, by_count in self.spans.items():
            for title, share in (("median", 0.5), ("p95", 0.95)):
                yield _line(f"{name}, {title} ms", [1000 * percentile(by_count[count], share) for count in counts])
        for name, by_count in self.numbers.items():
            yield _line(name, [statistics.median(by_count[count]) for count in counts])


def _line(name: str, values: Sequence[float]) -> str:
    ratio = f"{values[-1] / values[0]:>8.2f}" if values[0] else ""
    return f"{name:<64}" + "".join(f"{value:>12.2f}" for value in values) + ratio


def measure(waiting: int, options: argparse.Namespace, server: Web, figures: Figures) -> None:
    """One round with so many open questions."""
    from portal.accounts.models import User

    people = list(User.objects.filter(email__startswith="reader-").order_by("pk"))
    readers, heavy, fresh = people[:READERS], people[READERS], people[READERS + 1]
    open_questions(waiting, heavy=heavy.pk, answered=min(HEAVY, waiting // 2))
    for title, who in (("", readers), (", a reader who has answered none", [fresh]), (", one who has 5,000 or half still open", [heavy])):
        leased, submitted = pairs(who, options.pairs)
        figures.note("lease_next" + title, waiting, leased)
        figures.note("submit_read" + title, waiting, submitted)
    given, over = at_once(readers, options.pairs // READERS)
    figures.number("handed out to eight at once", waiting, given)
    figures.number("of these over-assigned", waiting, over)
    cycles(server.port, readers, READERS * 2)
    before = server.cpu()
    rate, spent = cycles(server.port, readers, options.cycles)
    figures.note("HTTP cycle", waiting, spent)
    figures.number("HTTP cycles/s, eight readers", waiting, rate)
    figures.number("CPU ms a cycle, web and Postgres and readers", waiting, 1000 * (server.cpu() - before) / len(spent))


class Web:
    """gunicorn on one database, with as many workers as `manage.py up` gives it."""

    def __init__(self, port: int, pid: int) -> None:
        self.port, self.pid = port, pid

    def cpu(self) -> float:
        """Seconds that the web processes, all of Postgres and this process have spent."""
        import psutil

        mine = psutil.Process()
        servers_of = [one for one in mine.children() if "postgres" in one.name()]
        family = [mine, *(p for top in (psutil.Process(self.pid), *servers_of) for p in (top, *top.children(recursive=True)))]
        spent = [one.cpu_times() for one in family]
        return sum(times.user + times.system for times in spent)


@contextmanager
def web(folder: Path, database: str) -> Iterator[Web]:
    from tests.serving import serving

    with serving(folder / f"web-{database}", workers=min(4, os.cpu_count() or 1), DATABASE_URL=url_of(database)) as server:
        assert server.process is not None
        yield Web(server.port, server.process.pid)


def url_of(database: str) -> str:
    return os.environ["DATABASE_URL"].replace("/winnow?", f"/{database}?")


def use(database: str) -> None:
    """From here on this process works on that database."""
    from django.db import connection

    connection.close()
    connection.settings_dict["NAME"] = database
    os.environ["BENCH_SUPERUSER_URL"] = re.sub(r"/\w+\?", f"/{database}?", os.environ["BENCH_SUPERUSER_URL"])


def twins(counts: Sequence[int]) -> dict[int, str]:
    """A database for each number of open questions, all alike but for that: so rounds may take turns, and other work on the machine slows
    all of them."""
    from django.db import connection

    names = {count: "winnow" if place == 0 else f"winnow_{count}" for place, count in enumerate(counts)}
    connection.close()
    for name in [*names.values()][1:]:
        with psycopg.connect(re.sub(r"/\w+\?", "/postgres?", os.environ["BENCH_SUPERUSER_URL"]), autocommit=True) as db:
            if not db.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
                db.execute(f"CREATE DATABASE {name} TEMPLATE winnow OWNER winnow_owner")
    return names


def said(what: Callable[[], Any], name: str) -> Any:
    began = time.monotonic()
    result = what()
    print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--open", default="1000,100000")
    parser.add_argument("--pairs", type=int, default=120)
    parser.add_argument("--cycles", type=int, default=240)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    counts = [int(count) for count in options.open.split(",")]
    figures = Figures()
    with servers(options.keep) as folder, ExitStack() as stack:
        said(lambda: fill(options.images), "filled")
        names = said(lambda: twins(counts), "copied")
        running = {count: stack.enter_context(web(folder, name)) for count, name in names.items()}
        for turn in range(options.rounds):
            for count, name in names.items():
                use(name)
                said(lambda count=count: measure(count, options, running[count], figures), f"round {turn + 1}, {count:,} open")
        use("winnow")
    print(f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print(f"{f'among {options.images:,} images':<64}" + "".join(f"{count:>12,}" for count in counts) + f"{'ratio':>8}")
    print("\n".join(figures.lines(counts)))


if __name__ == "__main__":
    main()
