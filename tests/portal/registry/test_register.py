"""A bundle enters the registry whole and unchanged, or not at all."""

import hashlib
from pathlib import Path

import pytest
from django.conf import settings

from portal.audit.models import AuditEvent
from portal.core.errors import BadInput
from portal.registry.models import ModelVersion
from portal.registry.services import register
from tests.cast import Cast
from tests.portal.registry.toys import write_bundle


def test_a_bundle_is_copied_under_its_hash_and_becomes_a_candidate(cast: Cast, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "b", name="night run", snapshot_hash="a" * 64)
    version = register(bundle=bundle, actor=cast.max, run_id=7)
    assert version.bundle_hash == hashlib.sha256((bundle / "bundle.json").read_bytes()).hexdigest()
    assert Path(version.bundle_path) == settings.BUNDLES_DIR / version.bundle_hash
    assert {path.name for path in Path(version.bundle_path).iterdir()} == {path.name for path in bundle.iterdir()}
    assert (version.state, version.name, version.thresholds) == ("candidate", "night run", {"t_lo": 0.2, "t_hi": 0.8})
    event = AuditEvent.objects.get(action="model.register")
    assert (event.actor_id, event.details["run"]) == (cast.max.pk, 7)
    assert list(settings.BUNDLES_DIR.glob(".incoming-*")) == []


def test_the_same_bundle_again_is_the_same_version(cast: Cast, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "b", name="twice")
    assert register(bundle=bundle, actor=cast.max) == register(bundle=bundle, actor=cast.max)
    assert AuditEvent.objects.filter(action="model.register").count() == 1


def test_a_tampered_weight_file_is_refused(cast: Cast, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "b", name="tampered")
    (bundle / "resnest.safetensors").write_bytes(b"other weights")
    with pytest.raises(BadInput, match=r"resnest.safetensors is damaged or was changed"):
        register(bundle=bundle, actor=cast.max)
    assert not ModelVersion.objects.exists()


def test_a_missing_weight_file_is_refused(cast: Cast, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "b", name="missing")
    (bundle / "resnest.safetensors").unlink()
    with pytest.raises(BadInput, match="is missing"):
        register(bundle=bundle, actor=cast.max)


def test_an_unfinished_bundle_is_refused(cast: Cast, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "b")
    (bundle / "bundle.json").unlink()
    with pytest.raises(BadInput, match="never finished"):
        register(bundle=bundle, actor=cast.max)


def test_a_registered_copy_that_was_changed_later_is_noticed(cast: Cast, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "b", name="changed later")
    version = register(bundle=bundle, actor=cast.max)
    (Path(version.bundle_path) / "detector.safetensors").write_bytes(b"other")
    with pytest.raises(BadInput, match=r"detector.safetensors is damaged"):
        register(bundle=bundle, actor=cast.max)


def test_links_in_a_bundle_are_not_followed(cast: Cast, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("not for the registry")
    bundle = write_bundle(tmp_path / "b", name="with a link")
    (bundle / "notes.md").symlink_to(secret)
    version = register(bundle=bundle, actor=cast.max)
    assert not (Path(version.bundle_path) / "notes.md").exists()
