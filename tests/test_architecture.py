"""The house keeps its order: imports point one way, the web process stays light, files stay small, nothing names a place of ours."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("portal", "inference", "training", "client")
ROOMS = ("audit", "accounts", "jobs", "registry", "images", "analyses", "labels", "reviews", "datasets", "learning")


def _sources(*packages: str) -> Iterator[Path]:
    for package in packages:
        yield from (path for path in sorted((ROOT / package).rglob("*.py")) if "migrations" not in path.parts)


def test_the_import_contracts_hold() -> None:
    done = subprocess.run([Path(sys.executable).parent / "lint-imports", "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


_WALK_THE_WEB = """
import sys
import portal.wsgi
from django.core.checks import run_checks
from portal.accounts import routes
assert len(list(routes.patterns())) > 30
run_checks()
heavy = {"torch", "torchvision", "timm", "sklearn", "scipy", "matplotlib"} & set(sys.modules)
print(sorted(heavy))
"""


def test_the_web_process_imports_no_torch_and_none_of_its_kind() -> None:
    done = subprocess.run([sys.executable, "-c", _WALK_THE_WEB], cwd=ROOT, capture_output=True, text=True, env=dict(os.environ))
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip().splitlines()[-1] == "[]"


def test_first_party_imports_stand_at_the_top() -> None:
    """But for the one door, and the places where Django demands it."""
    allowed = {"portal/ml.py", "portal/accounts/apps.py", "portal/learning/apps.py"}
    found = []
    for path in _sources("portal"):
        name = str(path.relative_to(ROOT))
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and name not in allowed:
                found += [f"{name}: in {node.name}" for inner in ast.walk(node) if _is_first_party(inner)]
    assert not found, found


def _is_first_party(node: ast.AST) -> bool:
    if isinstance(node, ast.ImportFrom):
        return (node.module or "").split(".")[0] in PACKAGES
    return isinstance(node, ast.Import) and any(alias.name.split(".")[0] in PACKAGES for alias in node.names)


def test_there_are_no_signals_and_no_logic_in_save() -> None:
    found = []
    for path in _sources("portal"):
        text = path.read_text()
        if "django.db.models.signals" in text or "django.dispatch" in text or "def save(self" in text:
            found.append(str(path.relative_to(ROOT)))
    assert not found, found


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_with_tables_has_its_services_and_selectors(room: str) -> None:
    folder = ROOT / "portal" / room
    missing = [name for name in ("models.py", "services.py", "selectors.py", "migrations") if not (folder / name).exists()]
    assert not missing, missing


def test_files_stay_small() -> None:
    limits = {"models.py": 400}
    found = {}
    for path in _sources(*PACKAGES):
        lines = len(path.read_text().splitlines())
        if lines > limits.get(path.name, 300):
            found[str(path.relative_to(ROOT))] = lines
    grown = {name: lines for name, lines in found.items() if name not in LONG}
    assert not grown, f"a sign of a missing concept: {grown}"


LONG: set[str] = {"training/synthetic.py", "portal/settings.py", "portal/accounts/access.py"}
"""Files whose length is one concept: a drawing program, the one settings file, the one table of who may what."""


def test_no_function_is_a_novel() -> None:
    found, lengths = [], []
    for path in _sources(*PACKAGES):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                lengths.append(length)
                if length > 60:
                    found.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name} ({length})")
    lengths.sort()
    assert lengths[len(lengths) // 2] <= 12
    assert lengths[int(len(lengths) * 0.95)] <= 40
    assert not found, found


def test_no_committed_file_names_a_machine_or_a_registry() -> None:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    # put together here, so that this file does not name them itself
    forbidden = (f"{ROOT.parent}/", "files.python" + "hosted", "pypi." + "org/simple")
    found = []
    for name in done.stdout.decode().split("\0"):
        path = ROOT / name
        if name and path.is_file() and path.suffix in {".py", ".txt", ".toml", ".md", ".json", ".yaml", ".yml", ".sh", ".cfg", "", ".html"}:
            text = path.read_text(errors="ignore")
            found += [f"{name}: {word}" for word in forbidden if word in text]
    assert not found, found
