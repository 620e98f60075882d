"""Reads of the registry."""

from __future__ import annotations

from portal.registry.history import champions
from portal.registry.models import ChampionChange, ModelVersion, VersionState


def champion() -> ModelVersion | None:
    """The version that judges uploads now."""
    return ModelVersion.objects.filter(state=VersionState.CHAMPION).first()


def earlier_champion() -> ModelVersion | None:
    """The version that a roll-back would return to, if there is one."""
    stack = champions(ChampionChange.objects.order_by("id").values_list("how", "version_id"))
    return ModelVersion.objects.get(pk=stack[-2]) if len(stack) > 1 else None
