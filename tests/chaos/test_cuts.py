"""Lines that are cut in mid-file, and a server that is killed between: every file arrives, once, and as it was."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.chaos import cuts


@pytest.mark.chaos
@pytest.mark.django_db(transaction=True)
def test_twenty_files_cut_three_times_each_arrive_whole_though_the_server_dies(tmp_path: Path) -> None:
    result = cuts.run(tmp_path / "cuts", files=20, size=300_000, cuts=3, kills=2)
    sys.stdout.write("\n".join(result.lines()) + "\n")
    assert (result.equal_hashes, result.doubled, result.left_behind, result.trouble) == (20, 0, 0, [])
    assert (result.fewest_cuts_of_a_file, result.server_kills) == (3, 2)
    assert result.megabytes_sent < 1.5 * result.megabytes, "what arrived was sent again"
