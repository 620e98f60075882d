"""Small pieces that several pages draw."""

from collections.abc import Mapping, Sequence
from typing import Any

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from portal.core import text
from portal.images.models import Correction
from portal.images.selectors import Near
from portal.web.outcomes import ADVICE, NAMES

register = template.Library()

REASONS = {
    "not_a_cervix": "it does not seem to show a cervix",
    "blurred": "the picture is out of focus",
    "too_dark": "the picture is too dark",
    "too_bright": "the picture is too bright",
    "glare": "a large spot of glare hides part of the cervix",
    "detector_low": "the cervix was found with little certainty",
    "detector_none": "no cervix was found",
    "between_thresholds": "the probability lies between the two thresholds",
    "classifiers_disagree": "the two classifiers disagree",
    "beyond_training_distances": "its Deep SAD distance is beyond all that the model was trained on",
    "out_of_distribution": "it looks unlike the pictures that the model learned from",
    "above_site_t_lo": "the site asks for more certainty before an image passes as regular",
    "below_site_t_hi": "the site asks for more certainty before an image is sorted out",
    "kind_contradicts_route": "the likeliest kind and the probability point different ways",
    "models_disagree": "a new model contradicts the automatic label",
    "context_overturned": "beside the exam's other images it looks different than alone",
    "no_calibration_for_device": "nobody has checked yet how well the model judges this device's images",
    "t_lo_not_earned": "too few images of this site that are not regular have been read to let any image pass unseen",
    "above_earned_t_lo": "what was read at this site lets an image pass as regular only below a lower probability",
    "audit": "drawn by chance, to see what passes unseen",
    "reopened": "somebody asked for it again",
}
"""Codes of inference and triage in words for a clinic; an unknown code is shown as it is."""


QUALITY = {
    "blur": "out of focus: probability", "not_a_cervix": "not a cervix: probability", "sharpness": "sharpness",
    "exposure": "brightness, mean", "glare": "burnt-out share", "glare_blob": "largest glare spot, share",
}  # fmt: skip
"""Measures that mean something to people; the others only feed the bundle's judgement and stand in the database."""


NEAR = {
    "same_patient": "Shows the same photograph as image {pk} of the same patient. Nothing is wrong if you sent it twice.",
    "other_patient": "Shows the same photograph as image {pk} of patient {code}. Two patients may have been mixed up: check both.",
    "unknown_patient": "Shows the same photograph as image {pk}. One of the two names no patient.",
}
"""What a near-duplicate means to who sent it, by the relation of the two."""


@register.filter
def near_text(near: Near) -> str:
    """A near-duplicate in words; where the patient is another, named, because a mix-up is the worst that it can mean."""
    code = near.other.exam.patient.code if near.other.exam else ""
    return NEAR[near.relation].format(pk=near.other.pk, code=code)


@register.filter
def words(value: object) -> str:
    """A code as words: `auto_regular` -> `auto regular`."""
    return str(value).replace("_", " ").replace(".", " ")


@register.filter
def counted(number: int | None, one: str) -> str:
    """`{{ 1200|counted:"image" }}` is `1,200 images`; of what adds no plain s, `"person,people"` names both."""
    singular, _, plural = one.partition(",")
    return text.counted(number or 0, singular, plural)


@register.filter
def percent(share: float | None) -> str:
    """0.0345 -> `3.5 %`."""
    return "–" if share is None else f"{100 * share:.1f} %"


@register.filter
def reason_text(code: str) -> str:
    return REASONS.get(code, words(code))


@register.filter
def advice(code: str) -> str:
    """What to do at the camera about a reason; empty where nothing can be done there."""
    return ADVICE.get(code, "")


@register.filter
def unusual(rank: float) -> str:
    """An analysis' `ood` in words: 0.97 -> `farther from the model's training images than 97 % of the images held back from training`."""
    if rank <= 0:
        return "no farther from the model's training images than the nearest of the images held back from training"
    share = "all" if rank >= 1 else f"{min(100 * rank, 99.9):.1f}".removesuffix(".0") + " %"
    return f"farther from the model's training images than {share} of the images held back from training"


@register.filter
def finding_name(code: str) -> str:
    return NAMES.get(code, words(code))


@register.filter
def changes(one: Correction) -> list[tuple[str, str, str]]:
    """(what, from, to) of a version of what is said of an image."""
    exams = [(exam.patient.code, exam.code) if exam else ("", "") for exam in (one.exam_before, one.exam_after)]
    days = [moment.strftime("%Y-%m-%d %H:%M") if moment else "" for moment in (one.captured_before, one.captured_after)]
    pairs = [
        ("patient", exams[0][0], exams[1][0]),
        ("exam", exams[0][1], exams[1][1]),
        ("device", one.device_before, one.device_after),
        ("stated kind", words(one.kind_before), words(one.kind_after)),
        ("captured", days[0], days[1]),
    ]
    return [(name, old or "(nothing)", new or "(nothing)") for name, old, new in pairs if old != new]


@register.filter
def shown_quality(measures: Mapping[str, float]) -> list[tuple[str, float]]:
    return [(text, measures[name]) for name, text in QUALITY.items() if name in measures]


@register.simple_tag
def box_rect(box: Sequence[float], css: str) -> SafeString:
    """An SVG rectangle of (x0, y0, x1, y1) in pixels of the picture."""
    x0, y0, x1, y1 = box
    return format_html('<rect class="{}" x="{}" y="{}" width="{}" height="{}" />', css, x0, y0, x1 - x0, y1 - y0)


@register.simple_tag
def heat_rect(place: Any) -> SafeString:
    """One place of a heat map over the picture: the more, the redder, and the picture still to be seen."""
    return format_html(
        '<rect x="{}" y="{}" width="{}" height="{}" fill-opacity="{}" />',
        place.x,
        place.y,
        place.width,
        place.height,
        f"{0.5 * place.share:.2f}",
    )


@register.simple_tag
def bar(name: str, share: Any) -> SafeString:
    """A share in [0, 1] as a bar with its number."""
    value = min(max(float(share or 0), 0.0), 1.0)
    return format_html(
        '<div class="bar-row"><span><span>{}</span><b>{}</b></span><svg viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true">'
        '<rect width="{}" height="4" /></svg></div>',
        words(name),
        f"{value:.3f}",
        f"{100 * value:.1f}",
    )
