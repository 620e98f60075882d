"""Every environment variable is on the administrator's page, and the page names none that does not exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
DOCUMENTED = set(re.findall(r"^\| `([A-Z_0-9]+)` \|", (ROOT / "docs" / "administrator.md").read_text(), re.M))
OF_THE_START = {"PORT", "EXAMPLE"}


def _read_by_settings() -> set[str]:
    return set(re.findall(r'\benv(?:\.\w+)?\(\s*"([A-Z_0-9]+)"', (ROOT / "portal" / "settings.py").read_text()))


def test_every_variable_of_the_settings_is_documented() -> None:
    found = _read_by_settings()
    assert len(found) > 20, "settings.py is not read as this test thinks"
    assert found - DOCUMENTED == set()


def test_every_documented_variable_exists() -> None:
    assert DOCUMENTED - _read_by_settings() - OF_THE_START == set()


def test_what_the_start_reads_is_documented() -> None:
    text = "".join(path.read_text() for path in sorted((ROOT / "portal" / "embedded").glob("*.py")))
    assert set(re.findall(r'environ\.get\("([A-Z_]+)"', text)) | set(re.findall(r'self\.env\.get\("([A-Z_]+)"', text)) <= DOCUMENTED
