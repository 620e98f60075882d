"""A tiny bundle of random weights: the real architecture and the real file format, in a few hundred kilobytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.inference import toys


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toys.write_bundle(tmp_path_factory.mktemp("bundles") / "tiny")


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Seven pictures of different sizes and colours."""
    folder = tmp_path_factory.mktemp("pictures")
    return [toys.save_blob(folder / f"{i}.jpg", size=(120 + 31 * i, 90 + 17 * ((i * 3) % 5)), seed=i) for i in range(7)]
