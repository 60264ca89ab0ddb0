"""Plots: well-formed whatever their labels are, told in words, without script, and right where there is little to show."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest

from secure_delivery.engine.figures import By, starts
from secure_delivery.server.plots import Series, plot, short

NOW = 1_790_000_000.0
SVG = "{http://www.w3.org/2000/svg}"
EVIL = "</text><script>alert(1)</script>&\"' onload=x \x00\x1b\ud800\uffff \u202e<![CDATA["


def drawn(svg: str) -> ET.Element:
    root = ET.fromstring(svg.encode())
    assert root.tag == f"{SVG}svg"
    allowed = {"svg", "title", "desc", "style", "text", "line", "polyline", "circle", "rect", "path"}
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= allowed
    for element in root.iter():
        assert not [name for name in element.attrib if name.startswith("on") or name in ("style", "href", "src")]
    return root


def texts(root: ET.Element) -> list[str]:
    return [element.text or "" for element in root.iter(f"{SVG}text")]


@pytest.mark.parametrize("kind", ["line", "bar"])
@pytest.mark.parametrize(("by", "count"), [("hour", 24), ("day", 30), ("month", 12), ("day", 400)])
def test_a_plot_is_an_image_with_a_title_and_its_numbers_in_words(kind: str, by: By, count: int) -> None:
    times = starts(by, count, NOW)
    series = [Series(name="in", values=range(count)), Series(name="out", values=[7.5] * count)]
    root = drawn(plot(series, times, title="Bandwidth", name="one", by=by, kind=kind))  # type: ignore[arg-type]
    assert root.get("role") == "img" and root.get("aria-labelledby") == "one-title one-desc"
    named = {element.get("id"): element.text or "" for element in root if element.get("id")}
    assert named["one-title"] == "Bandwidth"
    assert f"in: {short(sum(range(count)))} in all, least 0, most {short(count - 1)} at " in named["one-desc"]
    labels = [text for text in texts(root) if re.search(r"\b[A-Z][a-z]{2}\b|:00", text)]
    assert 1 <= len(labels) <= 5


@pytest.mark.parametrize("kind", ["line", "bar"])
def test_nothing_and_a_single_point_are_plots_too(kind: str) -> None:
    for series, times in (([], []), ([Series(name="x", values=[])], []), ([], [int(NOW)])):
        root = drawn(plot(series, times, title="Jobs", kind=kind))  # type: ignore[arg-type]
        assert "No data" in texts(root)
        assert root[1].text == "There is nothing to show yet."
    one = drawn(plot([Series(name="x", values=[3])], [int(NOW)], title="Jobs", kind=kind))  # type: ignore[arg-type]
    marks = list(one.iter(f"{SVG}circle")) if kind == "line" else list(one.iter(f"{SVG}rect"))
    assert len(marks) == 2, "the value and its place in the legend"
    zero = drawn(plot([Series(name="x", values=[0, 0])], [0, 3600], title="Jobs", kind=kind))  # type: ignore[arg-type]
    assert {"0", "1"} <= set(texts(zero))


def test_hostile_names_are_text_and_nothing_else() -> None:
    svg = plot([Series(name=EVIL, values=[1, 2])], [0, 3600], title=EVIL, unit=EVIL, standalone=True)
    root = drawn(svg)
    assert "<script" not in svg and "<![CDATA[" not in svg
    assert root[0].text is not None and root[0].text.startswith("</text><script>alert(1)</script>&\"'")


def test_everything_stays_within_the_drawing() -> None:
    times = starts("day", 31, NOW)
    series = [Series(name=f"a rather long name {number}", values=[number * 1e9] * 31) for number in range(6)]
    for kind in ("line", "bar"):
        root = drawn(plot(series, times, title="t" * 200, kind=kind, by="day", unit="bytes"))  # type: ignore[arg-type]
        _, _, wide, high = (float(number) for number in root.get("viewBox", "").split())
        for element in root.iter():
            for names, most in ((("x", "x1", "x2", "cx"), wide), (("y", "y1", "y2", "cy"), high)):
                assert all(0 <= float(element.get(name, "0")) <= most for name in names), element.attrib
        for line in root.iter(f"{SVG}polyline"):
            assert all(0 <= float(number) <= wide for number in re.findall(r"[0-9.]+", line.get("points", "")))


def test_lines_are_told_apart_without_colours() -> None:
    series = [Series(name=str(number), values=[1, 2]) for number in range(6)]
    lines = list(drawn(plot(series, [0, 3600], title="t")).iter(f"{SVG}polyline"))
    assert len({line.get("stroke-dasharray") for line in lines}) == 6


def test_colours_are_the_page_s_and_a_file_of_its_own_brings_both_sets() -> None:
    series = [Series(name="x", values=[1, 2])]
    within = plot(series, [0, 3600], title="t")
    assert "<style" not in within
    assert set(re.findall(r'(?:fill|stroke)="([^"]+)"', within)) <= {
        "none", "var(--plot-ink, #1f2937)", "var(--plot-line, #9ca3af)", "var(--plot-1, #1d4ed8)",
    }  # fmt: skip
    assert "prefers-color-scheme: dark" in plot(series, [0, 3600], title="t", standalone=True)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(0, "", "0"), (0.5, "", "0.5"), (999, "", "999"), (1200, "", "1.2k"), (999_900, "", "1M"), (1e18, "", "1000P"),
     (1500, "bytes", "1.5 kB"), (12, "bytes", "12 B"), (23_456_789, "bytes", "23 MB")],
)  # fmt: skip
def test_numbers_are_short(value: float, unit: str, text: str) -> None:
    assert short(value, unit) == text


@pytest.mark.parametrize(
    ("series", "times", "name"),
    [
        ([Series(name="x", values=[1])], [], "a"),
        ([Series(name="x", values=[-1])], [0], "a"),
        ([Series(name="x", values=[float("nan")])], [0], "a"),
        ([Series(name="x", values=[float("inf")])], [0], "a"),
        ([Series(name="x", values=[1])] * 7, [0], "a"),
        ([], [], 'a" onload="x'),
        ([], [], ""),
    ],
)
def test_what_cannot_be_drawn_is_refused(series: list[Series], times: list[int], name: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        plot(series, times, title="t", name=name)
