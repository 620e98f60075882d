"""What stands in the way of a start is said before anything was started."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from portal.embedded import StartFailed, place


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "var").write_text("a file, not a folder")
    with pytest.raises(StartFailed, match=r"Cannot write to .*var: .*Set WINNOW_VAR"):
        place.prepare_folder(tmp_path / "var")


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "MIN_FREE_BYTES", 10**18)
    with pytest.raises(StartFailed, match=r"Only .* GB are free .*Free some space"):
        place.prepare_folder(tmp_path)


def test_a_lock_is_refused_with_its_holder_while_the_holder_lives(tmp_path: Path) -> None:
    lock = place.lock_folder(tmp_path)
    place.note_address(lock, "http://127.0.0.1:8000")
    with pytest.raises(StartFailed, match=rf"already running .* at http://127.0.0.1:8000 \(process {os.getpid()}\)"):
        place.lock_folder(tmp_path)
    os.close(lock)


def test_a_stale_lock_blocks_nobody(tmp_path: Path) -> None:
    take = f"from pathlib import Path; from portal.embedded import place; place.lock_folder(Path({str(tmp_path)!r}))"
    subprocess.run([sys.executable, "-c", take], check=True)
    assert (tmp_path / "lock").read_text().strip().isdigit()
    os.close(place.lock_folder(tmp_path))


def test_the_secret_key_is_made_once_and_for_this_user_alone(tmp_path: Path) -> None:
    key = place.secret_key(tmp_path)
    assert len(key) >= 50
    assert place.secret_key(tmp_path) == key
    assert (tmp_path / "secrets" / "secret_key").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("port", [70000])
def test_a_number_that_is_no_port_is_named(port: int) -> None:
    with pytest.raises(StartFailed, match="is not a port"):
        place.take_port(port)
