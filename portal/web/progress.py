"""How far reading has come and how long questions wait, for those who lead the study and who run the installation."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import path
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from portal.accounts import access
from portal.accounts.http import UserRequest
from portal.reviews import progress, remaining, standstill
from portal.reviews.models import ReviewTask
from portal.reviews.progress import LATELY, WEEKS, SiteProgress, Week
from portal.web import bars, drawings

_SERIES = ("asked", "answers", "settled by readers", "settled by an adjudicator")
_DAY = timedelta(days=1)


@never_cache
@require_safe
def review_progress(request: UserRequest) -> HttpResponse:
    """A fixed number of queries, whatever is asked of readers."""
    tasks = access.visible(ReviewTask, request.user)
    sites, weeks, paces = progress.by_site(tasks), progress.by_week(tasks), progress.paces()
    readers = list(progress.reading_now())
    waiting = progress.waiting(sites)
    context = {
        "sites": sites,
        "waiting": waiting,
        "weeks": weeks,
        "chart": _chart(weeks) if weeks else None,
        "spans": _spans(sites),
        "left": remaining.left(waiting, paces.get("reader"), paces.get("adjudicator")),
        "pace": paces.get("reader"),
        "enough": remaining.ENOUGH,
        "still": standstill.standstill(tasks, readers),
        "readers": len(readers),
        "lately": LATELY.days,
        "newest_weeks": WEEKS,
    }
    return render(request, "reading/progress.html", context)


def _chart(weeks: Sequence[Week]) -> bars.Bars:
    counts = [(f"{week.begins:%-d %b}", (week.asked, week.answers, week.settled, week.adjudicated)) for week in weeks]
    return bars.bars("By week", _SERIES, counts)


def _spans(sites: Sequence[SiteProgress]) -> drawings.Rows | None:
    """Median to the ninetieth percentile of each site that has closed a question of late."""
    found = [
        bars.Span(
            site.name, site.median / _DAY, site.p90 / _DAY,
            f"half within {site.median / _DAY:.1f} days, nine of ten within {site.p90 / _DAY:.1f} ({site.turned} images)",
        )
        for site in sites
        if site.median is not None and site.p90 is not None
    ]  # fmt: skip
    return bars.spans("From question to label", found) if found else None


urls = [path("reviews/progress/", review_progress, name="review_progress")]
