"""Nothing is lost and nothing doubled when workers are killed and Redis forgets."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.chaos.line import LineStorm
from tests.chaos.storm import Plan, Storm


@pytest.mark.chaos
@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_four_hundred_items_survive_ten_killed_worker_groups_and_a_forgetful_redis(tmp_path: Path) -> None:
    """Of `make chaos` the short form."""
    outcome = Storm(Plan(items=400, kills=10, redis_losses=1, senders=1, patience=240), tmp_path).run()
    sys.stdout.write("\n".join(outcome.lines()) + "\n")
    assert (outcome.lost, outcome.doubled, outcome.failed) == (0, 0, 0)
    assert outcome.broken_invariants == {}
    assert (outcome.kills, outcome.redis_losses) == (10, 1)
    assert outcome.longest_wait_for_the_sweep < 120
    assert outcome.kills_that_hit_work >= 5, "the storm missed: it shows nothing"


@pytest.mark.chaos
@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_files_that_come_over_the_line_survive_killed_web_servers_workers_and_clients(tmp_path: Path) -> None:
    outcome = LineStorm(Plan(items=120, kills=3, sender_kills=1, web_kills=3, postgres_crashes=1, senders=1, patience=240), tmp_path).run()
    sys.stdout.write("\n".join(outcome.lines()) + "\n")
    assert (outcome.lost, outcome.doubled, outcome.failed) == (0, 0, 0)
    assert outcome.broken_invariants == {}
    assert (outcome.kills, outcome.web_kills, outcome.postgres_crashes) == (3, 3, 1)
    assert outcome.seconds_to_the_last_after_the_last_blow < 120
