"""`make security`: what a machine can say of the portal's safety. `SECURITY_ARGS='--only cases --cases 1000 --seed 9'` for a part.

A check that could not be made is told as such and fails the run: it never counts as passed.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.security import advisories, leaks
from tests.security.production import PRODUCTION

ROOT = Path(__file__).resolve().parent.parent.parent
LOCKS = ("web.txt", "worker.txt", "dev.txt")
NOT_MADE = "NOT MADE"
Outcome = tuple[str, list[str]]


def secrets(options: argparse.Namespace) -> Outcome:
    """No private key and no token stands in the repository."""
    return _judged(leaks.in_files(leaks.repository(ROOT)))


def bandit(options: argparse.Namespace) -> Outcome:
    """Bandit over portal, inference, training, client; what is allowed stands in pyproject.toml or beside its line, with the reason."""
    return _run("-m", "bandit", "-q", "-c", "pyproject.toml", "-r", "portal", "inference", "training", "client")


def deploy(options: argparse.Namespace) -> Outcome:
    """Django's `check --deploy`, and the portal's own checks, with settings as in production."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return _run("manage.py", "check", "--deploy", "--fail-level", "WARNING", env={**kept, **PRODUCTION})


def schema(options: argparse.Namespace) -> Outcome:
    """The API's schema is made without a warning, and is valid."""
    where = {**os.environ, "WINNOW_DEVELOPMENT": "1"}
    return _run("manage.py", "spectacular", "--validate", "--fail-on-warn", "--file", os.devnull, env=where)


def packages(options: argparse.Namespace) -> Outcome:
    """No known weakness in the locked Python packages (pip-audit)."""
    return _answered({lock: advisories.python(ROOT / "requirements" / lock) for lock in LOCKS})


def scripts(options: argparse.Namespace) -> Outcome:
    """No known weakness in the locked scripts (npm audit)."""
    return _answered({"package-lock.json": advisories.node(ROOT)})


def cases(options: argparse.Namespace) -> Outcome:
    """Schemathesis: every operation of the API as everybody."""
    _portal()
    from tests.security.cases import api

    tally = api(options.cases, options.seed)
    print(f"  {tally.cases} cases, answers {dict(sorted(tally.answers.items()))}")
    return _judged([f"{fault}\n    {example}" for fault, example in tally.faults.items()])


def hostile(options: argparse.Namespace) -> Outcome:
    """Hostile values to every address, in every method, as everybody."""
    _portal()
    from tests.security.cases import pages

    found = pages(options.cases, options.seed).found
    print(f"  {found.cases} requests, answers {dict(sorted(found.answers.items()))}")
    return _judged([f"{place}\n    {said}" for place, said in found.broken.items()])


CHECKS: tuple[Callable[[argparse.Namespace], Outcome], ...] = (secrets, bandit, deploy, schema, packages, scripts, cases, hostile)


def main() -> int:
    options = _options()
    print(f"seed {options.seed}", flush=True)
    outcomes = {}
    for check in CHECKS:
        if not options.only or check.__name__ in options.only:
            print(f"== {check.__name__}: {check.__doc__}", flush=True)
            outcomes[check.__name__], lines = check(options)
            print("\n".join([f"  {line}" for line in lines] + [f"  {outcomes[check.__name__]}"]), flush=True)
    print("\n" + "\n".join(f"{name:10} {outcome}" for name, outcome in outcomes.items()))
    if NOT_MADE in outcomes.values():
        print("Some checks were NOT MADE: this run says nothing about them. Repeat them where their service can be reached.")
    return 0 if set(outcomes.values()) == {"passed"} else 1


def _judged(found: list[str]) -> Outcome:
    return ("FOUND", found) if found else ("passed", [])


def _answered(said: dict[str, advisories.Said]) -> Outcome:
    unanswered = [f"{name}: {one.why}" for name, one in said.items() if one.found is None]
    found = [f"{name}: {line}" for name, one in said.items() for line in one.found or ()]
    return (NOT_MADE, found + unanswered) if unanswered else _judged(found)


def _run(*arguments: str, env: dict[str, str] | None = None) -> Outcome:
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, env=env, capture_output=True, text=True)
    return ("FOUND", (done.stdout + done.stderr).splitlines()) if done.returncode else ("passed", [])


def _portal() -> None:
    """Real servers of this run's own, migrated; once."""
    if "DJANGO_SETTINGS_MODULE" in os.environ:
        return
    from tests import servers

    os.environ["DJANGO_SETTINGS_MODULE"] = "portal.settings"
    migrate = [sys.executable, "manage.py", "migrate", "-v0"]
    subprocess.run(migrate, check=True, cwd=ROOT, env={**os.environ, "WINNOW_AS_OWNER": "1"})
    assert servers.postgres
    import django

    django.setup()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make security", description=__doc__)
    parser.add_argument("--only", nargs="+", default=[], choices=[check.__name__ for check in CHECKS])
    parser.add_argument("--cases", type=int, default=10_000, help="of the API, and as many requests to every address")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="the same number asks the same")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
