"""The pages of training and models: who reaches what, and what they say."""

import json
import re
from dataclasses import asdict
from typing import Any

import pytest

from portal.accounts import access
from portal.accounts.models import Role
from portal.datasets.models import Snapshot
from portal.images.models import Image
from portal.learning.models import TrainingRun
from portal.registry.models import ModelVersion, PromotionRequest
from portal.registry.selectors import champion
from tests.cast import Cast, make_image, make_run, make_user, make_version
from tests.portal.learning.conftest import Stage
from tests.portal.learning.reports import NOTHING, figure, full, report, with_figures


def _page(cast: Cast, address: str, who: Any = None) -> str:
    response = cast.client(who or cast.max).get(address)
    assert response.status_code == 200
    return response.content.decode()


def test_a_training_is_started_from_its_page(cast: Cast, stage: Stage) -> None:
    page = _page(cast, "/training/")
    assert f'<option value="{stage.snapshot.pk}" selected>' in page
    sent = {"snapshot": stage.snapshot.pk, "preset": "small", "parts": ["resnest", "deep_sad"], "seed": 7, "name": "night"}
    response = cast.client(cast.max).post("/training/new/", sent)
    run = TrainingRun.objects.get()
    assert response["Location"] == f"/training/{run.pk}/"
    assert run.config == {
        "preset": "small", "seed": 7, "parts": ["resnest", "deep_sad"], "start": stage.champion.pk, "weights": stage.champion.pk,
        "methods": [], "anew": [],
    }  # fmt: skip
    assert f"the first of its line (the champion&#x27;s: {stage.champion})" in page


def test_methods_and_start_weights_are_chosen_on_the_page_and_stand_on_the_runs(cast: Cast, stage: Stage) -> None:
    page = _page(cast, "/training/")
    for title in ("RetinaNet, ResNet-50 (the paper&#x27;s)", "Deep SVDD (no label used)", "ResNeSt at 32 px"):
        assert f">{title}</option>" in page
    assert "on the ResNeSt embedding" not in page
    sent = {
        "snapshot": stage.snapshot.pk, "preset": "small", "parts": ["resnest", "deep_sad", "detector"], "seed": 7,
        "weights": stage.candidate.pk, "timm": " resnet18 ", "deep_sad": "deep_svdd",
    }  # fmt: skip
    assert cast.client(cast.max).post("/training/new/", sent).status_code == 302
    run = TrainingRun.objects.get()
    assert (run.config["weights"], run.config["start"]) == (stage.candidate.pk, stage.champion.pk)
    assert (run.config["methods"], run.config["anew"]) == (["timm:resnet18:small", "deep_svdd:small"], ["resnest", "deep_sad"])
    told = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", _page(cast, f"/training/{run.pk}/")))
    assert f"Start weights {stage.candidate} Methods resnet18, by the recipe of ResNeSt, small; Deep SVDD (no label used), small" in told
    assert "Without start weights resnest, deep sad Seed" in told


@pytest.mark.parametrize(
    ("choice", "field", "said"),
    [
        ({"timm": "resnest99x"}, "timm", "timm knows no backbone &#x27;resnest99x&#x27;"),
        ({"timm": "resnet18", "resnest": "resnest_32"}, "timm", "not both"),
        ({"timm": "resnet18", "parts": ["deep_sad"]}, "timm", "This part is not trained"),
        ({"detector": "retinanet_v2"}, "detector", "This part is not trained"),
        ({"deep_sad": "hypersphere_224"}, "deep_sad", "Select a valid choice"),
    ],
)
def test_a_method_that_cannot_be_is_refused_beside_its_field(
    cast: Cast, stage: Stage, choice: dict[str, Any], field: str, said: str
) -> None:
    sent = {"snapshot": stage.snapshot.pk, "preset": "small", "parts": ["resnest", "deep_sad"], "seed": 7, **choice}
    response = cast.client(cast.max).post("/training/new/", sent)
    assert response.status_code == 400
    row = response.content.decode().partition(f'id="id_{field}"')[2].partition('class="form-row"')[0]
    assert said in row
    assert not TrainingRun.objects.exists()


def test_start_weights_that_nothing_would_begin_with_are_refused(cast: Cast, stage: Stage) -> None:
    sent = {"snapshot": stage.snapshot.pk, "preset": "paper", "parts": ["resnest"], "seed": 7, "weights": stage.candidate.pk}
    response = cast.client(cast.max).post("/training/new/", sent)
    assert response.status_code == 400
    assert "Nothing would begin with the start weights" in response.content.decode()


def test_a_run_of_before_there_was_a_choice_still_shows(cast: Cast, stage: Stage) -> None:
    run = make_run(stage.snapshot)
    TrainingRun.objects.filter(pk=run.pk).update(config={**run.config, "start": stage.champion.pk})
    page = _page(cast, f"/training/{run.pk}/")
    assert str(stage.champion) in page
    assert "Start weights" not in page
    assert "random weights" in _page(cast, f"/training/{make_run(stage.snapshot).pk}/")


def test_a_wrong_choice_is_said_on_the_form(cast: Cast, stage: Stage) -> None:
    response = cast.client(cast.max).post("/training/new/", {"snapshot": stage.snapshot.pk, "preset": "small", "seed": 7})
    assert response.status_code == 400
    assert not TrainingRun.objects.exists()


def test_only_a_model_administrator_starts_and_cancels(cast: Cast, stage: Stage) -> None:
    run = make_run(stage.snapshot)
    client = cast.client(cast.sys)
    assert client.get("/training/").status_code == 200
    assert [client.post(f"/training/{path}/").status_code for path in ("new", f"{run.pk}/cancel", f"{run.pk}/resume")] == [403] * 3


def test_a_live_run_polls_itself_and_an_ended_one_does_not(cast: Cast, stage: Stage) -> None:
    run = make_run(stage.snapshot, state="running")
    TrainingRun.objects.update(
        progress={"stage": "resnest", "fraction": 0.4, "seconds_left": 90.0, "message": "epoch 2 of 5"},
        history=[{"stage": "resnest", "fraction": 0.2, "loss": 0.7, "score": 0.8}],
    )
    live = _page(cast, f"/training/{run.pk}/progress/")
    assert 'hx-trigger="every 2s"' in live
    assert "about 2 min left" in live
    assert '"points": [[0.2, 0.7]]' in live
    TrainingRun.objects.update(state="failed", error="The train split holds no green filter.")
    ended = _page(cast, f"/training/{run.pk}/progress/")
    assert "hx-trigger" not in ended
    assert "The train split holds no green filter." in ended
    assert "Go on from here" in ended


def test_the_report_stands_beside_the_champions_with_intervals_and_counts(cast: Cast, stage: Stage) -> None:
    stage.evaluate(stage.champion)
    stage.evaluate(stage.candidate, with_figures(report(), sensitivity=figure(0.97, total=321, patients=123)))
    page = _page(cast, f"/models/{stage.candidate.pk}/")
    assert "<b>0.970</b>" in page
    assert "(321 images, 123 patients)" in page
    assert "Champion, champion" in page
    assert "The gate says" in page
    assert "badge verdict-pass" in page
    assert "boxplot" in page
    assert '"name": "champion"' in page
    assert re.search(r"style=|onclick=", page) is None


def test_shares_are_shown_with_both_intervals_and_the_page_says_once_which_is_which(cast: Cast, stage: Stage) -> None:
    worked = figure(0.9, low=0.851, high=0.934, total=200, drawn=(0.8, 0.975))
    stage.evaluate(stage.champion, with_figures(report(), sensitivity=worked))
    stage.evaluate(stage.candidate, with_figures(report(), sensitivity=figure(0.84)))
    page = _page(cast, f"/models/{stage.candidate.pk}/")
    assert '<span class="muted">0.851 to 0.934; by patient 0.800 to 0.975</span>' in page
    assert page.count("Of a share the first is Wilson's") == 1
    assert "of shares by Wilson" not in page
    assert "The wider of its two intervals decides, 0.800 by patient." in page
    listed = _page(cast, "/models/")
    assert "0.851 to 0.934; by patient 0.800 to 0.975" in listed
    assert listed.count("the first Wilson's") == 1


def _as_before(data: Any) -> Any:
    if isinstance(data, dict):
        return {name: _as_before(value) for name, value in data.items() if name not in ("patient_low", "patient_high")}
    return [_as_before(one) for one in data] if isinstance(data, list) else data


def test_a_report_that_was_stored_before_is_shown_with_wilsons_alone(cast: Cast, stage: Stage) -> None:
    stage.evaluate(stage.candidate, full())
    stored = stage.candidate.evaluations.get()
    assert "patient_low" in json.dumps(stored.report)
    stored.report = _as_before(stored.report)
    stored.save()
    assert "patient_" not in json.dumps(stored.report)
    for address in (f"/models/{stage.candidate.pk}/", "/models/"):
        page = _page(cast, address)
        assert "0.850 to 0.950" in page
        assert "; by patient" not in page


def test_the_page_leads_with_the_source_that_was_left_out(cast: Cast, stage: Stage) -> None:
    stage.evaluate(stage.candidate, full())
    page = _page(cast, f"/models/{stage.candidate.pk}/")
    headings = re.findall(r"<h2>([^<]*)", page)
    assert headings.index("Leave one source out") < headings.index("Measured on the test split of ")
    assert "No site that this model learned from is called <b>river</b>" in page
    assert "colposcopy left out: 492 images of 112 patients" in page
    assert "sensitivity at 98% specificity, green filter" in page
    assert "0.580" in page
    assert re.search(r"style=|onclick=", page) is None


def test_a_model_that_knows_every_source_says_so(cast: Cast, stage: Stage) -> None:
    stage.evaluate(stage.candidate)
    page = _page(cast, f"/models/{stage.candidate.pk}/")
    assert "No site here is known to be new to this model or to one that it started from" in page
    assert "a new device may do worse" in page


def test_plots_are_drawn_from_the_report_and_stand_as_tables_too(cast: Cast, stage: Stage) -> None:
    stage.evaluate(stage.champion, full(calibration=()))
    stage.evaluate(stage.candidate, full())
    page = _page(cast, f"/models/{stage.candidate.pk}/")
    for source in ("left-out-data", "roc-data", "precision-recall-data", "by-kind-data", "by-site-data"):
        assert f'data-chart="{source}"' in page
        assert f'<script id="{source}" type="application/json">' in page
    # One a specificity, and the differences to the champion
    assert page.count('<svg class="forest"') == 3
    assert page.count('<svg class="reliability"') == 3
    assert "error 0.120, limit 0.060" in page
    assert "0.770 [0.720, 0.820] (80 images, 40 patients)" in page
    assert "88.0 ms an image in the median" in page
    assert page.count('class="rival"') == 24


def test_extremes_and_wrong_ones_are_some_dozens_at_most(cast: Cast, stage: Stage) -> None:
    stage.evaluate(stage.candidate, full())
    page = _page(cast, f"/models/{stage.candidate.pk}/")
    assert "regular: lowest probabilities of non-regular" in page
    assert 24 < page.count("thumb-card") <= 60


def test_a_picture_that_may_not_be_seen_is_not_linked(cast: Cast, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    image = make_image(cast.north, state="settled", kind="green_filter")
    Snapshot.objects.get().items.create(image=image, label=image.labels.get(current=True), split="test")
    stage.evaluate(stage.candidate, report(images=({**report().images[0], "sha256": image.clean_sha256},)))
    address = f"/models/{stage.candidate.pk}/"
    assert f"/images/{image.pk}/" in _page(cast, address)
    real = access.visible
    monkeypatch.setattr(access, "visible", lambda model, user: real(model, user).none() if model is Image else real(model, user))
    page = _page(cast, address)
    assert f"/images/{image.pk}/" not in page
    assert "not in this installation" in page


def test_a_misclassified_image_links_to_its_page(cast: Cast, stage: Stage) -> None:
    image = make_image(cast.north, state="settled", kind="green_filter")
    Snapshot.objects.get().items.create(image=image, label=image.labels.get(current=True), split="test")
    row = {**report().images[0], "sha256": image.clean_sha256}
    stage.evaluate(stage.candidate, report(images=(row,)))
    page = _page(cast, f"/models/{stage.candidate.pk}/")
    assert f'href="/images/{image.pk}/"' in page
    assert "unseen" in page


def test_a_promotion_goes_through_the_pages(cast: Cast, stage: Stage) -> None:
    stage.evaluate(stage.champion)
    stage.evaluate(stage.candidate)
    mine, second = cast.client(cast.max), cast.client(make_user("mia", (Role.MODEL_ADMIN, None)))
    address = f"/models/{stage.candidate.pk}/"
    assert mine.post(f"{address}promotion/").status_code == 302
    request = PromotionRequest.objects.get()
    assert "A second model administrator must approve it." in _page(cast, address)
    assert mine.post(f"/promotions/{request.pk}/approve/").status_code == 403
    assert second.post(f"/promotions/{request.pk}/approve/").status_code == 302
    assert champion() == stage.candidate
    assert "Roll back to champion" in _page(cast, address)
    assert mine.post("/models/roll-back/").status_code == 302
    assert champion() == stage.champion
    history = _page(cast, "/models/")
    assert "roll back" in history


def test_a_model_without_a_report_says_so_and_can_be_evaluated(cast: Cast, stage: Stage) -> None:
    page = _page(cast, f"/models/{stage.candidate.pk}/")
    assert "There is no report of this model yet." in page
    cast.client(cast.max).post(f"/models/{stage.candidate.pk}/evaluate/", {"snapshot": stage.snapshot.pk})
    assert {evaluation.version for evaluation in stage.snapshot.evaluations.all()} == {stage.candidate, stage.champion}


def test_a_report_without_figures_is_shown_with_dashes(cast: Cast, stage: Stage) -> None:
    stage.evaluate(stage.candidate, with_figures(report(auroc=None, faint_green=None, roc=(), box_plot=(), images=()), precision=NOTHING))
    page = _page(cast, f"/models/{stage.candidate.pk}/")
    assert "nan" not in page.replace("nance", "")
    assert "there is no curve" in page


@pytest.mark.parametrize("address", ["/training/", "/models/"])
def test_lists_take_the_same_number_of_queries_whatever_there_is(
    cast: Cast, stage: Stage, address: str, django_assert_max_num_queries: Any
) -> None:
    for _ in range(4):
        make_run(stage.snapshot)
        stage.evaluate(make_version())
    client = cast.client(cast.max)
    with django_assert_max_num_queries(14):
        assert client.get(address).status_code == 200


def test_what_each_part_adds_stands_with_the_source_that_was_left_out(cast: Cast, stage: Stage) -> None:
    point = {
        "specificity": 0.98,
        "sensitivity": asdict(figure(0.78, total=190)),
        "per_kind": {"green_filter": asdict(figure(0.65, total=105))},
    }
    told = [
        {"name": name, "auroc": asdict(figure(area)), "points": [point]} for name, area in (("Deep SAD alone", 0.914), ("fused", 0.959))
    ]
    version = make_version(name="published")
    ModelVersion.objects.filter(pk=version.pk).update(metrics={"ablation": told, "validation": {"detector": {"iou": 0.836}}})
    stage.evaluate(version, full())
    page = _page(cast, f"/models/{version.pk}/")
    assert "What each part adds there" in page
    assert page.index("<b>0.914</b>") < page.index("<b>0.959</b>")
    assert "green filter at 98%" in page
    assert page.index("Leave one source out") < page.index("What the bundle says of its own training")
    assert "What each part adds there" not in _page(cast, f"/models/{stage.champion.pk}/")
