"""`manage.py up`, for real: it comes up, goes down, and leaves nothing, however it ends."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from portal.embedded import OWNER, Postgres, Redis
from tests.ops.running import Up, processes_of, wait_until_gone

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def var(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One installation for all of these tests, so that they also meet what the one before left."""
    folder = tmp_path_factory.mktemp("up") / "var"
    yield folder
    for process in processes_of(folder):
        process.kill()


@pytest.fixture(scope="module")
def up(var: Path) -> Up:
    """One run for the tests up to the one that kills it: a start costs seconds of both cores."""
    up = Up(var)
    up.wait_for("up in")
    up.began = time.monotonic()
    return up


def test_it_comes_up_and_a_second_start_is_refused(var: Path, up: Up) -> None:
    link = up.wait_for(r"Become the first, once, here: http://127\.0\.0\.1:\d+(/\S+)")
    assert up.get("/health") == 200
    assert up.get(link[1]) == 200

    status, said = Up(var).outcome()
    assert status == 1
    assert f"already running on {var}" in said
    assert f"kill {up.process.pid}" in said


def test_a_crashed_postgres_and_a_crashed_worker_are_started_again(var: Path, up: Up) -> None:
    _kill(var, "-D")
    up.wait_for("Postgres runs again")
    assert up.get("/health") == 200
    time.sleep(max(0, up.began + 16 - time.monotonic()))  # until then the end of a worker counts as a start that failed
    _kill(var, "beat")
    up.wait_for(r"beat: ended \(signal 9\); starting it again in 1 s")


def test_kill_9_leaves_no_process_the_next_start_recovers_and_ctrl_c_leaves_none(var: Path, up: Up) -> None:
    up.process.kill()
    up.process.wait()
    again = Up(var)  # at once: it waits for the leftovers of the other
    again.wait_for("up in")
    assert "collecting static files" not in again.said, "what did not change is collected again"
    assert again.get("/health") == 200
    ours = {process.pid for process in processes_of(var)}
    assert again.process.pid in ours
    assert not any(process.ppid() == 1 for process in processes_of(var) if process.pid != again.process.pid)
    status, said = again.stop(signal.SIGINT)
    assert status == 0, said
    assert wait_until_gone(var, 1) == []


def _kill(var: Path, argument: str) -> None:
    found = {process.pid: process for process in processes_of(var) if argument in process.cmdline()}
    (first,) = [process for process in found.values() if process.ppid() not in found]
    first.kill()


def test_interrupted_while_starting_it_leaves_no_process(var: Path) -> None:
    up = Up(var)
    up.wait_for("starting Postgres")
    status, said = up.stop(signal.SIGINT)
    assert status == 130, said
    assert wait_until_gone(var, 1) == []


def test_a_taken_port_is_named_with_the_way_out(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        status, said = Up(tmp_path / "var", PORT=str(port)).outcome()
    assert status == 1
    assert f"Port {port} is taken by another program. Choose another one: PORT=" in said
    assert wait_until_gone(tmp_path / "var", 1) == []


def test_a_start_that_fails_half_way_stops_all_and_says_why(tmp_path: Path) -> None:
    var = tmp_path / "var"
    nowhere = "postgres://someone@127.0.0.1:1/nothing"
    status, said = Up(var, DATABASE_URL=nowhere).outcome()
    assert status == 1
    assert "did not start" in said
    assert "migrate" in said
    assert "Connection refused" in said
    assert wait_until_gone(var, 1) == []


def test_servers_that_are_named_are_used_and_none_is_started(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    postgres, redis = Postgres(tmp_path / "pg"), Redis(tmp_path / "redis")
    postgres.start()
    redis.start()
    try:
        var = tmp_path / "var"
        up = Up(var, DATABASE_URL=postgres.url(), DATABASE_OWNER_URL=postgres.url(role=OWNER), REDIS_URL=redis.url())
        up.wait_for("up in")
        assert up.get("/health") == 200
        names = [process.name() for process in processes_of(var)]
        assert "postgres" not in names
        assert "redis-server" not in names
        status, said = up.stop(signal.SIGTERM)
        assert status == 0, said
        assert wait_until_gone(var, 1) == []
    finally:
        redis.stop()
        postgres.stop()
