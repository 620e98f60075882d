"""From an empty clone to the first page, and a second start: `python -m benchmarks.startup [--cold] [--environment-here]`.

`--cold`: with empty caches of uv and npm, so that everything is downloaded. `--environment-here`: borrow this checkout's environment and
measure the two starts alone. Prints seconds.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def start(clone: Path, environ: dict[str, str]) -> float:
    """Seconds of `make run` until the address is printed; then Ctrl-C."""
    began = time.monotonic()
    with subprocess.Popen(["make", "run"], cwd=clone, env=environ, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        up = False
        for line in process.stdout:
            print("   ", line, end="")
            if "winnow: up in" in line:
                took, up = time.monotonic() - began, True
                os.killpg(process.pid, signal.SIGINT)
    if not up:
        raise SystemExit("it did not come up")
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cold", action="store_true")
    parser.add_argument("--environment-here", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="winnow-startup-") as folder:
        Path(folder).chmod(0o755)
        clone = Path(folder) / "clone"
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("WINNOW_", "DATABASE_", "REDIS_"))}
        environ |= {"EXAMPLE": "0", "PORT": "8765", "MAKEFLAGS": ""}
        if options.cold:
            environ |= {"UV_CACHE_DIR": f"{folder}/uv", "npm_config_cache": f"{folder}/npm", "PIP_NO_CACHE_DIR": "1"}
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        if options.environment_here:
            for name in (".venv", "node_modules"):
                (clone / name).symlink_to(ROOT / name)
            # Newer than the clone's lock files, or make would build the environment anew
            (ROOT / ".venv" / "ready").touch()
        first, second = start(clone, environ), start(clone, environ)
    print(f"empty clone to first page: {first:.0f} s (at most 300){', cold caches' if options.cold else ''}")
    print(f"second start: {second:.0f} s (at most 20)")


if __name__ == "__main__":
    main()
