"""The embedded servers take up what an earlier, killed run left."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from portal.embedded import APP, OWNER, Postgres, StartFailed


def _check(postgres: Postgres) -> None:
    with psycopg.connect(postgres.url()) as db:
        assert db.execute("SELECT current_user").fetchone() == (APP,)
    with psycopg.connect(postgres.url(role=OWNER)) as db:
        assert db.execute("SELECT 1 FROM pg_extension WHERE extname = 'vector'").fetchone()


def test_a_start_that_was_killed_in_the_middle_is_finished_by_the_next(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    half_made = tmp_path / "pg.new"
    half_made.mkdir()
    (half_made / "PG_VERSION").write_text("18\n")
    postgres = Postgres(tmp_path / "pg")
    postgres.start()
    try:
        _check(postgres)
        with psycopg.connect(postgres.url("postgres", "postgres"), autocommit=True) as db:
            db.execute("DROP DATABASE winnow")
            db.execute(f"DROP ROLE {APP}")
    finally:
        postgres.stop()
    postgres.start()
    try:
        _check(postgres)
    finally:
        postgres.stop()


def test_a_crash_loses_nothing_that_was_committed(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    postgres = Postgres(tmp_path / "pg")
    postgres.start()
    with psycopg.connect(postgres.url(role=OWNER)) as db:
        db.execute("CREATE TABLE kept AS SELECT 1 AS x")
    postgres.kill()
    postgres.start()
    try:
        with psycopg.connect(postgres.url(role=OWNER)) as db:
            assert db.execute("SELECT x FROM kept").fetchone() == (1,)
    finally:
        postgres.stop()


def test_lost_passwords_are_said_at_once(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "pg").mkdir()
    (tmp_path / "pg" / "PG_VERSION").write_text("18\n")
    with pytest.raises(StartFailed, match=r"postgres\.json .* is gone"):
        Postgres(tmp_path / "pg").start()
