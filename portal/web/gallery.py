"""Pages of the gallery and of one image."""

from __future__ import annotations

from urllib.parse import urlencode

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import path
from django.views.decorators.http import require_POST

from portal.accounts import access
from portal.accounts.http import UserRequest
from portal.accounts.models import Site
from portal.images import comparing, seen
from portal.images import selectors as images
from portal.images.models import IN_WORK, Image, ImageState, NearDuplicate
from portal.labels.models import Provenance
from portal.ml import Kind
from portal.reviews import services as reviews
from portal.web import selectors

_ANY = [("", "any")]
_STATES = [*_ANY, ("in_work", "in work"), *((s.value, s.label.lower()) for s in ImageState)]
_MAY = {"see_original": "view_original", "withdraw": "withdraw", "upload": "upload"}
_KINDS = [(k.value, k.value.replace("_", " ")) for k in Kind]


class GalleryForm(forms.Form):
    """The gallery's filters. The choices of sites are the visible ones, so that nothing else is ever named."""

    search = forms.CharField(required=False, max_length=80, label="Patient or file")
    site = forms.ModelChoiceField(Site.objects.none(), required=False, empty_label="any")
    kind = forms.ChoiceField(choices=[*_ANY, ("none", "no label yet"), *_KINDS], required=False, label="Label")
    provenance = forms.ChoiceField(choices=[*_ANY, *Provenance.choices], required=False, label="Label from")
    said = forms.ChoiceField(choices=[*_ANY, *_KINDS], required=False, label="Model says")
    state = forms.ChoiceField(choices=_STATES, required=False)
    patient = forms.CharField(required=False, widget=forms.HiddenInput)
    before = forms.IntegerField(required=False, min_value=1, widget=forms.HiddenInput)

    def wanted(self) -> selectors.GalleryFilter:
        data = self.cleaned_data
        in_work = data["state"] == "in_work"
        own = images.Filters(
            site=data["site"].pk if data["site"] else None,
            state="" if in_work else data["state"],
            patient=data["patient"],
            before=data["before"],
        )
        words = {name: data[name] for name in ("kind", "said", "provenance", "search")}
        return selectors.GalleryFilter(own=own, in_work=in_work, **words)


def gallery(request: UserRequest) -> HttpResponse:
    form = GalleryForm(request.GET)
    form.fields["site"].queryset = access.visible(Site, request.user).order_by("name")  # type: ignore[attr-defined]
    wanted = form.wanted() if form.is_valid() else selectors.GalleryFilter()
    page = selectors.gallery(request.user, wanted)
    seen.shown(images=page.images, actor=request.user, where="gallery")
    kept = {name: value for name, value in request.GET.items() if name != "before" and value}
    following = urlencode({**kept, "before": page.next_before}) if page.next_before else ""
    template = "images/_cards.html" if request.headers.get("HX-Target") == "more" else "images/gallery.html"
    return render(request, template, {"form": form, "page": page, "following": following, "filtered": bool(kept)})


def image(request: UserRequest, image_id: int) -> HttpResponse:
    found = access.get_visible(Image, request.user, image_id)
    story = selectors.story(found)
    may = {f"may_{verb}": access.can(request.user, action, site=found.site_id) for verb, action in _MAY.items()}
    may["may_see_picture"] = found.state != ImageState.QUARANTINED or access.can(request.user, "view_quarantined", site=found.site_id)
    may["may_see_splits"] = access.has_role(request.user, access.ADMINS)
    near = images.near([found.pk]).get(found.pk, [])
    beside = [*story.siblings, *(pair.other for pair in near)]
    seen.shown(images=beside, actor=request.user, where=f"image {found.pk}")
    silence = images.silence([found.pk]) if found.state in IN_WORK else None
    return render(request, "images/image.html", {"story": story, "image": found, "near": near, "silence": silence, **may})


@require_POST
def image_withdraw(request: UserRequest, image_id: int) -> HttpResponse:
    found = access.get_visible(Image, request.user, image_id)
    reviews.withdraw(image=found, actor=request.user, reason=request.POST.get("reason", ""))
    messages.success(request, "The image is withdrawn: no reader, data set or comparison gets it from now on.")
    return redirect("image", found.pk)


@require_POST
def near_dismiss(request: UserRequest, pair_id: int) -> HttpResponse:
    pair = access.get_visible(NearDuplicate, request.user, pair_id)
    comparing.dismiss(pair=pair, actor=request.user)
    messages.success(request, "Noted: these two images are not the same photograph.")
    return redirect("image", pair.image_id)


urls = [
    path("images/", gallery, name="gallery"),
    path("images/<int:image_id>/", image, name="image"),
    path("images/<int:image_id>/withdraw/", image_withdraw, name="image_withdraw"),
    path("images/near/<int:pair_id>/dismiss/", near_dismiss, name="near_dismiss"),
]
