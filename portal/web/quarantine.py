"""The page of pictures with text in them, for the people of their own site."""

from __future__ import annotations

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import path
from django.views.decorators.http import require_POST, require_safe

from portal.accounts import access
from portal.accounts.http import UserRequest
from portal.accounts.models import Site
from portal.core.errors import BadInput
from portal.core.text import number
from portal.images import quarantine, selectors
from portal.images.blanking import Region
from portal.images.models import Image, TextFound, TextRule

_PAGE = 30
_EDGES = ("x0", "y0", "x1", "y1")


class RegionForm(forms.Form):
    """A part of the picture in per cent of its width and height; all empty: none."""

    x0 = forms.FloatField(required=False, min_value=0, max_value=100, label="left")
    y0 = forms.FloatField(required=False, min_value=0, max_value=100, label="top")
    x1 = forms.FloatField(required=False, min_value=0, max_value=100, label="right")
    y1 = forms.FloatField(required=False, min_value=0, max_value=100, label="bottom")
    blank = forms.BooleanField(required=False)

    def region(self) -> Region | None:
        """Raises BadInput where only some edges are given, or one is no number."""
        if not self.is_valid():
            raise BadInput("Give the region as four numbers from 0 to 100: left, top, right, bottom.")
        edges = [self.cleaned_data[name] for name in _EDGES]
        if all(edge is None for edge in edges):
            return None
        if any(edge is None for edge in edges):
            raise BadInput("Give all four edges of the region, or none.")
        return Region(*(edge / 100 for edge in edges))


@require_safe
def quarantine_page(request: UserRequest) -> HttpResponse:
    rows = quarantine.waiting(request.user)
    sites = list(selectors.upload_sites(request.user))
    rules = {rule.site_id: rule for rule in access.visible(TextRule, request.user).filter(site__in=sites)}
    shown = [(site, _percent(rules.get(site.pk)), access.can(request.user, "set_text_rule", site=site.pk)) for site in sites]
    found = list(rows[:_PAGE])
    for one in found:
        one.may_withdraw = access.can(request.user, "withdraw", site=one.image.site_id)  # type: ignore[attr-defined]
    return render(request, "images/quarantine.html", {"found": found, "total": rows.count(), "rules": shown})


def _percent(rule: TextRule | None) -> dict[str, float | bool] | None:
    return {**{name: round(100 * getattr(rule, name), 1) for name in _EDGES}, "blank": rule.blank} if rule else None


@require_POST
def image_blank(request: UserRequest, image_id: int) -> HttpResponse:
    """The ticked boxes, and one more that the person gives in per cent."""
    image = access.get_visible(Image, request.user, image_id)
    found = TextFound.objects.filter(image=image).first()
    ticked = {number(text) for text in request.POST.getlist("box")}
    boxes = [box for place, box in enumerate(found.boxes if found else []) if place in ticked]
    if more := RegionForm(request.POST).region():
        width, height = image.width or 0, image.height or 0
        boxes.append([more.x0 * width, more.y0 * height, more.x1 * width, more.y1 * height])
    quarantine.blank(image=image, boxes=boxes, actor=request.user)
    messages.success(request, f"Image {image.pk} is blanked. It is looked at again, and then goes on.")
    return redirect("quarantine")


@require_POST
def image_release(request: UserRequest, image_id: int) -> HttpResponse:
    image = access.get_visible(Image, request.user, image_id)
    quarantine.release(image=image, attestation=request.POST.get("attestation", ""), actor=request.user)
    messages.success(request, f"Image {image.pk} is released with your words, and goes on.")
    return redirect("quarantine")


@require_POST
def text_rule(request: UserRequest, site_id: int) -> HttpResponse:
    site = access.get_visible(Site, request.user, site_id)
    access.require(request.user, "set_text_rule", site=site.pk)
    form = RegionForm(request.POST)
    region = form.region()
    quarantine.set_rule(site=site, region=region, blank=form.cleaned_data["blank"], actor=request.user)
    messages.success(request, f"The rule of {site.name} is {'kept' if region else 'removed'}. It holds for pictures that come from now on.")
    return redirect("quarantine")


urls = [
    path("quarantine/", quarantine_page, name="quarantine"),
    path("quarantine/images/<int:image_id>/blank/", image_blank, name="image_blank"),
    path("quarantine/images/<int:image_id>/release/", image_release, name="image_release"),
    path("quarantine/sites/<int:site_id>/rule/", text_rule, name="text_rule"),
]
