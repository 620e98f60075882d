"""What the reading page sends: an answer, or a draft of one. Whether an answer can be used is the service's to say."""

from __future__ import annotations

from typing import Any

from django import forms

from portal.core.errors import BadInput
from portal.reviews.leases import Role
from portal.reviews.services import REASONS_OF, Answer

REASONS = tuple(dict.fromkeys(reason for reasons in REASONS_OF.values() for reason in reasons))


class AnswerForm(forms.Form):
    token = forms.CharField(max_length=64)
    kind = forms.CharField(max_length=20, required=False)
    reasons = forms.MultipleChoiceField(choices=[(code, code) for code in REASONS], required=False)
    confidence = forms.TypedChoiceField(choices=[(1, "1"), (2, "2"), (3, "3")], coerce=int, empty_value=None, required=False)
    note = forms.CharField(required=False, max_length=4000, strip=True)
    box = forms.CharField(required=False, max_length=120)
    seconds = forms.FloatField(required=False, min_value=0, max_value=86_400)

    def answer(self, role: Role) -> Answer:
        """Raises BadInput. Reasons count for the kind that was chosen: those of another were marked on the way."""
        if not self.is_valid():
            raise BadInput("Something in the answer could not be understood. Choose again and submit once more.")
        data = self.cleaned_data
        reasons = tuple(reason for reason in data["reasons"] if reason in REASONS_OF.get(data["kind"], ()))
        return Answer(data["kind"], _box(data["box"]), reasons, data["note"], data["seconds"] or 0.0, role, data["confidence"])

    def draft(self) -> dict[str, Any]:
        """As it stands, complete or not. Raises BadInput."""
        if not self.is_valid():
            raise BadInput("What was marked could not be kept. Reload the page.")
        return {name: self.cleaned_data[name] for name in ("kind", "reasons", "confidence", "note", "box")}


def _box(text: str) -> tuple[float, float, float, float] | None:
    if not text:
        return None
    try:
        x0, y0, x1, y1 = (float(part) for part in text.split(","))
    except ValueError:
        raise BadInput("The box could not be understood. Draw it again.") from None
    return (x0, y0, x1, y1)
