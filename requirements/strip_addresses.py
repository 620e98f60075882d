"""Take sponsors' addresses out of a package-lock.json: a lock file names no address (`make lint` looks for `://`)."""

import json
import sys
from pathlib import Path

path = Path(sys.argv[1])
lock = json.loads(path.read_text())
for package in lock["packages"].values():
    package.pop("funding", None)
path.write_text(json.dumps(lock, indent=2) + "\n")
