"""There is one champion; how it changes, and the way back."""

from pathlib import Path

import pytest
from django.db import IntegrityError, transaction

from portal.audit.models import AuditEvent
from portal.core.errors import WrongState
from portal.registry.history import champions
from portal.registry.models import ChampionChange, ModelVersion
from portal.registry.selectors import champion, earlier_champion
from portal.registry.services import ensure_baseline, promote, register, roll_back
from tests.cast import Cast
from tests.portal.registry.toys import write_bundle


def _three(cast: Cast, folder: Path) -> list[ModelVersion]:
    first = ensure_baseline(bundle=write_bundle(folder / "baseline", name="baseline"))
    assert first is not None
    others = [register(bundle=write_bundle(folder / name, name=name), actor=cast.max) for name in ("b", "c")]
    return [first, *others]


def test_the_shipped_baseline_is_the_first_champion(db: None, tmp_path: Path) -> None:
    version = ensure_baseline(bundle=write_bundle(tmp_path / "b"))
    assert champion() == version
    assert ChampionChange.objects.get().how == "first"
    assert AuditEvent.objects.get(action="model.first").actor_id is None


def test_a_second_start_changes_nothing(db: None, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "b")
    assert ensure_baseline(bundle=bundle) == ensure_baseline(bundle=bundle)
    assert ChampionChange.objects.count() == 1


def test_without_a_shipped_baseline_there_is_no_champion(db: None, tmp_path: Path) -> None:
    assert ensure_baseline(bundle=tmp_path / "nothing") is None
    assert champion() is None


def test_a_newer_shipped_baseline_comes_as_a_candidate_only(db: None, tmp_path: Path) -> None:
    old = ensure_baseline(bundle=write_bundle(tmp_path / "old", name="old"))
    new = ensure_baseline(bundle=write_bundle(tmp_path / "new", name="new"))
    assert champion() == old
    assert new is not None
    assert new.state == "candidate"


def test_promotion_swaps_one_row_and_leaves_an_event(cast: Cast, tmp_path: Path) -> None:
    first, second, _ = _three(cast, tmp_path)
    promote(version=second, actor=cast.max)
    assert champion() == second
    first.refresh_from_db()
    assert first.state == "retired"
    event = AuditEvent.objects.get(action="model.promote")
    assert (event.actor_id, event.details) == (cast.max.pk, {"before": first.bundle_hash, "after": second.bundle_hash})


def test_the_champion_is_not_promoted_again(cast: Cast, tmp_path: Path) -> None:
    first, *_ = _three(cast, tmp_path)
    with pytest.raises(WrongState, match="champion already"):
        promote(version=first, actor=cast.max)


def test_two_roll_backs_go_two_back_and_not_forth_again(cast: Cast, tmp_path: Path) -> None:
    first, second, third = _three(cast, tmp_path)
    promote(version=second, actor=cast.max)
    promote(version=third, actor=cast.max)
    assert roll_back(actor=cast.max) == second
    assert earlier_champion() == first
    assert roll_back(actor=cast.max) == first == champion()
    with pytest.raises(WrongState, match="no earlier champion"):
        roll_back(actor=cast.max)
    events = AuditEvent.objects.filter(action="model.roll_back").order_by("id")
    assert [event.details["after"] for event in events] == [second.bundle_hash, first.bundle_hash]


def test_what_was_rolled_back_can_be_promoted_anew(cast: Cast, tmp_path: Path) -> None:
    first, second, _ = _three(cast, tmp_path)
    promote(version=second, actor=cast.max)
    roll_back(actor=cast.max)
    promote(version=second, actor=cast.max)
    assert champion() == second
    assert earlier_champion() == first


def test_the_database_refuses_a_second_champion(cast: Cast, tmp_path: Path) -> None:
    _, second, _ = _three(cast, tmp_path)
    with pytest.raises(IntegrityError, match="one_champion"), transaction.atomic():
        ModelVersion.objects.filter(pk=second.pk).update(state="champion")


def test_the_stack_of_champions() -> None:
    assert champions([("first", 1), ("promote", 2), ("promote", 3), ("roll_back", 2), ("promote", 4)]) == [1, 2, 4]
