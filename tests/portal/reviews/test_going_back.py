"""Going back over migrations: without loss where there is nothing to lose, and else refused with what to do first."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import psycopg
import pytest

from portal.embedded import OWNER
from tests import servers
from tests.conftest import ROOT


@pytest.fixture
def scratch(django_db_setup: None) -> Iterator[str]:
    """A database of its own, for the owner. No copy of the tests' one, to which a server of another test may be connected."""
    with psycopg.connect(servers.postgres.url("postgres", role=OWNER), autocommit=True) as db:
        db.execute(f"CREATE DATABASE scratch_back OWNER {OWNER}")
        yield servers.postgres.url("scratch_back", role=OWNER)
        db.execute("DROP DATABASE scratch_back WITH (FORCE)")


def test_going_back_loses_nothing_or_is_refused_in_words(scratch: str) -> None:
    environment = {**os.environ, "DATABASE_URL": scratch, "DATABASE_OWNER_URL": scratch, "DJANGO_SETTINGS_MODULE": "portal.settings"}
    program = [sys.executable, "-m", "tests.portal.reviews.back_and_forth"]
    done = subprocess.run(program, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert [told[name] for name in ("plain", "forth", "not led", "forth again")] == [""] * 4
    assert told["known"].startswith("reviews 0011 cannot be undone")
    assert told["amended"].startswith("reviews 0003 cannot be undone, as what came with it would be lost: answers that were amended")
    assert "bring back the backup" in told["amended"]
    assert "people who lead the study (1). Take that role from them first" in told["led"]
    assert told["answers"] == [["regular", 1, True], ["regular", 1, False], ["green_filter", 2, True]]
    assert told["counted"], "and who has answered what is counted anew"
