"""Pages of whoever leads the study: what is read, by whom and how often, and how readers are measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import path, reverse
from django.views.decorators.http import require_http_methods

from portal.accounts import access
from portal.accounts.http import UserRequest
from portal.accounts.models import Site, User
from portal.core.errors import BadInput, NotVisible
from portal.core.text import number
from portal.reviews import rules
from portal.reviews.models import Boxes, ReviewRules
from portal.web import unseen

_READS = [(1, "one"), (2, "two, without knowing of each other"), (3, "three, without knowing of each other")]
_TEXTS = {
    "reads_needed": ("Answers to each picture", "Where they disagree or cannot tell, one more is asked for; then an adjudicator."),
    "unsure_asks": ("An answer given as unsure asks one further reader", ""),
    "adaptive": ("Stop as soon as the answers are clear", "By how well each reader has read so far: fewer answers to easy pictures."),
    "boxes": ("The cervix' box is drawn", ""),
    "reveal": ("Show the model's opinion after the own answer", "The reader may amend then; both answers are kept."),
    "only_sites": ("Who works at one of these sites", ""),
    "only_readers": ("These readers", ""),
    "missed_share": ("Of the images that are not regular, % that may pass unseen", "0: everything is read. Empty: as installed."),
    "confidence": ("How sure to be that it is no more, %", "50 to 99.9; empty: 95."),
    "audit_share": ("Of all images, % that are read whatever the model says", "0 to 20, drawn by chance. Empty: as installed."),
    "t_lo": ("Accept as regular only below", "A probability between 0 and 1; empty: the model's own threshold."),
    "t_hi": ("Set aside as not regular only above", "The same."),
    "gold_share": ("Known pictures, % of what a reader is given", "0 to 20. Two readers agreed on them; nobody can tell them from others."),
    "gold_showings": ("Retire a known picture after so many showings", ""),
    "repeat_share": ("Repeats, % of what a reader is given", "0 to 20. Pictures that the same reader read two weeks ago or more."),
    "qualify_agreement": ("Right answers to the qualification set, % at least", "Empty: not asked. Else nothing comes before it."),
    "qualify_sensitivity": ("The same of its pictures that are not regular", "Empty: not asked."),
}  # fmt: skip
"""Of each field: its name on the page, and what to know of it."""
_SHARES = ("missed_share", "confidence", "audit_share")
_MEASURING = ("gold_share", "gold_showings", "repeat_share", "qualify_agreement", "qualify_sensitivity")
_IN_PERCENT = tuple(name for name in (*_SHARES, *_MEASURING) if name != "gold_showings")
_MAY_BE_EMPTY = ("t_lo", "t_hi", *_SHARES, "qualify_agreement", "qualify_sensitivity")
GROUPS = (
    ("What is asked", ("reads_needed", "unsure_asks", "adaptive", "boxes", "reveal")),
    ("What goes to readers", (*_SHARES, "t_lo", "t_hi")),
    ("Who takes part", ("only_sites", "only_readers")),
    ("How readers are measured, for all sites alike", _MEASURING),
)  # fmt: skip


def _percent(**limits: float) -> forms.FloatField:
    return forms.FloatField(required=False, widget=forms.NumberInput({"step": "any"}), **limits)  # type: ignore[arg-type]


class RulesForm(forms.Form):
    """One rule. Whether it can be is the service's to say. Of one site, what measures readers is not asked."""

    reads_needed = forms.TypedChoiceField(choices=_READS, coerce=int)
    unsure_asks = forms.BooleanField(required=False)
    adaptive = forms.BooleanField(required=False)
    boxes = forms.ChoiceField(choices=Boxes.choices, required=False)
    reveal = forms.BooleanField(required=False)
    missed_share = _percent(min_value=0, max_value=100 * rules.MOST_MISSED)
    confidence = _percent(min_value=50, max_value=100 * rules.MOST_CONFIDENT)
    audit_share = _percent(min_value=0, max_value=100 * rules.LARGEST_SHARE)
    t_lo = forms.FloatField(required=False, min_value=0, max_value=1, widget=forms.NumberInput({"step": "any"}))
    t_hi = forms.FloatField(required=False, min_value=0, max_value=1, widget=forms.NumberInput({"step": "any"}))
    only_sites = forms.ModelMultipleChoiceField(Site.objects.none(), required=False, widget=forms.CheckboxSelectMultiple)
    only_readers = forms.ModelMultipleChoiceField(User.objects.none(), required=False, widget=forms.CheckboxSelectMultiple)
    gold_share = _percent(min_value=0, max_value=100 * rules.LARGEST_SHARE)
    gold_showings = forms.IntegerField(required=False, min_value=1, max_value=10_000)
    repeat_share = _percent(min_value=0, max_value=100 * rules.LARGEST_SHARE)
    qualify_agreement = _percent(min_value=1, max_value=100)
    qualify_sensitivity = _percent(min_value=1, max_value=100)

    def __init__(self, user: User, site: Site | None, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        readers = access.visible(User, user).filter(memberships__role__in=access.READERS, is_active=True).distinct()
        self.fields["only_sites"].queryset = access.nameable_sites(user).order_by("name")  # type: ignore[attr-defined]
        self.fields["only_readers"].queryset = readers.order_by("name", "email")  # type: ignore[attr-defined]
        for name in _MEASURING if site else ():
            del self.fields[name]
        for name, field in self.fields.items():
            field.label, field.help_text = _TEXTS[name]

    def groups(self) -> list[tuple[str, list[forms.BoundField]]]:
        """The fields as the page shows them."""
        return [(title, shown) for title, names in GROUPS if (shown := [self[name] for name in names if name in self.fields])]

    def wanted(self) -> dict[str, Any]:
        data = dict(self.cleaned_data)
        said = {name: value for name, value in data.items() if value is not None or name in _MAY_BE_EMPTY}
        said |= {name: round(said[name] / 100, 6) for name in _IN_PERCENT if said.get(name) is not None}
        people = {name: [row.pk for row in data[name]] for name in ("only_sites", "only_readers")}
        return {**said, **people, "boxes": data["boxes"] or Boxes.OPTIONAL}


def initial(rule: ReviewRules) -> dict[str, Any]:
    """A rule as the form shows it."""
    shown = {name: getattr(rule, name) for name in _TEXTS}
    return shown | {name: round(100 * shown[name], 3) for name in _IN_PERCENT if shown[name] is not None}


@require_http_methods(["GET", "HEAD", "POST"])
def reading_rules(request: UserRequest) -> HttpResponse:
    """The rule of one site, or of all, with what it was before."""
    access.require(request.user, "set_rules")
    site = _site(request)
    standing = rules.in_force(site)
    form = RulesForm(request.user, site, request.POST if request.method == "POST" else None, initial=initial(standing))
    if request.method == "POST" and form.is_valid():
        try:
            rules.set_rules(site=site, actor=request.user, **form.wanted())
        except BadInput as refused:
            form.add_error(None, refused.message)
        else:
            messages.success(request, "The rule is in force from now on. Open questions keep the number of answers they began with.")
            return redirect(f"{reverse('reading_rules')}?site={site.pk}" if site else "reading_rules")
    return render(request, "reading/rules.html", _context(request, site, form), status=400 if form.errors else 200)


def _site(request: UserRequest) -> Site | None:
    """The site that is asked about; none where none is named."""
    named = (request.POST if request.method == "POST" else request.GET).get("site", "")
    if not named:
        return None
    pk = number(named)
    if pk is None:
        raise NotVisible
    site = access.nameable_sites(request.user).filter(pk=pk).first()
    if site is None:
        raise NotVisible
    return site


def _context(request: UserRequest, site: Site | None, form: RulesForm) -> dict[str, Any]:
    history = rules.history(site)
    sites = list(access.nameable_sites(request.user).order_by("name"))
    lines, passing = rules.lines(sites), unseen.in_short(sites)
    names = rules.names_of([*(line.rule for line in lines), *(version.rule for version in history)])
    return {
        "form": form,
        "groups": form.groups(),
        "site": site,
        "unseen": unseen.of_site(site) if site else None,
        "may_see_models": access.has_role(request.user, access.ADMINS),
        "own": any(line.own for line in lines if line.site == site),
        "lines": [(line, says(line.rule, names), passing.get(line.site.pk, "") if line.site else "") for line in lines],
        "installed": {"missed": settings.MISSED_SHARE, "audits": settings.AUDIT_SHARE},
        "history": [(version.rule, _changes(version.changes, names)) for version in history],
        "own_site_first": settings.READ_OWN_SITE_FIRST,
    }


# ---- a rule in words --------------------------------------------------------------------------------------------------
Names = tuple[Mapping[int, str], Mapping[int, str]]


def says(rule: ReviewRules, names: Names) -> list[str]:
    """A rule in short words, without what it leaves as it is by itself."""
    reads = f"{rule.reads_needed} answer{'s' if rule.reads_needed > 1 else ''} a picture"
    who = [*_named(rule.only_sites, names[0]), *_named(rule.only_readers, names[1])]
    found = [reads, f"read by {', '.join(who)}" if who else ""]
    found += ["a further reader where unsure"] if rule.unsure_asks else []
    found += ["stops when clear"] if rule.adaptive else []
    found += ["box before the answer"] if rule.boxes == Boxes.ASKED else []
    found += ["model's opinion shown afterwards"] if rule.reveal else []
    found += [f"{100 * rule.missed_share:g} % may pass unseen"] if rule.missed_share is not None else []
    found += [f"to be {100 * rule.confidence:g} % sure of that"] if rule.confidence is not None else []
    found += [f"{100 * rule.audit_share:g} % read whatever the model says"] if rule.audit_share is not None else []
    found += [f"regular only below {rule.t_lo:g}"] if rule.t_lo is not None else []
    found += [f"not regular only above {rule.t_hi:g}"] if rule.t_hi is not None else []
    found += [f"{100 * rule.gold_share:g} % known pictures"] if rule.gold_share else []
    found += [f"{100 * rule.repeat_share:g} % repeats"] if rule.repeat_share else []
    found += ["qualification first"] if rule.qualify_agreement or rule.qualify_sensitivity else []
    return [part for part in found if part]


def _named(ids: Iterable[int], names: Mapping[int, str]) -> list[str]:
    return [names.get(pk, f"number {pk}") for pk in ids]


def _changes(changed: Iterable[tuple[str, Any, Any]], names: Names) -> list[tuple[str, str, str]]:
    return [(_TEXTS[name][0], _value(name, old, names), _value(name, new, names)) for name, old, new in changed]


def _value(name: str, value: Any, names: Names) -> str:
    if name in ("only_sites", "only_readers"):
        return ", ".join(_named(value, names[name == "only_readers"])) or "nobody named"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name == "boxes":
        return str(Boxes(value).label)
    if value is None:
        return "the model's own" if name.startswith("t_") else "as installed" if name in _SHARES else "not asked"
    return f"{100 * value:g} %" if name in _IN_PERCENT else f"{value:g}"


urls = [path("reading/rules/", reading_rules, name="reading_rules")]
