"""A bundle: the complete analyzer as a folder of `bundle.json` and `*.safetensors`. Describing and verifying one needs no torch.

`bundle.json` is written last and names the sha256 of every weight file; a bundle's hash is the sha256 of its bundle.json. Never pickle.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inference.types import CLASSIFIED_KINDS, BundleInfo

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 1
MANIFEST = "bundle.json"
CARD = "MODEL_CARD.md"
PARTS = ("detector", "resnest", "deep_sad")
"""The networks, without which there is no bundle. `novelty.safetensors` (numpy arrays, no network) may stand beside them."""
Writer = Callable[[Mapping[str, Any], str], str]
"""Writes a card from the content of bundle.json and the bundle's hash, which the card names and so is no part of."""
BASELINE = Path(__file__).parent / "bundles" / "baseline"
CODE_VERSION = "0.1.0"


class BundleError(ValueError):
    """A folder that is no bundle, an unfinished one, or one whose files are not what bundle.json says."""


def describe(path: Path) -> BundleInfo:
    """Read a bundle's manifest and verify the sha256 of every file in it. Raises BundleError. Needs no torch."""
    about, digest = verify(path)
    return BundleInfo(
        path=str(path), hash=digest, name=about["name"], created=about["created"], code_version=about["code_version"],
        snapshot_hash=about["snapshot_hash"], thresholds={name: float(about["fusion"][name]) for name in ("t_lo", "t_hi")},
        metrics=about["metrics"], sources=tuple(about["sources"]), licence_note=about["licence_note"],
    )  # fmt: skip


def verify(path: Path) -> tuple[dict[str, Any], str]:
    """The content of bundle.json and the bundle's hash, once all files are there and unchanged. Raises BundleError."""
    about, digest = read_manifest(path)
    for name, expected in about["files"].items():
        # A name with a folder in it would reach outside of the bundle
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise BundleError(f"{path.name}: bundle.json names {name!r}, which is not a weight file of the bundle.")
        file = path / name
        if not file.is_file():
            raise BundleError(f"{path.name}: {name} is missing. Copy the bundle again.")
        if sha256(file) != expected:
            raise BundleError(
                f"{path.name}: {name} is damaged or was changed (its sha256 is not the one in bundle.json). Copy the bundle again."
            )
    return about, digest


def read_manifest(path: Path) -> tuple[dict[str, Any], str]:
    """bundle.json and its sha256, checked for form but not against the weight files."""
    manifest = path / MANIFEST
    if not path.is_dir():
        raise BundleError(f"{path} is not a folder. A bundle is a folder with a {MANIFEST}.")
    if not manifest.is_file():
        raise BundleError(f"{path.name} is not a bundle, or was never finished: it has no {MANIFEST}.")
    raw = manifest.read_bytes()
    try:
        about = json.loads(raw)
    except ValueError as error:
        raise BundleError(f"{path.name}: {MANIFEST} is not valid JSON ({error}).") from error
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise BundleError(f"{path.name}: {MANIFEST} has format {_format(about)}; this version reads format {FORMAT}.")
    missing = [key for key in KEYS if key not in about]
    if missing:
        raise BundleError(f"{path.name}: {MANIFEST} lacks {', '.join(missing)}.")
    if about["classes"] != [kind.value for kind in CLASSIFIED_KINDS]:
        raise BundleError(f"{path.name}: its classes are {about['classes']}, which this version cannot read.")
    return about, hashlib.sha256(raw).hexdigest()


KEYS = (
    "name", "created", "code_version", "snapshot_hash", "classes", "parts", "fusion", "metrics", "sources", "licence_note", "files",
)  # fmt: skip


def _format(about: object) -> object:
    return about.get("format") if isinstance(about, dict) else None


def card_of(path: Path) -> str:
    """The text of a bundle's model card, which no hash covers; empty where there is none."""
    card = path / CARD
    return card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""


def sha256(file: Path) -> str:
    """Hexadecimal sha256 of a file's bytes."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write(
    folder: Path, about: Mapping[str, Any], tensors: Mapping[str, Mapping[str, Tensor]], *, card: Writer | None = None,
    arrays: Mapping[str, Mapping[str, Any]] | None = None,
) -> str:  # fmt: skip
    """Write a bundle under a temporary name, bundle.json last, and rename it to `folder`. Returns its hash.

    about: KEYS without `files`. tensors: weights of each of PARTS. card: None for a bundle without one. arrays: numpy arrays that are no
    network's, by file name without its ending. Raises BundleError when `folder` exists.
    """
    from safetensors.numpy import save_file as save_arrays
    from safetensors.torch import save_file

    if folder.exists():
        raise BundleError(f"{folder} exists already; a bundle is never overwritten.")
    fresh = folder.with_name(f".{folder.name}-{uuid.uuid4().hex[:8]}")
    fresh.mkdir(parents=True)
    try:
        files = {}
        for part in PARTS:
            name = f"{part}.safetensors"
            save_file(halved(tensors[part]), str(fresh / name))
            files[name] = sha256(fresh / name)
        for name, values in (arrays or {}).items():
            save_arrays(dict(values), str(fresh / f"{name}.safetensors"))
            files[f"{name}.safetensors"] = sha256(fresh / f"{name}.safetensors")
        return _finish(fresh, folder, {"format": FORMAT, **about, "files": files}, card)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise


def amend(source: Path, folder: Path, changes: Mapping[str, Any], *, card: Writer | None = None) -> str:
    """Write the bundle `source` anew as `folder` with `changes` to its bundle.json; weights and arrays stay as they are.

    So does its card where no other is given. Returns the new bundle's hash. Raises BundleError when `source` is no whole bundle or `folder`
    exists.
    """
    about, _ = verify(source)
    if folder.exists():
        raise BundleError(f"{folder} exists already; a bundle is never overwritten.")
    fresh = folder.with_name(f".{folder.name}-{uuid.uuid4().hex[:8]}")
    fresh.mkdir(parents=True)
    try:
        for name in (*about["files"], CARD):
            if (source / name).is_file():
                shutil.copyfile(source / name, fresh / name)
        return _finish(fresh, folder, {**about, **changes, "files": about["files"]}, card)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise


def _finish(fresh: Path, folder: Path, about: Mapping[str, Any], card: Writer | None) -> str:
    """bundle.json last, then the name: nobody ever opens half a bundle."""
    whole = json.dumps(about, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    digest = hashlib.sha256(whole.encode()).hexdigest()
    if card is not None:
        (fresh / CARD).write_text(card(json.loads(whole), digest), encoding="utf-8")
    with (fresh / MANIFEST).open("w", encoding="utf-8") as stream:
        stream.write(whole)
        stream.flush()
        os.fsync(stream.fileno())
    os.rename(fresh, folder)
    return digest


def halved(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weight matrices and kernels in half precision; vectors (norms, biases, the centre) are few and stay as they are."""
    return {name: (t.half() if t.is_floating_point() and t.ndim > 1 else t).detach().cpu().contiguous() for name, t in tensors.items()}


def load_tensors(path: Path, part: str) -> dict[str, Tensor]:
    """One part's weights, floats in single precision. `path` must have been verified."""
    from safetensors.torch import load_file

    return {name: t.float() if t.is_floating_point() else t for name, t in load_file(str(path / f"{part}.safetensors")).items()}
