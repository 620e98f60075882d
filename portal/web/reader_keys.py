"""The page on which a reader sets their keys, and how pictures come over a thin line."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import path
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from portal.accounts.http import UserRequest
from portal.reviews import selectors
from portal.reviews.room import keys
from portal.reviews.room.preferences import set_reading

_LONGEST = 64


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def reading_keys(request: UserRequest) -> HttpResponse:
    if request.method == "POST":
        return _set(request)
    own = selectors.settings_of(request.user)
    return _page(request, keys.merged(own.keys), low_bandwidth=own.low_bandwidth)


def _set(request: UserRequest) -> HttpResponse:
    usual = "usual" in request.POST
    typed = {name: key if usual else request.POST.get(f"key_{name}", "")[:_LONGEST] for name, key in keys.USUAL.items()}
    low_bandwidth = "low_bandwidth" in request.POST
    faults = keys.faults(typed)
    if faults:
        return _page(request, typed, low_bandwidth=low_bandwidth, faults=faults)
    set_reading(reader=request.user, keys=typed, low_bandwidth=low_bandwidth)
    messages.success(request, "Kept. It holds from the next picture on, wherever you log in.")
    return redirect("reading_keys")


def _page(request: UserRequest, typed: dict[str, str], *, low_bandwidth: bool, faults: dict[str, str] | None = None) -> HttpResponse:
    faults = faults or {}
    rows = [
        {"name": name, "text": text, "key": typed[name], "usual": keys.USUAL[name], "fault": faults.get(name, "")}
        for name, text in keys.names().items()
    ]
    context = {"rows": rows, "low_bandwidth": low_bandwidth, "faults": len(faults)}
    return render(request, "reading/keys.html", context, status=400 if faults else 200)


urls = [path("reading/keys/", reading_keys, name="reading_keys")]
