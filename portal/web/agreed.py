"""How far readers agree: the page for those who lead the study, and what a reader is shown of their own reading."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import path
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from portal.accounts import access
from portal.accounts.http import UserRequest
from portal.ml import Interval
from portal.reviews.agreement import MEASURES, Paired, by_kind, estimates
from portal.reviews.models import Read
from portal.reviews.quality.pairs import MOST_QUESTIONS, first_pairs
from portal.reviews.room import looking_back, own
from portal.web import drawings, readers

FEW = 30
"""Of fewer images no agreement is stated of one reader: it would tell single answers of another."""
_GROUPS: tuple[tuple[str, Callable[[Paired], str]], ...] = (
    ("Site", lambda pair: pair.site),
    ("Month", lambda pair: pair.month),
    ("Readers", lambda pair: " and ".join(pair.readers)),
)
Group = tuple[str, dict[str, Interval]]


def named(pairs: Sequence[Paired]) -> list[tuple[str, Interval]]:
    """Each measure that can be said, by its name."""
    found = estimates(pairs)
    return [(name, found[measure]) for measure, name in MEASURES.items() if measure in found and not math.isnan(found[measure].value)]


@require_safe
def agreement(request: UserRequest) -> HttpResponse:
    """Over all, by site, month, pair of readers and kind. Groups stand in the order of their names: this is no league table."""
    pairs = first_pairs(access.visible(Read, request.user))
    whole = estimates(pairs)
    parts = [(title, list(_groups(pairs, key))) for title, key in _GROUPS]
    context = {
        "pairs": len(pairs),
        "most": MOST_QUESTIONS,
        "measures": MEASURES,
        "all": _cells(whole),
        "parts": [(title, [(label, _cells(found)) for label, found in groups]) for title, groups in parts],
        "forests": [_forest(MEASURES[measure], measure, whole, parts) for measure in ("raw", "ac1")] if pairs else [],
        "kinds": list(by_kind(pairs).items()),
    }
    return render(request, "reading/agreement.html", context)


@never_cache
@require_safe
def own_reading(request: UserRequest) -> HttpResponse:
    """A reader's own months and agreement with the other reader: theirs alone to see, but for those who lead the study."""
    pairs = own.own_pairs(request.user)
    context = {
        "months": own.own_reads(request.user),
        "pairs": len(pairs),
        "few": FEW,
        "days": looking_back.AMENDABLE.days,
        "measured": named(pairs) if len(pairs) >= FEW else [],
        "kinds": list(by_kind(pairs).items()) if len(pairs) >= FEW else [],
        "answers": looking_back.own_answers(request.user),
        **readers.own(request.user),
    }
    return render(request, "reading/own.html", context)


def _groups(pairs: Sequence[Paired], key: Callable[[Paired], str]) -> Iterator[Group]:
    for label in sorted({key(pair) for pair in pairs}):
        yield label, estimates([pair for pair in pairs if key(pair) == label])


def _forest(title: str, measure: str, whole: dict[str, Interval], parts: Sequence[tuple[str, list[Group]]]) -> drawings.Rows:
    rows = [("all", True, whole[measure])]
    for name, groups in parts:
        if name != "Month" or len(groups) > 1:
            rows += [(label, False, found[measure]) for label, found in groups]
    return drawings.forest(title, rows)


def _cells(found: dict[str, Interval]) -> list[Interval | None]:
    return [figure if not math.isnan(figure.value) else None for name in MEASURES if (figure := found.get(name))]


urls = [
    path("reviews/agreement/", agreement, name="agreement"),
    path("reading/mine/", own_reading, name="own_reading"),
]
