"""The mathematics against independent references: numpy written from the papers, scikit-learn, scipy, published worked examples."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import cohen_kappa_score, roc_auc_score
from torchvision.ops import box_iou

from inference.deep_sad import DeepSAD
from inference.detector import CervixDetector, DetectorConfig
from tests.portal.reviews.one_by_one import cohen_kappa, gwet_ac1, krippendorff_alpha
from training import losses
from training.calibrate import RIDGE, non_negative_logistic
from training.metrics import auroc, wilson

Floats = NDArray[np.float64]


# --- Deep SAD ---------------------------------------------------------------------------------------------------------------------


def numpy_convolution(x: Floats, kernel: Floats) -> Floats:
    """5x5, padded by 2, written out: x (C, H, W), kernel (O, C, 5, 5)."""
    high, wide = x.shape[1:]
    padded = np.pad(x, ((0, 0), (2, 2), (2, 2)))
    out = np.zeros((len(kernel), high, wide))
    for dy in range(5):
        for dx in range(5):
            out += np.einsum("oc,chw->ohw", kernel[:, :, dy, dx], padded[:, dy : dy + high, dx : dx + wide])
    return out


def numpy_encoder(weights: dict[str, Floats], x: Floats) -> Floats:
    """The paper's network from its description: three times convolution, batch norm without affine, leaky ReLU, max pool; then dense."""
    for block in range(3):
        x = numpy_convolution(x, weights[f"blocks.{block}.conv.weight"])
        mean, variance = weights[f"blocks.{block}.norm.running_mean"], weights[f"blocks.{block}.norm.running_var"]
        x = (x - mean[:, None, None]) / np.sqrt(variance + 1e-4)[:, None, None]
        x = np.where(x > 0, x, 0.01 * x)
        x = x.reshape(len(x), x.shape[1] // 2, 2, x.shape[2] // 2, 2).max(axis=(2, 4))
    return weights["dense.weight"] @ x.reshape(-1)


@pytest.fixture
def moved() -> DeepSAD:
    """A network whose running statistics are not those of its first moment."""
    torch.manual_seed(3)
    model = DeepSAD()
    for _ in range(3):
        model.encoder(torch.rand(16, 3, 32, 32))
    return model.eval()


def test_the_deep_sad_network_is_the_one_of_the_paper(moved: DeepSAD) -> None:
    weights = {name: t.double().numpy() for name, t in moved.encoder.state_dict().items()}
    crops = torch.rand(4, 3, 32, 32)
    expected = np.stack([numpy_encoder(weights, crop.double().numpy()) for crop in crops])
    assert np.allclose(moved.encoder(crops).detach().numpy(), expected, atol=1e-4)
    learned = [t for name, t in weights.items() if name.endswith("weight")]
    assert sum(t.size for t in learned) == 520_544
    assert [t.shape for t in learned] == [(32, 3, 5, 5), (64, 32, 5, 5), (128, 64, 5, 5), (128, 2048)]


def test_centre_distance_and_loss_follow_the_formulas(moved: DeepSAD) -> None:
    rng = np.random.default_rng(0)
    outputs = rng.normal(0, 0.3, (20, 128))
    moved.settle(torch.from_numpy(outputs).float())
    centre = outputs.mean(axis=0)
    centre = np.where(np.abs(centre) < 0.1, np.where(centre < 0, -0.1, 0.1), centre)
    assert np.allclose(moved.centre.numpy(), centre, atol=1e-6)
    crops = torch.rand(6, 3, 32, 32)
    phi = moved.encoder(crops).detach().double().numpy()
    distances = ((phi - centre) ** 2).sum(axis=1)
    assert np.allclose(moved(crops).detach().numpy(), distances, rtol=1e-4)
    labels = np.array([1, 0, -1, -1, 0, 1])
    expected = np.where(labels == 0, distances, 2.5 * (distances + 1e-6) ** labels.astype(float)).mean()
    loss = losses.deep_sad(torch.from_numpy(distances), torch.from_numpy(labels), eta=2.5)
    assert float(loss) == pytest.approx(expected, rel=1e-9)


def test_deep_svdd_is_deep_sad_without_labels() -> None:
    distances = torch.rand(9, dtype=torch.double)
    assert float(losses.deep_sad(distances, torch.zeros(9))) == pytest.approx(float(distances.mean()))


def test_the_hypersphere_loss_follows_the_formula() -> None:
    rng = np.random.default_rng(1)
    z, labels = rng.normal(0, 1, (8, 5)), np.array([1, 1, 0, -1, -1, 0, -1, 1])
    h = np.sqrt((z**2).sum(axis=1) + 1) - 1
    expected = np.where(labels == -1, -np.log(1 - np.exp(-h) + 1e-9), h).mean()
    assert float(losses.hypersphere(torch.from_numpy(z), torch.from_numpy(labels))) == pytest.approx(expected, rel=1e-9)


# --- ResNeSt ----------------------------------------------------------------------------------------------------------------------


def test_the_weighted_loss_multiplies_the_odds_by_what_is_taken_off_again() -> None:
    """On 300 regular and 20 non-regular crops that look alike, the best constant logit is 0; less log(300 / 20) it is the true odds."""
    truth = torch.tensor([False] * 300 + [True] * 20)
    weights = losses.class_weights(torch.tensor([300, 20]))
    assert weights.tolist() == pytest.approx([320 / 600, 320 / 40])
    candidates = torch.linspace(-4, 4, 801)
    best = min(candidates, key=lambda z: float(losses.weighted_binary(z.expand(320), truth, weights)))
    assert float(best) == pytest.approx(0.0, abs=0.02)
    assert float(best) - losses.log_odds_of_weights(300, 20) == pytest.approx(math.log(20 / 300), abs=0.02)


def test_the_weighted_loss_is_written_out() -> None:
    z, truth = np.array([0.3, -1.2, 2.0, 0.1]), np.array([True, False, False, True])
    p = 1 / (1 + np.exp(-z))
    weight = np.where(truth, 3.0, 0.6)
    expected = -(weight * np.where(truth, np.log(p), np.log(1 - p))).mean()
    loss = losses.weighted_binary(torch.from_numpy(z), torch.from_numpy(truth), torch.tensor([0.6, 3.0]))
    assert float(loss) == pytest.approx(expected, rel=1e-6)


# --- RetinaNet --------------------------------------------------------------------------------------------------------------------

SMALL = DetectorConfig(backbone="test_resnet", size=128, channels=32, score_threshold=0.02, score_scale=1.3, score_shift=2.5)


@pytest.fixture
def detector() -> CervixDetector:
    torch.manual_seed(5)
    model = CervixDetector(SMALL)
    for name, parameter in model.net.head.named_parameters():
        # Louder than a fresh head, so that boxes move and scores differ
        parameter.data += 0.05 * torch.randn_like(parameter) if name.endswith("weight") else 0.0
    return model.eval()


def overlaps(one: Floats, other: Floats) -> Floats:
    """IoU (N, M) of boxes (N, 4) and (M, 4), box by box."""
    out = np.zeros((len(one), len(other)))
    for i, a in enumerate(one):
        for j, b in enumerate(other):
            wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
            inner = max(wide, 0.0) * max(high, 0.0)
            out[i, j] = inner / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inner)
    return out


def matched(truth: Floats, anchors: Floats) -> NDArray[np.int64]:
    """RetinaNet's rule: an anchor is its best box's from IoU 0.5, nobody's below 0.4, ignored between; a box keeps its best anchors."""
    table = overlaps(truth, anchors)
    best, answer = table.max(axis=0), table.argmax(axis=0)
    answer = np.where(best < 0.4, -1, np.where(best < 0.5, -2, answer))
    for row in table:
        # The anchors that are a box's best belong to their own best box, however small the overlap
        for anchor in np.flatnonzero(row == row.max()):
            answer[anchor] = table[:, anchor].argmax()
    return answer


def decoded(deltas: Floats, anchors: Floats) -> Floats:
    """Faster R-CNN's parametrisation, weights of one, growth limited to 1000 / 16."""
    wide, high = anchors[:, 2] - anchors[:, 0], anchors[:, 3] - anchors[:, 1]
    x, y = anchors[:, 0] + wide / 2 + deltas[:, 0] * wide, anchors[:, 1] + high / 2 + deltas[:, 1] * high
    w, h = (np.exp(np.minimum(deltas[:, 2 + i], math.log(1000 / 16))) * side for i, side in enumerate((wide, high)))
    return np.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], axis=1)


def test_anchors_are_matched_as_the_rule_says(detector: CervixDetector) -> None:
    _, anchors, _, _ = detector.heads(torch.rand(1, 3, 128, 128))
    truth = torch.tensor([[10.0, 12, 90, 100], [60, 50, 70, 58], [5, 5, 40, 50]])
    theirs = detector.net.proposal_matcher(box_iou(truth, anchors[0])).numpy()
    assert (theirs == matched(truth.double().numpy(), anchors[0].double().numpy())).all()
    assert (theirs >= 0).sum() >= 3


def giou_loss(boxes: Floats, truth: Floats) -> float:
    """Sum of 1 - GIoU over pairs."""
    total = 0.0
    for a, b in zip(boxes, truth, strict=True):
        iou = overlaps(a[None], b[None])[0, 0]
        hull = (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))
        union = ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])) / (1 + iou)
        total += 1 - (iou - (hull - union) / hull)
    return total


def test_detector_losses_are_focal_and_generalised_iou(detector: CervixDetector) -> None:
    images = torch.rand(2, 3, 128, 128)
    truth = torch.tensor([[20.0, 24, 100, 96]])
    targets = [
        {"boxes": truth, "labels": torch.tensor([1])},
        {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.long)},
    ]
    outputs, anchors, _, _ = detector.heads(images)
    logits = outputs["cls_logits"].detach().double().numpy()
    deltas = outputs["bbox_regression"].detach().double().numpy()
    owner = matched(truth.double().numpy(), anchors[0].double().numpy())
    classification, regression = 0.0, 0.0
    for image, belongs in enumerate((owner, np.full(len(owner), -1))):
        goal = np.zeros_like(logits[image])
        goal[belongs >= 0, 1] = 1
        p = 1 / (1 + np.exp(-logits[image]))
        right = np.where(goal == 1, p, 1 - p)
        focal = -np.where(goal == 1, 0.25, 0.75) * (1 - right) ** 2 * np.log(right)
        own = max(1, int((belongs >= 0).sum()))
        classification += focal[belongs != -2].sum() / own / 2
        if (belongs >= 0).any():
            boxes = decoded(deltas[image][belongs >= 0], anchors[image].double().numpy()[belongs >= 0])
            regression += giou_loss(boxes, np.repeat(truth.double().numpy(), len(boxes), axis=0)) / own / 2
    theirs = detector.losses(images, targets)
    assert float(theirs["classification"].detach()) == pytest.approx(classification, rel=1e-4)
    assert float(theirs["bbox_regression"].detach()) == pytest.approx(regression, rel=1e-3)


def test_boxes_are_decoded_and_suppressed_as_written_out(detector: CervixDetector) -> None:
    images = torch.rand(2, 3, 128, 128)
    outputs, anchors, _, _ = detector.heads(images)
    for image, found in enumerate(detector.detect(images)):
        logits = outputs["cls_logits"][image].detach().double().numpy() * SMALL.score_scale + SMALL.score_shift
        scores = 1 / (1 + np.exp(-logits))
        boxes = decoded(outputs["bbox_regression"][image].detach().double().numpy(), anchors[image].double().numpy()).clip(0, 128)
        kept: list[int] = []
        candidates = np.flatnonzero(scores[:, 1] > SMALL.score_threshold)
        for anchor in candidates[np.argsort(-scores[candidates, 1], kind="stable")]:
            if all(overlaps(boxes[anchor][None], boxes[other][None])[0, 0] <= SMALL.nms_iou for other in kept):
                kept.append(int(anchor))
        # Both classes share the 20 places of an image; class 0 is never a cervix
        mine = [(scores[anchor, 1], *boxes[anchor]) for anchor in kept][: len(found)]
        assert found
        assert np.allclose([(b.score, b.x0, b.y0, b.x1, b.y1) for b in found], mine, atol=2e-3)


def test_a_box_is_the_mean_of_those_that_overlap_it_by_their_scores(detector: CervixDetector) -> None:
    images = torch.rand(2, 3, 128, 128)
    voting = CervixDetector(replace(SMALL, vote_iou=0.6)).eval()
    voting.load_state_dict(detector.state_dict())
    outputs, anchors, _, _ = detector.heads(images)
    moved = 0.0
    for image, (best, found) in enumerate(zip(detector.detect(images), voting.detect(images), strict=True)):
        scores = torch.sigmoid(outputs["cls_logits"][image, :, 1] * SMALL.score_scale + SMALL.score_shift).detach().double().numpy()
        boxes = decoded(outputs["bbox_regression"][image].detach().double().numpy(), anchors[image].double().numpy()).clip(0, 128)
        assert [b.score for b in found] == [b.score for b in best]
        for was, now in zip(best, found, strict=True):
            before = np.array([was.x0, was.y0, was.x1, was.y1])
            near = (overlaps(before[None], boxes)[0] >= 0.6) & (scores > SMALL.score_threshold)
            expected = np.average(boxes[near], axis=0, weights=scores[near])
            assert np.allclose([now.x0, now.y0, now.x1, now.y1], expected, atol=5e-3)
            moved = max(moved, float(np.abs(expected - before).max()))
    assert moved > 0.5


# --- calibration, intervals, agreement --------------------------------------------------------------------------------------------


def test_platt_is_scikit_learns_logistic_regression_on_platts_targets() -> None:
    rng = np.random.default_rng(4)
    score = rng.normal(0, 1.5, 400)
    positive = rng.random(400) < 1 / (1 + np.exp(-(0.8 * score - 1)))
    intercept, weights = non_negative_logistic(score[:, None], positive)
    n_pos, n_neg = positive.sum(), (~positive).sum()
    soft = np.where(positive, (n_pos + 1) / (n_pos + 2), 1 / (n_neg + 2))
    mean, spread = score.mean(), score.std()
    x = np.tile((score - mean) / spread, 2)[:, None]
    fitted = LogisticRegression(C=1 / (RIDGE * math.sqrt(400)), tol=1e-10, max_iter=1000)
    fitted.fit(x, np.repeat([1, 0], 400), sample_weight=np.concatenate([soft, 1 - soft]))
    slope = fitted.coef_[0, 0] / spread
    assert weights[0] == pytest.approx(slope, rel=1e-3)
    assert intercept == pytest.approx(fitted.intercept_[0] - slope * mean, rel=1e-3)


@pytest.mark.parametrize(("hits", "total"), [(94, 101), (307, 307), (0, 12), (63, 101), (1, 2), (399, 400)])
def test_wilson_is_scipys(hits: int, total: int) -> None:
    theirs = stats.binomtest(hits, total).proportion_ci(method="wilson")
    mine = wilson(hits, total, 1)
    assert (mine.low, mine.high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


def test_auroc_is_scikit_learns_also_with_ties() -> None:
    rng = np.random.default_rng(2)
    for decimals in (0, 1, 8):
        scores, truth = rng.normal(0, 1, 300).round(decimals), rng.random(300) < 0.2
        assert auroc(scores, truth) == pytest.approx(roc_auc_score(truth, scores), abs=1e-12)


def pairs(table: dict[tuple[str, str], int]) -> list[tuple[str, str]]:
    return [pair for pair, count in table.items() for _ in range(count)]


def test_kappa_and_ac1_of_gwets_125_subjects() -> None:
    """Gwet (2002): 118 both yes, 5 and 2 apart, none both no. Kappa is -0.023, AC1 0.941."""
    table = pairs({("y", "y"): 118, ("y", "n"): 5, ("n", "y"): 2})
    assert cohen_kappa(table) == pytest.approx(-0.0234, abs=1e-4)
    assert gwet_ac1(table) == pytest.approx(0.9408, abs=1e-4)


def test_kappa_of_fifty_grant_applications() -> None:
    """The textbook example: 20 and 15 alike, 5 and 10 apart: 0.40."""
    assert cohen_kappa(pairs({("y", "y"): 20, ("y", "n"): 5, ("n", "y"): 10, ("n", "n"): 15})) == pytest.approx(0.4)


def test_kappa_is_scikit_learns_for_three_kinds() -> None:
    rng = np.random.default_rng(6)
    one = rng.integers(0, 3, 200)
    other = np.where(rng.random(200) < 0.7, one, rng.integers(0, 3, 200))
    mine = cohen_kappa([(str(a), str(b)) for a, b in zip(one, other, strict=True)])
    assert mine == pytest.approx(cohen_kappa_score(one, other), abs=1e-12)


def test_alpha_of_krippendorffs_two_observers() -> None:
    """Krippendorff (2011), B: ten objects, two observers, two values: 0.095."""
    one, other = "0100000010", "1110010000"
    assert krippendorff_alpha(list(zip(one, other, strict=True))) == pytest.approx(0.095, abs=5e-4)


def test_alpha_of_krippendorffs_four_observers_with_gaps() -> None:
    """Krippendorff (2011), C: twelve units, four observers, missing values, nominal: 0.743."""
    observers = ("123321412...", "1233224125.3", ".3332342251.", "12332441251.")
    units = [[value for value in column if value != "."] for column in zip(*observers, strict=True)]
    assert krippendorff_alpha(units) == pytest.approx(0.743, abs=5e-4)


def test_alpha_says_nothing_of_nothing() -> None:
    assert krippendorff_alpha([["a"], []]) is None
    assert krippendorff_alpha([["a", "a"], ["a", "a"]]) is None
