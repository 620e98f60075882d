"""The cast stands: every state can be reached, and files are where the rows say."""

from __future__ import annotations

import pytest

from portal.images.models import ImageState
from tests.cast import Cast, make_evaluation, make_image, make_run, make_task, make_version

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("state", ImageState.values)
def test_an_image_can_be_made_in_every_state(cast: Cast, state: str) -> None:
    assert make_image(cast.north, state=state).state == state


def test_tasks_versions_runs_and_evaluations_can_be_made(cast: Cast) -> None:
    assert make_task(cast.river).image.site == cast.river
    assert make_version("champion").state == "champion"
    assert make_run().snapshot.items.count() == 4
    assert make_evaluation(auroc=0.9).report["auroc"] == 0.9


def test_everybody_can_log_in_with_the_password_of_the_cast(cast: Cast) -> None:
    assert all(person.check_password("correct horse battery") for person in cast.people().values())
