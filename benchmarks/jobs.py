"""What the queue costs: rows with lease and fence against the least that Postgres can do, in one run.

`python -m benchmarks.jobs [--jobs 2000] [--backlog 100000]`. Enqueue, claim and complete against one bare INSERT and one bare UPDATE
a job; and the same claims in front of a long backlog, which must not slow them.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

from benchmarks.stack import servers


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def bare(count: int) -> None:
    """Two committed statements a job: what any durable queue of single jobs needs."""
    from django.db import connection

    insert = (
        "INSERT INTO jobs_job (kind, subject_id, state, attempt, errors, deaths, alone, batch_size, worker, error, progress,"
        " cancel_requested) VALUES ('bare', %s, 'queued', 0, 0, 0, false, 0, '', '', '{}', false)"
    )
    with connection.cursor() as cursor:
        for number in range(count):
            cursor.execute(insert, [number])
        for number in range(count):
            cursor.execute("UPDATE jobs_job SET state = 'done' WHERE kind = 'bare' AND subject_id = %s AND state = 'queued'", [number])


def enqueue(first: int, count: int) -> None:
    from portal.jobs import services

    for number in range(first, first + count):
        services.enqueue(kind="sanitise", subject_id=number)


def drain(limit: int) -> int:
    """Claim and complete until `limit` are done; returns how many claims it took."""
    from portal.jobs import services

    done = claims = 0
    while done < limit:
        held = services.claim("sanitise", worker="bench")
        claims += 1
        for claim in held:
            services.finish(claim, lambda: None)
        done += len(held)
    return claims


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--backlog", type=int, default=100_000)
    options = parser.parse_args()
    with servers():
        from portal.jobs import bell, services

        least = seconds(lambda: bare(options.jobs))
        rung = seconds(lambda: enqueue(0, options.jobs))
        drained = seconds(lambda: drain(options.jobs))
        bell._silent_until = float("inf")
        silent = seconds(lambda: enqueue(0, options.jobs))
        bulk = seconds(lambda: services.enqueue_many(kind="sanitise", subject_ids=range(10**6, 10**6 + options.backlog)))
        behind = seconds(lambda: drain(options.jobs))
        again = seconds(lambda: drain(options.jobs))
        table = {
            "bare INSERT + UPDATE": options.jobs / least,
            "enqueue with doorbell": options.jobs / rung,
            "enqueue, Redis away": options.jobs / silent,
            f"enqueue_many, {options.backlog} at once": options.backlog / bulk,
            "claim in batches, complete one by one": options.jobs / drained,
            f"the same, {options.backlog} waiting behind": options.jobs / min(behind, again),
        }
        for name, rate in table.items():
            print(f"{name:<42} {rate:8.0f} jobs/s   {rate * least / options.jobs:6.2f}")


if __name__ == "__main__":
    main()
