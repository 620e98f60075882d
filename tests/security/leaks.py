"""Secrets that must not stand in the repository: private keys and tokens, by their look. (Passwords in code are bandit's B105 to B107.)"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

LOOKS = {
    "a private key": r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY",
    "an upload token of this portal": r"\bwinnow_[0-9a-f]{64}\b",
    "a token of a forge": r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_\w{60,}|glpat-[\w-]{20,})",
    "a key of a cloud": r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bAIza[\w-]{35}\b",
    "a token of a registry": r"\b(?:pypi-AgE[\w-]{50,}|npm_[A-Za-z0-9]{36}|hf_[A-Za-z0-9]{34,})",
    "a password in an address": r"\b[a-z][a-z0-9+.-]{2,}://[^\s/:@'\"{}$<]+:[^\s/@'\"{}$<]{8,}@(?!\S*example\.)[\w.-]+",
}
_ALL = [(what, re.compile(look)) for what, look in LOOKS.items()]
_LARGEST = 2_000_000


def in_text(text: str) -> Iterator[tuple[int, str]]:
    """The lines that hold something, counted from 1, and what. Nothing of the secret itself."""
    for number, line in enumerate(text.splitlines(), 1):
        yield from ((number, what) for what, look in _ALL if look.search(line))


def in_files(paths: Iterable[Path]) -> list[str]:
    found = []
    for path in paths:
        if path.is_file() and not path.is_symlink() and path.stat().st_size < _LARGEST:
            text = path.read_bytes().decode(errors="replace")
            found += [f"{path}:{number}: {what}" for number, what in in_text(text)]
    return found


def repository(root: Path) -> list[Path]:
    """Every file that git keeps, or would."""
    said = subprocess.run(["git", "ls-files", "-z", "-c", "-o", "--exclude-standard"], cwd=root, capture_output=True, check=True)
    return [root / name.decode() for name in said.stdout.split(b"\0") if name]
