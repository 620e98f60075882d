"""`make race` and `make machine`: the long forms of what the suite does shortly.

`python -m tests.portal.reviews race [--readers 20] [--tasks 1000] [--seed 7]`
`python -m tests.portal.reviews machine [--examples 300] [--steps 60] [--from 12]`: rounds of ten examples; each says how far it is.
"""

from __future__ import annotations

import argparse
import logging
import os
import subprocess
import sys
from pathlib import Path

from tests import servers

ROOT = Path(__file__).resolve().parents[3]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["race", "machine"])
    parser.add_argument("--readers", type=int, default=20)
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--examples", type=int, default=300)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--from", dest="first", type=int, default=1, help="the round of the machine to begin with")
    options = parser.parse_args()
    if options.what == "machine":
        long = {
            "WINNOW_MACHINE_EXAMPLES": str(options.examples), "WINNOW_MACHINE_STEPS": str(options.steps),
            "WINNOW_MACHINE_FROM": str(options.first),
        }  # fmt: skip
        command = [sys.executable, "-m", "pytest", "-q", "-n0", "tests/portal/reviews/test_machine.py"]
        return subprocess.run(command, cwd=ROOT, env={**os.environ, **long}).returncode
    return _race(options)


def _race(options: argparse.Namespace) -> int:
    os.environ["DJANGO_SETTINGS_MODULE"] = "portal.settings"
    subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], check=True, cwd=ROOT, env={**os.environ, "WINNOW_AS_OWNER": "1"})
    import django

    django.setup()
    logging.disable(logging.INFO)
    from tests.cast import make_cast
    from tests.portal.reviews.race import run

    result = run(make_cast(), readers=options.readers, tasks=options.tasks, seed=options.seed)
    print("\n".join(result.lines()))
    assert servers.postgres.process is not None
    return 1 if result.faults else 0


if __name__ == "__main__":
    sys.exit(main())
