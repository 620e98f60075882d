"""The repository keeps its promises: locks without addresses, files that compose and images need, no machine's path."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests.conftest import LONGEST

ROOT = Path(__file__).resolve().parent.parent.parent


def _tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    names = [name for name in listed.stdout.split("\0") if name] if listed.returncode == 0 else []
    return [ROOT / name for name in names if (ROOT / name).is_file()]


def test_lock_files_name_no_address() -> None:
    locks = [*(ROOT / "requirements").glob("*.txt"), ROOT / "package-lock.json"]
    assert len(locks) >= 5
    assert [path.name for path in locks if "://" in path.read_text()] == []


def test_web_needs_no_torch() -> None:
    names = re.findall(r"^([a-z0-9_.-]+)==", (ROOT / "requirements" / "web.txt").read_text(), re.M)
    assert "django" in names
    assert not {"torch", "torchvision", "timm"} & set(names)


def test_images_get_what_they_copy() -> None:
    for dockerfile in (ROOT / "docker").glob("*.Dockerfile"):
        for line in re.findall(r"^COPY (?!--from)(.*)$", dockerfile.read_text(), re.M):
            *sources, _ = line.split()
            assert [source for source in sources if not (ROOT / source).exists()] == [], dockerfile.name


def test_no_file_is_large() -> None:
    assert [path.name for path in _tracked() if path.stat().st_size > 50_000_000] == []


def test_the_longest_tests_are_named_as_they_are() -> None:
    assert [name for name in LONGEST if not (ROOT / "tests" / name).is_file()] == []
