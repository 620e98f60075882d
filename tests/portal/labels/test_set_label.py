"""A new label takes the place of the current one, and the old one stays in the history."""

from __future__ import annotations

import pytest

from portal.audit.models import AuditEvent
from portal.images.models import Image
from portal.labels import selectors
from portal.labels.models import Provenance
from portal.labels.services import set_label
from portal.ml import Kind
from tests.cast import Cast, make_image

pytestmark = pytest.mark.django_db


def test_the_new_label_is_current_and_the_old_one_is_history(cast: Cast) -> None:
    image = make_image(cast.north, state="accepted", kind="regular")
    set_label(image=image, kind=Kind.GREEN_FILTER, provenance=Provenance.CONSENSUS, actor=cast.rita, box=[1, 2, 3, 4], basis={"task": 1})
    assert [(label.kind, label.current) for label in selectors.history(image)] == [("green_filter", True), ("regular", False)]
    current = selectors.current_of(image)
    assert current is not None
    assert current.box == [1, 2, 3, 4]
    assert selectors.current(Image.objects.all()) == {image.pk: current}


def test_it_is_audited_with_its_actor_and_site(cast: Cast) -> None:
    image = make_image(cast.north, state="accepted")
    label = set_label(image=image, kind=Kind.UNUSABLE, provenance=Provenance.ADJUDICATION, actor=cast.ada, reasons=["blurred"])
    event = AuditEvent.objects.get(action="label", subject_id=label.pk)
    assert (event.actor_id, event.site_id, event.details["kind"]) == (cast.ada.pk, cast.north.pk, "unusable")
