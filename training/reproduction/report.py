"""The experiment as one HTML file and as CSV files. Pictures of patients stand in the HTML alone, and only where they are asked for."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training import figures, html
from training.manifest import count_patients
from training.metrics import roc_points
from training.reproduction.collection import Collection
from training.reproduction.estimates import Table
from training.reproduction.experiment import SORTER, Results, Run, Scored
from training.reproduction.material import Part
from training.reproduction.paper import SLIPS
from training.settings import settings_of

THUMB = 96
SHOWN = 6
MOST_POINTS = 800
Choice = Callable[[Scored, Part], list[tuple[str, NDArray[np.int64]]]]
BOXED = ("deep_sad", "resnest_224")


def write_csv(folder: Path, tables: Sequence[Table]) -> list[Path]:
    """One file a table: table-1.csv to table-8.csv and detectors.csv."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for table in tables:
        path = folder / f"{table.number.lower().replace(' ', '-')}.csv"
        headers, rows = table.for_machines()
        with path.open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream).writerows([headers, *rows])
        written.append(path)
    return written


def page(
    collection: Collection, runs: Sequence[Run], results: Results, tables: Sequence[Table], *, said: Sequence[str], pictures: bool
) -> str:
    """The whole report. `said`: what a reader must know first, as that this was the quick form."""
    sections = [
        about(collection, results, said),
        html.section("Tables 1 to 4: the data", *(_table(one) for one in tables[:4])),
        html.section("Figure 3: the detectors", html.note(INTERVALS), _table(tables[4]), *detector_figures(results)),
        html.section("Tables 5 to 8: the classifiers on the test sites", html.note(HOW_TO_READ), *(_table(one) for one in tables[5:])),
        html.section("Figure 4: scores by class and site", *box_plots(results)),
        html.section("Figure 5: extremes", *galleries(results, extremes, pictures=pictures)),
        html.section("Figure 6: wrong answers", *galleries(results, wrong, pictures=pictures)),
        html.section("Figures 7 and 8: embeddings by t-SNE", *maps(results)),
        html.section("Receiver operating characteristic", *curves(results)),
        html.section("The paper's slips", *(html.note(slip) for slip in SLIPS)),
        html.section("Settings of every run", settings_table(runs)),
    ]
    return html.page("The paper's experiment on this collection", sections)


INTERVALS = (
    "Each figure, here and in Tables 5 to 8: value [95 % Wilson interval, images taken as independent], then the 95 % interval of a "
    "bootstrap that draws whole patients. What is no share has the latter alone."
)
HOW_TO_READ = (
    "Thresholds are the best on the validation sites (sensitivity + specificity). The paper's own figures are of other patients: they say "
    "what it reached on Peru, not what this collection must give. Each table's title says what is in it."
)


def about(collection: Collection, results: Results, said: Sequence[str]) -> str:
    test = results.parts["test"]
    tested = f"{len(test.records)} images of {count_patients(test.records)} patients, labelled by people"
    notes = [*said, results.cropped_by, f"Manifest {collection.hash[:12]}. Tested on {tested}."]
    notes += [f"Left out: {count} images {reason}." for reason, count in collection.left_out.items() if count]
    notes += [f"{name} gave no result: {reason}" for name, reason in results.refused]
    return html.section("About this run", *(html.note(words) for words in notes))


def _table(table: Table) -> str:
    return html.table(table.headers, table.rows, caption=f"{table.number}. {table.title}")


def settings_table(runs: Sequence[Run]) -> str:
    rows = [[run.method.name, run.preset, ", ".join(f"{one.key} {one.value}" for one in settings_of(run.recipe))] for run in runs]
    return html.table(["method", "preset", "settings"], rows)


def detector_figures(results: Results) -> list[str]:
    """Overlap with the true box on the test pictures, as a histogram and by kind would be too few: numbers, no picture."""
    made = []
    for one in results.found:
        overlaps = [seen.iou for seen in one.looks if seen.iou is not None]
        if overlaps:
            name = f"{one.run.method.name} ({one.run.preset})"
            made.append(html.figure(figures.histogram(overlaps, "overlap with the true box"), f"{name}: IoU of the best box, 0 where none"))
    return made or [html.note("No test picture carries a cervix box.")]


def box_plots(results: Results) -> list[str]:
    """Scores of each site and class, for the methods that the paper plots; Deep SAD's squared distance as its decimal logarithm."""
    made = []
    for one in results.scored:
        if one.run.method.name not in BOXED:
            continue
        groups: dict[str, list[float]] = {}
        for record, score in zip(results.parts["test"].records, one.shown, strict=True):
            groups.setdefault(f"{record.site} {record.kind.value.replace('_', ' ')}", []).append(float(score))
        limit = float(np.log10(one.threshold + 1e-6)) if one.distance else one.threshold
        scale = "log10 of the squared distance" if one.distance else "log odds of non-regular"
        made.append(html.figure(figures.box_plot(sorted(groups.items()), limit), f"{_name(one)}: {scale}; dashed: its threshold"))
    return made


def _name(one: Scored) -> str:
    return f"{one.run.method.title} ({one.run.preset})"


# --- galleries --------------------------------------------------------------------------------------------------------------------


def extremes(one: Scored, test: Part) -> list[tuple[str, NDArray[np.int64]]]:
    """For each class the images of the lowest and of the highest scores."""
    made = []
    for name, rows in (("regular", np.flatnonzero(~test.positive)), ("non-regular", np.flatnonzero(test.positive))):
        order = rows[np.argsort(one.test[rows], kind="stable")]
        made += [(f"{name}, lowest scores", order[:SHOWN]), (f"{name}, highest scores", order[::-1][:SHOWN])]
    return made


def wrong(one: Scored, test: Part) -> list[tuple[str, NDArray[np.int64]]]:
    """Missed non-regular images and regular ones that were called non-regular, the surest errors first."""
    missed, false = np.flatnonzero(test.positive & ~one.said), np.flatnonzero(~test.positive & one.said)
    return [
        (f"non-regular, missed ({len(missed)})", missed[np.argsort(one.test[missed], kind="stable")][: 2 * SHOWN]),
        (f"regular, called non-regular ({len(false)})", false[np.argsort(-one.test[false], kind="stable")][: 2 * SHOWN]),
    ]


def galleries(results: Results, choose: Choice, *, pictures: bool) -> list[str]:
    """Rows of images for Deep SAD and ResNeSt; without `pictures` only their names, sites, classes and scores."""
    test = results.parts["test"]
    crops = test.inner(THUMB) if pictures else None
    made = []
    for one in results.scored:
        if one.run.method.name in BOXED:
            made.append(html.heading(_name(one)))
            for title, rows in choose(one, test):
                cells = [_cell(test, one, int(row), None if crops is None else crops[row]) for row in rows]
                made.append(html.note(f"{title}:" + ("" if cells else " none")) + "".join(cells))
    return made


def _cell(test: Part, one: Scored, row: int, crop: NDArray[np.uint8] | None) -> str:
    record = test.records[row]
    words = escape(f"{record.sha256[:8]}, {record.site}, {record.kind.value.replace('_', ' ')}, {one.shown[row]:.2f}")
    if crop is None:
        return f'<p class="note">{words}</p>'
    stream = io.BytesIO()
    Image.fromarray(crop).save(stream, "JPEG", quality=85)
    data = base64.b64encode(stream.getvalue()).decode()
    return f'<figure><img alt="{words}" width="{THUMB}" src="data:image/jpeg;base64,{data}"><figcaption>{words}</figcaption></figure>'


# --- maps and curves --------------------------------------------------------------------------------------------------------------


def maps(results: Results) -> list[str]:
    """t-SNE of the ResNeSt embedding of the test pictures, coloured by class (Fig. 7) and by site (Fig. 8)."""
    made = []
    for preset, whole in results.embeddings.items():
        rows = np.sort(np.random.default_rng(0).permutation(len(whole))[:MOST_POINTS])
        points = tsne(whole[rows])
        records = [results.parts["test"].records[row] for row in rows]
        kinds, sites = [record.kind.value for record in records], [record.site for record in records]
        for number, labels, by in ((7, kinds, "class"), (8, sites, "site")):
            caption = f"Figure {number}: {SORTER} ({preset}), {len(rows)} test images by {by}"
            made.append(html.figure(figures.scatter(points, labels, f"t-SNE by {by}"), caption))
    return made or [html.note(f"{SORTER} was not trained.")]


def tsne(embeddings: NDArray[np.float64]) -> list[tuple[float, float]]:
    """Two coordinates for every row (N, D), the same for the same rows."""
    from sklearn.manifold import TSNE

    near = float(max(2, min(30, (len(embeddings) - 1) // 3)))
    found = TSNE(n_components=2, perplexity=near, init="pca", random_state=0).fit_transform(embeddings)
    return [(float(x), float(y)) for x, y in found]


def curves(results: Results) -> list[str]:
    truth = [bool(positive) for positive in results.parts["test"].positive]
    made = []
    for preset in sorted({one.run.preset for one in results.scored}):
        series = {}
        for one in results.scored:
            if one.run.preset == preset:
                points = roc_points([float(score) for score in one.test], truth)
                series[one.run.method.name] = ([p[0] for p in points], [p[1] for p in points])
        made.append(html.figure(figures.roc(series), f"Test sites, preset {preset}"))
    return made
