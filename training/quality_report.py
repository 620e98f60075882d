"""How well a bundle's quality part finds what was spoilt on purpose, and how often it flags what was not: per site, with intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from inference.api import Analyzer
from inference.bundle import BundleError
from inference.quality import BLURRED, NOT_A_CERVIX, Judge, findings
from training.degrade import FAULTS, FINDING_OF
from training.manifest import Snapshot, count_patients
from training.metrics import proportion
from training.quality import CLEAN, Specimen, as_they_are, chosen, clean_and_spoilt, drawn, log_odds, look, seen_of
from training.types import Interval, TrainingRefused

FALSE_ALARMS = 0.05
"""Where METHODS' goal is measured: recall with one clean picture in twenty flagged."""
ALL = "all sites"


@dataclass(frozen=True, slots=True)
class Row:
    """One figure: `recall` of a fault by its finding, `false alarms` on clean ones; `limit`: the bundle's own, or a share of alarms."""

    figure: str
    what: str
    limit: str
    site: str
    interval: Interval


def measure(bundle: Path, data: Snapshot, split: str, *, images: int, seed: int, device: str = "cpu") -> list[Row]:
    """All figures of a bundle on one split. Raises BundleError for a bundle without a quality part."""
    analyzer = Analyzer.open(bundle, device)
    if analyzer.judge is None:
        raise BundleError(f"{bundle.name} has no quality part. Fit one: python -m training quality BUNDLE SNAPSHOT --out NEW_BUNDLE.")
    return rows(analyzer.judge, specimens_of(analyzer, data, split, images=images, seed=seed))


def specimens_of(analyzer: Analyzer, data: Snapshot, split: str, *, images: int, seed: int) -> list[Specimen]:
    """Pictures of one split clean and twice spoilt, fresh drawings without a cervix, and what people labelled as such."""
    records = data.split(split)
    seen = look(analyzer, clean_and_spoilt(chosen(records, images, seed), seed + 1, copies=2))
    seen += look(analyzer, drawn(images, seed + 2))
    return seen + look(analyzer, as_they_are([r for r in records if r.measurable and r.kind.value in ("not_cervix", "unusable")]))


def rows(judge: Judge, seen: Sequence[Specimen]) -> list[Row]:
    """Every figure over all sites and per site. Raises TrainingRefused without a clean picture of a cervix."""
    clean = [s for s in seen if s.cervix and s.fault == CLEAN]
    if not clean:
        raise TrainingRefused("There is no picture of a cervix in that split: nothing can be measured.")
    found = {id(s): findings(judge.scored(s.analysis.quality, seen_of(s.analysis)), judge.limits) for s in seen}
    sites = [ALL, *sorted({s.site for s in clean})]
    made: list[Row] = []
    for site in sites:
        of_site = [s for s in clean if site in (ALL, s.site)]
        flagged = {"any finding": lambda s: bool(found[id(s)])}
        flagged |= {code: _names(found, code) for code in (NOT_A_CERVIX, *dict.fromkeys(FINDING_OF.values()))}
        made += [Row("false alarms", name, "the bundle's", site, _share(of_site, test)) for name, test in flagged.items()]
        made += _recall(judge, seen, found, of_site, site)
    return made


def _names(found: dict[int, tuple[str, ...]], code: str) -> Callable[[Specimen], bool]:
    return lambda s: code in found[id(s)]


def _recall(judge: Judge, seen: Sequence[Specimen], found: dict[int, tuple[str, ...]], clean: Sequence[Specimen], site: str) -> list[Row]:
    """Of each fault, at the bundle's limits; of blur and of not a cervix also where 5 % of this site's clean pictures are flagged."""
    spoilt = {fault: [s for s in seen if s.cervix and s.fault == fault and site in (ALL, s.site)] for fault in FAULTS}
    made = [Row("recall", name, "the bundle's", site, _share(group, _names(found, FINDING_OF[name]))) for name, group in spoilt.items()]
    blurred = [s for fault, group in spoilt.items() if FINDING_OF[fault] == BLURRED for s in group]
    # Drawings belong to no site: against each site's clean pictures they are all counted
    others = [s for s in seen if s.record is None]
    made.append(Row("recall", "blurred on purpose", "5 % false alarms", site, _at_share(judge, BLURRED, blurred, clean)))
    made.append(Row("recall", "not a cervix, drawn", "5 % false alarms", site, _at_share(judge, NOT_A_CERVIX, others, clean)))
    made.append(Row("recall", "not a cervix, drawn", "the bundle's", site, _share(others, _names(found, NOT_A_CERVIX))))
    for kind, code in (("not_cervix", NOT_A_CERVIX), ("unusable", "")):
        labelled = [s for s in seen if s.record and s.record.kind.value == kind and site in (ALL, s.site)]
        if labelled:
            test = _names(found, code) if code else _beyond_use(found)
            made.append(Row("recall", f"labelled {kind}", "the bundle's", site, _share(labelled, test)))
    return made


def _beyond_use(found: dict[int, tuple[str, ...]]) -> Callable[[Specimen], bool]:
    return lambda s: bool(set(found[id(s)]) & {"blurred", "too_dark", "too_bright"})


def _at_share(judge: Judge, code: str, faulty: Sequence[Specimen], clean: Sequence[Specimen]) -> Interval:
    limit = float(np.quantile([score(judge, code, s) for s in clean], 1 - FALSE_ALARMS))
    return _share(faulty, lambda s: score(judge, code, s) > limit)


def score(judge: Judge, code: str, specimen: Specimen) -> float:
    """Log odds of blur, or of not being a cervix."""
    if code == BLURRED:
        return log_odds(judge.blur.probability(specimen.blur_features(by_size=judge.by_size, by_texture=judge.by_texture)))
    return log_odds(judge.content.probability(specimen.content_features))


def _share(group: Sequence[Specimen], test: Callable[[Specimen], bool]) -> Interval:
    """A drawing counts as a patient of its own in the interval, and as none in the number of patients."""
    found = proportion([test(s) for s in group], [s.record.patient_key if s.record else id(s) for s in group])
    return replace(found, patients=count_patients(s.record for s in group if s.record))
