"""A bundle's card on the pages: read, downloaded, and doubted where it is another bundle's."""

from __future__ import annotations

from pathlib import Path

import pytest

from portal import ml
from portal.registry.models import ModelVersion
from portal.web.cards import Block, Span, blocks
from tests.cast import Cast, make_version

CARD = """# Model card: night

| | |
|---|---|
| bundle hash | `{digest}` |
| site | a \\| b <script>alert(1)</script> |

Two lines that
are **one** paragraph.

## Known limits

- A first, which goes on
  here.
- A second.

| figure | value |
| --- | --- |
| auroc | 0.900 |
"""


def carded(text: str = CARD) -> ModelVersion:
    version = make_version(name="night")
    (Path(version.bundle_path) / "MODEL_CARD.md").write_text(text.replace("{digest}", version.bundle_hash), encoding="utf-8")
    return version


@pytest.mark.django_db
def test_a_card_is_read_on_a_page_and_downloaded_as_it_is(cast: Cast) -> None:
    version, client = carded(), cast.client(cast.max)
    address = f"/models/{version.pk}/card/"
    assert f'href="{address}"' in client.get(f"/models/{version.pk}/").content.decode()
    page = client.get(address).content.decode()
    assert f"<code>{version.bundle_hash}</code>" in page
    assert "<b>one</b> paragraph" in page
    assert "<script>alert" not in page
    assert "a | b &lt;script&gt;" in page
    assert '<th scope="col">figure' in page
    assert "may have been written for another" not in page
    assert "style=" not in page
    file = client.get(f"{address}?download=1")
    assert file.content.decode() == CARD.replace("{digest}", version.bundle_hash)
    assert file["Content-Disposition"] == f'attachment; filename="MODEL_CARD-{version.bundle_hash[:8]}.md"'
    assert file["Content-Type"] == "text/markdown; charset=utf-8"
    assert file["X-Content-Type-Options"] == "nosniff"


@pytest.mark.django_db
def test_a_bundle_without_a_card_offers_none(cast: Cast) -> None:
    version, client = make_version(), cast.client(cast.max)
    assert "Model card" not in client.get(f"/models/{version.pk}/").content.decode()
    for address in (f"/models/{version.pk}/card/", f"/models/{version.pk}/card/?download=1"):
        page = client.get(address).content.decode()
        assert "This bundle brings no model card." in page
        assert "download=1" not in page


@pytest.mark.django_db
def test_a_card_that_names_another_bundle_is_doubted(cast: Cast) -> None:
    version = carded(CARD.replace("{digest}", "0" * 64))
    assert "may have been written for another" in cast.client(cast.max).get(f"/models/{version.pk}/card/").content.decode()


@pytest.mark.django_db
def test_only_administrators_read_a_card(cast: Cast) -> None:
    version = carded()
    assert cast.client(cast.lena).get(f"/models/{version.pk}/card/").status_code == 403
    assert cast.client(cast.sys).get(f"/models/{version.pk}/card/").status_code == 200


def test_the_blocks_of_a_card() -> None:
    title, table, paragraph, heading, items, figures = blocks(CARD)
    assert title == Block("title", ((Span("Model card: night"),),))
    assert table.heads == ()
    assert table.rows[0] == ((Span("bundle hash"),), (Span("{digest}", "code"),))
    assert paragraph.lines == ((Span("Two lines that are "), Span("one", "bold"), Span(" paragraph.")),)
    assert heading.lines == ((Span("Known limits"),),)
    assert items.lines == ((Span("A first, which goes on here."),), (Span("A second."),))
    assert (figures.heads, figures.rows) == (((Span("figure"),), (Span("value"),)), (((Span("auroc"),), (Span("0.900"),)),))


def test_the_shipped_card_can_be_shown() -> None:
    made = blocks(ml.model_card(Path(__file__).resolve().parents[3] / "inference" / "bundles" / "baseline"))
    assert {block.kind for block in made} == {"title", "heading", "paragraph", "list", "table"}
    assert all(len({len(row) for row in (*block.rows, *([block.heads] if block.heads else []))}) == 1 for block in made if block.rows)
