"""Writes to the registry. Only `learning` calls promote and roll_back: there the rules of who may, and when, are kept."""

from __future__ import annotations

from pathlib import Path

from django.db import connection, transaction

from portal.accounts.models import User
from portal.audit.services import record
from portal.core.errors import WrongState
from portal.ml import BundleInfo
from portal.registry import bundles, selectors
from portal.registry.models import ChampionChange, ModelVersion, VersionState
from portal.registry.plain import finite

_CHAMPION_LOCK = 0x57494E4E
"""Advisory lock of everybody who changes the champion, as there may be no row yet to lock."""


@transaction.atomic
def register(*, bundle: Path, actor: User | None, run_id: int | None = None) -> ModelVersion:
    """Verify a bundle, copy it under its hash, and make it a candidate. Known already: its row. Raises BadInput."""
    info, folder = bundles.adopt(bundle)
    version, made = ModelVersion.objects.get_or_create(
        bundle_hash=info.hash, defaults={**_described(info), "bundle_path": str(folder), "registered_by": actor}
    )
    if made:
        record(actor_id=actor.pk if actor else None, action="model.register", subject=version, bundle_hash=info.hash, run=run_id)
    elif version.bundle_path != str(folder):
        # The installation's folder was moved: the row follows the files, whose hash is the same
        ModelVersion.objects.filter(pk=version.pk).update(bundle_path=str(folder))
        record(actor_id=actor.pk if actor else None, action="model.moved", subject=version, bundle_hash=info.hash)
        version.bundle_path = str(folder)
    return version


def _described(info: BundleInfo) -> dict[str, object]:
    return {
        "name": info.name[:120],
        "snapshot_hash": info.snapshot_hash,
        "metrics": finite(info.metrics),
        "thresholds": finite(info.thresholds),
    }


@transaction.atomic
def ensure_baseline(*, bundle: Path) -> ModelVersion | None:
    """Register the shipped baseline; champion only where there is none yet: an update never replaces a champion by itself."""
    if not (bundle / "bundle.json").is_file():
        return None
    version = register(bundle=bundle, actor=None)
    _lock()
    if selectors.champion() is None:
        _crown(version=version, previous=None, how="first", actor=None)
    return version


@transaction.atomic
def promote(*, version: ModelVersion, actor: User) -> ModelVersion:
    """Make a version champion, and the champion retired, in one step."""
    _lock()
    version = ModelVersion.objects.get(pk=version.pk)
    if version.state == VersionState.CHAMPION:
        raise WrongState(f"{version} is the champion already.")
    _crown(version=version, previous=selectors.champion(), how="promote", actor=actor)
    return version


@transaction.atomic
def roll_back(*, actor: User) -> ModelVersion:
    """Return to the champion before this one."""
    _lock()
    earlier = selectors.earlier_champion()
    if earlier is None:
        raise WrongState("There is no earlier champion to roll back to.")
    _crown(version=earlier, previous=selectors.champion(), how="roll_back", actor=actor)
    return earlier


def is_still_champion(version: ModelVersion) -> bool:
    """Whether it is champion until the caller's transaction ends: a promotion or roll-back waits for that, and finds what was written."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock_shared(%s)", [_CHAMPION_LOCK])
    return ModelVersion.objects.filter(pk=version.pk, state=VersionState.CHAMPION).exists()


def hold_champion() -> None:
    """Nobody else changes the champion until the caller's transaction ends."""
    _lock()


def _lock() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_CHAMPION_LOCK])


def _crown(*, version: ModelVersion, previous: ModelVersion | None, how: str, actor: User | None) -> None:
    ModelVersion.objects.filter(state=VersionState.CHAMPION).update(state=VersionState.RETIRED)
    ModelVersion.objects.filter(pk=version.pk).update(state=VersionState.CHAMPION)
    version.state = VersionState.CHAMPION
    ChampionChange.objects.create(version=version, previous=previous, how=how, actor=actor)
    record(
        actor_id=actor.pk if actor else None, action=f"model.{how}", subject=version,
        before=previous.bundle_hash if previous else None, after=version.bundle_hash,
    )  # fmt: skip
