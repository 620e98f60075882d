"""Bundles in the real format, whose weights are a few bytes."""

import hashlib
import json
from pathlib import Path

from portal.ml import CLASSIFIED_KINDS


def write_bundle(folder: Path, *, name: str = "toy", snapshot_hash: str = "", weights: bytes = b"weights") -> Path:
    folder.mkdir(parents=True)
    files = {}
    for part in ("detector", "resnest", "deep_sad"):
        data = weights + part.encode()
        (folder / f"{part}.safetensors").write_bytes(data)
        files[f"{part}.safetensors"] = hashlib.sha256(data).hexdigest()
    about = {
        "format": 1, "name": name, "created": "2026-01-01T00:00:00", "code_version": "0.1.0", "snapshot_hash": snapshot_hash,
        "classes": [kind.value for kind in CLASSIFIED_KINDS], "parts": {}, "fusion": {"t_lo": 0.2, "t_hi": 0.8},
        "metrics": {"validation": {"resnest_auroc": 0.9}}, "sources": ["north"], "licence_note": "toy", "files": files,
    }  # fmt: skip
    (folder / "bundle.json").write_text(json.dumps(about))
    (folder / "MODEL_CARD.md").write_text("# Toy\n")
    return folder
