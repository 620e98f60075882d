"""What the queue costs: rows with lease and fence against the least that Postgres can do, in one run.

`python -m benchmarks.jobs [--jobs 2000] [--backlog 100000]`. Enqueue, claim and complete against one bare INSERT and one bare UPDATE
a job; the same claims in front of a long backlog, of one site and of twenty, which must not slow them; and the claim alone against
one in the order of arrival, which lets a long backlog of one site hold up all others.
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


IN_ORDER_OF_ARRIVAL = """
WITH head AS (
    SELECT id, alone FROM jobs_job WHERE state = 'queued' AND kind = %(kind)s AND not_before <= statement_timestamp()
    ORDER BY not_before, id LIMIT 1 FOR UPDATE SKIP LOCKED
), batch AS (
    SELECT id FROM jobs_job WHERE state = 'queued' AND kind = %(kind)s AND not_before <= statement_timestamp() AND NOT alone
      AND EXISTS (SELECT FROM head WHERE NOT head.alone AND head.id <> jobs_job.id)
    ORDER BY not_before, id LIMIT %(size)s - 1 FOR UPDATE SKIP LOCKED
), picked AS (SELECT id FROM head UNION SELECT id FROM batch)
UPDATE jobs_job SET state = 'claimed', attempt = attempt + 1, batch_size = (SELECT count(*) FROM picked),
    lease_until = statement_timestamp() + make_interval(secs => %(lease)s), worker = %(worker)s, progress = '{}'
FROM picked WHERE jobs_job.id = picked.id
RETURNING jobs_job.id, kind, subject_id, actor_id, attempt, cancel_requested
"""


def claim_only(count: int) -> None:
    from portal.jobs import services

    for _ in range(count):
        services.claim("sanitise", worker="bench")


def as_owner(statement: str) -> None:
    import os

    import psycopg

    with psycopg.connect(os.environ["DATABASE_OWNER_URL"], autocommit=True) as db:
        db.execute(statement)


def claims_a_second(statement: str, sites: int, backlog: int, count: int = 300) -> float:
    """Claims alone, of a batch each, by this statement, from a backlog of so many sites."""
    from portal.jobs import turns

    as_owner("TRUNCATE jobs_job")
    as_owner(
        "INSERT INTO jobs_job (kind, subject_id, site_id, state, attempt, errors, deaths, alone, batch_size, worker, error, progress,"
        f" cancel_requested) SELECT 'sanitise', n, n % {sites}, 'queued', 0, 0, 0, false, 0, '', '', '{{}}', false"
        f" FROM generate_series(1, {backlog}) AS n"
    )
    as_owner("VACUUM ANALYZE jobs_job")
    kept, turns.CLAIM = turns.CLAIM, statement
    try:
        claim_only(20)
        return count / seconds(lambda: claim_only(count))
    finally:
        turns.CLAIM = kept


def compare_turns(backlog: int) -> None:
    """The same claims in turns, and in the order of arrival with the index that it wants."""
    from portal.jobs import turns

    rates = {f"claims in turns, {sites} sites waiting": claims_a_second(turns.CLAIM, sites, backlog) for sites in (1, 2, 20, 100)}
    as_owner("DROP INDEX job_in_turn")
    as_owner("CREATE INDEX by_arrival ON jobs_job (kind, not_before, id) WHERE state = 'queued'")
    arrival = claims_a_second(IN_ORDER_OF_ARRIVAL, 20, backlog)
    print(f"{'claims in the order of arrival':<42} {arrival:8.0f} claims/s")
    for name, rate in rates.items():
        print(f"{name:<42} {rate:8.0f} claims/s {rate / arrival:6.2f}")


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
        compare_turns(options.backlog)


if __name__ == "__main__":
    main()
