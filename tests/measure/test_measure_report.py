"""Reports: escaping, self-containedness, structure, values."""

import json
import math
import re
from html.parser import HTMLParser

import pytest

from custodes.errors import DataError
from custodes.measure import (
    Card,
    Cards,
    Interval,
    Plot,
    Plots,
    Prose,
    Report,
    Section,
    Table,
    histogram_plot,
)

HOSTILE = "<script>alert(1)</script>\"'&{{ 7 * 7 }}\ud800\x00"
DRAWING = histogram_plot([0, 1], [0.2, 0.8], 0.5, title=HOSTILE)


def full(text: str) -> Report:
    return Report(
        text,
        text,
        [
            Section(text, [
                Prose(f"{text}\n\nsecond"), Plots([Plot(DRAWING, text), Plot(DRAWING)]),
            ]),
            Section("b", [Cards([
                Card(text, Interval(0.5, 0.4, 0.6), text, met=True, spec=".1%"),
                Card("missed", 0.25, met=False), Card("count", 12_345), Card("none", None),
                Card("text", text),
            ])]),
            Section("c", [
                Table([text, "x", "flag"], [[text, Interval(0.5, math.nan, math.nan), True],
                                            ["b", None, False], ["c", math.nan, True]], text),
                Table(["a", "n"], [["x", 1], ["y", None]], spec=["", ".1%"]),
            ]),
        ],
        {text: text},
    )  # fmt: skip


class Page(HTMLParser):
    """Collects tags and attributes; fails on a tag that is never closed."""

    VOID = frozenset({"meta", "line", "circle", "polyline", "polygon", "rect"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag


def test_all_text_is_escaped_and_nothing_runs() -> None:
    html = full(HOSTILE).html()
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "{{ 7 * 7 }}" in html
    html.encode("utf-8")
    page = Page(html)
    assert not page.open
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "iframe", "img", "object"})
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)


def test_the_page_fetches_nothing() -> None:
    html = full("plain").html()
    page = Page(html)
    policies = [a["content"] for t, a in page.tags if a.get("http-equiv")]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]
    assert "url(" not in html
    assert "@import" not in html
    addresses = set(re.findall(r"https?://[^\"'\s<]+", html))
    assert addresses == {"http://www.w3.org/2000/svg"}
    links = [a["href"] for t, a in page.tags if t == "a"]
    assert links == ["#s1", "#s2", "#s3"]
    assert {link[1:] for link in links} <= {a.get("id") for _, a in page.tags}


def test_light_dark_print_and_narrow_are_provided_for() -> None:
    html = full("plain").html()
    for part in ("prefers-color-scheme: dark", "@media print", "max-width: 560px", 'lang="en"'):
        assert part in html


def test_cells_and_cards_are_formatted() -> None:
    html = full("plain").html()
    for part in ("50.0%", "[40.0%, 60.0%]", "✓ target met", "✗ target missed", "0.250", "12,345",
                 "–", ">yes<", ">no<"):  # fmt: skip
        assert part in html
    assert '<th scope="col" class="number">n</th>' in html
    assert '<th scope="col">flag</th>' in html


def test_a_short_report_has_no_list_of_sections_and_no_foot() -> None:
    html = Report("t", "s").html()
    assert "<nav" not in html
    assert "<footer" not in html


def test_values_are_plain_json() -> None:
    values = json.loads(json.dumps(full("x").values(), allow_nan=False))
    assert values["sections"][0]["blocks"][0] == {"kind": "prose", "text": "x\n\nsecond"}
    assert values["sections"][0]["blocks"][1] == {"kind": "plots", "captions": ["x", ""]}
    cards = values["sections"][1]["blocks"][0]["cards"]
    assert cards[0]["value"] == {"value": 0.5, "low": 0.4, "high": 0.6}
    assert values["sections"][2]["blocks"][0]["rows"][1:] == [["b", None, False], ["c", None, True]]
    assert values["facts"] == {"x": "x"}


def test_malformed_parts_are_errors() -> None:
    with pytest.raises(DataError, match="row 0: got 1 cells, expected 2"):
        Table(["a", "b"], [["x"]])
    with pytest.raises(DataError, match="got 1 formats, expected one, or 2"):
        Table(["a", "b"], [], spec=["x"])
    with pytest.raises(DataError, match="expected SVG"):
        Plot("<script>alert(1)</script>")
