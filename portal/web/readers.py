"""How well readers read: every reader's figures for those who lead the study, and what a reader is shown of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import path
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from portal.accounts import access
from portal.accounts.http import UserRequest
from portal.accounts.models import User
from portal.ml import Interval
from portal.reviews.models import Reliability
from portal.reviews.quality.checked import ENOUGH
from portal.reviews.room import own as own_reading
from portal.web import drawings

FIGURES = {
    "sensitivity": ("Sensitivity", "of images that are not regular, called something else than regular"),
    "specificity": ("Specificity", "of regular images, called regular"),
    "repeats": ("Of one mind with oneself", "of images shown again weeks later, called the same"),
    "gold": ("Right on known images", "of images whose kind is beyond doubt, called so"),
    "cannot_tell": ("“Cannot tell”", "of all images; neither good nor bad"),
}
SWITCHES = {
    "towards": ("Amended towards the model", "of answers that differed from it"),
    "elsewhere": ("Amended to a third kind", "of answers that differed from the model"),
    "rightly": ("Rightly", "of those amended towards it, what other readers or an adjudicator say too"),
    "wrongly": ("Wrongly", "of those amended towards it, the others say what was given up"),
    "kept_wrongly": ("Kept, and wrongly", "of answers that stayed, the others say what the model says"),
}
Named = tuple[str, str, Interval | None]


@dataclass(frozen=True, slots=True)
class OfReader:
    """`figures`: as in FIGURES; None where too few images stand behind one. `change`: of agreement with what was settled, in points."""

    name: str
    figures: list[Named]
    seconds: float | None
    months: list[tuple[str, Interval | None]]
    change: dict[str, Any] | None
    switches: list[Named] = field(default_factory=list)
    shown: int = 0


def _figure(kept: list[Any] | None) -> Interval | None:
    return Interval(*kept) if kept and kept[4] >= ENOUGH else None


def _named(kept: Mapping[str, Any], titles: Mapping[str, tuple[str, str]]) -> list[Named]:
    return [(title, means, _figure(kept.get(key))) for key, (title, means) in titles.items()]


def of_reader(row: Reliability | None, reader: User) -> OfReader | None:
    """What is known of one reader; None where nothing is."""
    kept = row.content["readers"].get(str(reader.pk)) if row else None
    if row is None or kept is None:
        return None
    moved = row.content["switching"]["readers"].get(str(reader.pk), {})
    change = kept["change"]
    return OfReader(
        name=reader.name or reader.email, figures=_named(kept, FIGURES), seconds=kept["seconds"],
        months=[(month, _figure(figure)) for month, figure in kept["months"]],
        change={**change, **{key: round(100 * change[key]) for key in ("value", "low", "high")}} if change else None,
        switches=_named(moved, SWITCHES), shown=moved.get("shown", 0),
    )  # fmt: skip


def forest(title: str, named: list[tuple[str, Interval | None]]) -> drawings.Rows | None:
    """None where there is nothing to draw."""
    return (
        drawings.forest(title, [(name, False, figure or drawings.UNKNOWN) for name, figure in named]) if any(f for _, f in named) else None
    )


def own(reader: User) -> dict[str, Any]:
    """What a reader's own page shows: theirs alone."""
    row = own_reading.measured()
    found = of_reader(row, reader)
    if row is None or found is None:
        return {"measured_at": None}
    return {
        "measured_at": row.created,
        "own": found,
        "enough": ENOUGH,
        "glance": forest("Your reading", [(title, figure) for title, _, figure in found.figures]),
        "by_month": forest("As it was settled, by month", found.months),
    }


@never_cache
@require_safe
def readers(request: UserRequest) -> HttpResponse:
    """Every reader's figures, in the order of their names: this is no league table."""
    row = access.visible(Reliability, request.user).order_by("-pk").first()
    people = User.objects.filter(pk__in=row.content["readers"]) if row else User.objects.none()
    found = sorted((one for person in people if (one := of_reader(row, person))), key=lambda one: one.name.casefold())
    drawn = [forest(title, [(one.name, one.figures[at][2]) for one in found]) for at, (title, _) in enumerate(FIGURES.values())]
    context = {
        "row": row,
        "readers": found,
        "titles": FIGURES.values(),
        "forests": [(drawing, means) for drawing, (_, means) in zip(drawn, FIGURES.values(), strict=True) if drawing],
        "switches": _named(row.content["switching"], SWITCHES) if row else [],
        "shown": row.content["switching"]["shown"] if row else 0,
        "enough": ENOUGH,
    }
    return render(request, "reading/readers.html", context)


urls = [path("reviews/readers/", readers, name="reader_figures")]
