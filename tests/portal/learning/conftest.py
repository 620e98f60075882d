"""A champion, a candidate, and a snapshot on which both are reported."""

from dataclasses import dataclass

import pytest

from portal.datasets.models import Snapshot
from portal.learning.models import Evaluation
from portal.learning.reports import to_json
from portal.ml import EvaluationReport
from portal.registry.models import ModelVersion
from tests.cast import Cast, make_evaluation, make_snapshot, make_version
from tests.portal.learning.reports import report


@dataclass
class Stage:
    champion: ModelVersion
    candidate: ModelVersion
    snapshot: Snapshot

    def evaluate(self, version: ModelVersion, made: EvaluationReport | None = None) -> Evaluation:
        return make_evaluation(version, self.snapshot, **to_json(made or report()))


@pytest.fixture
def stage(cast: Cast) -> Stage:
    champion = make_version("champion", name="champion")
    return Stage(champion, make_version(name="candidate"), make_snapshot())
