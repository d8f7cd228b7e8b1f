"""The pictures of a report: everything is there, in order, inside the frame, and apart."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.report import ReportFacts, facts_of, render_html
from coordinator.report.drawing import SVG_NS, clip, width_of
from coordinator.report.ladder_svg import draw_ladder
from coordinator.report.markup import Markup
from coordinator.report.timeline_svg import draw_timeline
from coordinator.report.timescale import scale_of
from coordinator.report.value_strip_svg import draw_value_strip
from tests.unit.report_scene import (
    START_MS,
    Page,
    Writer,
    hostile,
    many,
    rolled_back,
    simulated,
    steps,
)

Make = Callable[[], Writer]
Draw = Callable[..., Markup | None]
DRAWINGS: tuple[Draw, ...] = (draw_timeline, draw_ladder, draw_value_strip)
WIDTHS = (860, 360)
SVG = f"{{{SVG_NS}}}"


def fresh() -> Writer:
    return Writer(*steps())


def at_once() -> Writer:
    """A saga all of whose records have one time."""
    writer = rolled_back()
    for number, record in enumerate(writer.records):
        writer.records[number] = type(record)(
            **{f: getattr(record, f) for f in record.__struct_fields__} | {"at_ms": START_MS}
        )
    return writer


def of_days() -> Writer:
    """An undo that needed many attempts, days after the decision."""
    writer = Writer(*steps()).executed("lock").failed("hold").decided("rollback", step="hold")
    writer.at_ms += 3 * 86_400_000
    for _ in range(50):
        writer.intent("lock", "undo")
    return writer.included("lock", "undo").done("lock", "undo").closed("rolled_back")


SAGAS = [fresh, at_once, of_days, rolled_back, many, hostile]


def drawn(draw: Draw, facts: ReportFacts, width: int) -> ET.Element:
    picture = draw(facts, prefix="p", width=width)
    assert picture is not None
    return ET.fromstring(picture)


def texts(picture: ET.Element) -> list[str]:
    return [text.text or "" for text in picture.iter(f"{SVG}text")]


def tips(picture: ET.Element) -> list[str]:
    return [
        tip.text or "" for group in picture.iter(f"{SVG}g") for tip in group.iter(f"{SVG}title")
    ]


@pytest.mark.parametrize("make", SAGAS)
@pytest.mark.parametrize("draw", DRAWINGS)
@pytest.mark.parametrize("width", WIDTHS)
def test_a_picture_is_xml_and_nothing_of_it_leaves_its_frame(
    make: Make, draw: Draw, width: int
) -> None:
    picture = drawn(draw, facts_of(make().records), width)

    _, _, right, bottom = map(float, picture.attrib["viewBox"].split())
    assert (right, bottom > 0) == (width, True)
    for x, y in points(picture):
        assert -1 <= x <= right + 1
        assert -1 <= y <= bottom + 1


def points(picture: ET.Element) -> Iterator[tuple[float, float]]:
    """Yield corners of what is drawn; a text's end by the width that it was given."""
    defs = {part for defs in picture.iter(f"{SVG}defs") for part in defs.iter()}
    for part in picture.iter():
        if part in defs:
            continue
        a = part.attrib
        if part.tag == f"{SVG}rect":
            yield float(a["x"]), float(a["y"])
            yield float(a["x"]) + float(a["width"]), float(a["y"]) + float(a["height"])
        elif part.tag == f"{SVG}line":
            yield float(a["x1"]), float(a["y1"])
            yield float(a["x2"]), float(a["y2"])
        elif part.tag == f"{SVG}text":
            share = {"start": 1.0, "middle": 0.5, "end": 0.0}[a.get("text-anchor", "start")]
            # Letters are narrower than they are reckoned; half the reserve is what must fit.
            width = width_of(part.text or "", 11) * 0.85
            yield float(a["x"]) + width * share, float(a["y"])
            yield float(a["x"]) - width * (1 - share), float(a["y"])


@pytest.mark.parametrize("make", SAGAS)
@pytest.mark.parametrize("width", WIDTHS)
def test_no_two_labels_of_a_timeline_touch(make: Make, width: int) -> None:
    picture = drawn(draw_timeline, facts_of(make().records), width)

    lines: dict[float, list[tuple[float, float]]] = {}
    for part in picture.iter(f"{SVG}text"):
        taken = width_of(part.text or "", 11)
        share = {"start": 0.0, "middle": 0.5}[part.get("text-anchor", "start")]
        x = float(part.attrib["x"]) - taken * share
        lines.setdefault(float(part.attrib["y"]), []).append((x, x + taken))
    for spans in lines.values():
        spans.sort()
        assert all(a[1] <= b[0] + 1 for a, b in pairwise(spans))


# ---------------------------------------------------------------- the timeline


def test_a_timeline_has_a_lane_for_each_chain_and_one_for_the_coordinator() -> None:
    picture = drawn(draw_timeline, facts_of(rolled_back().records), 860)

    names = [
        text for text in texts(picture) if text in {"coordinator", "polygon", "bitcoin", "ethereum"}
    ]
    assert names == ["coordinator", "polygon", "bitcoin", "ethereum"]


@pytest.mark.parametrize("width", WIDTHS)
def test_a_timeline_shows_every_step_and_every_undo_of_a_long_plan(width: int) -> None:
    picture = drawn(draw_timeline, facts_of(many(20).records), width)

    shown = tips(picture)
    for number in range(20):
        assert any(tip.startswith(f"forward of step-{number} ") for tip in shown)
    for number in range(19):
        assert any(tip.startswith(f"undo of step-{number} ") for tip in shown)


def test_undos_differ_from_forward_effects_by_pattern_and_word_too() -> None:
    picture = drawn(draw_timeline, facts_of(rolled_back().records), 860)

    fills = {
        kind: {r.get("fill") for r in picture.iter(f"{SVG}rect") if r.get("class") == f"bar {kind}"}
        for kind in ("forward", "undo")
    }
    assert fills == {"forward": {None}, "undo": {"url(#p-undo)"}}
    assert {"→ 1 lock", "← undo 1 lock"} <= set(texts(picture))


def test_a_long_silence_is_cut_out_and_said() -> None:
    facts = facts_of(of_days().records)
    picture = drawn(draw_timeline, facts, 860)

    assert [p for p in picture.iter(f"{SVG}rect") if p.get("class") == "cut"]
    assert "≈" in texts(picture)
    assert "2 d 23 h" in texts(picture)  # from the deadline on
    bars = [float(r.attrib["width"]) for r in picture.iter(f"{SVG}rect")
            if r.get("class", "").startswith("bar")]  # fmt: skip
    assert min(bars) >= 2


@given(
    st.lists(st.integers(0, 10**13), min_size=1, max_size=40),
    st.sampled_from([(10.0, 300.0), (100.0, 800.0)]),
)
def test_a_time_scale_keeps_the_order_and_fills_its_width(
    moments: list[int], pixels: tuple[float, float]
) -> None:
    scale = scale_of(moments, *pixels)

    placed = [scale.x(moment) for moment in sorted(moments)]
    assert placed == sorted(placed)
    assert abs(scale.pixels[0] - pixels[0]) < 0.01
    assert abs(scale.pixels[-1] - pixels[1]) < 0.01
    ticks = scale.ticks(6.6)
    assert len(ticks) <= 60
    assert all(pixels[0] - 0.01 <= tick.x <= pixels[1] + 0.01 for tick in ticks)
    assert [tick.x for tick in ticks] == sorted(tick.x for tick in ticks)


@given(st.text(st.characters(codec="utf-8"), max_size=80), st.integers(10, 300))
def test_a_text_is_cut_to_its_room(text: str, width: int) -> None:
    shown = clip(text, width, 11)

    assert width_of(shown, 11) <= max(width, width_of("…", 11)) + 0.01


# ---------------------------------------------------------------- the ladder


def test_a_ladder_goes_down_the_steps_and_up_the_undos() -> None:
    facts = facts_of(many(20).records)
    picture = drawn(draw_ladder, facts, 860)

    boxes = [tip for tip in tips(picture) if "step-" in tip]
    forward = [tip for tip in boxes if not tip.startswith("undo")]
    undos = [tip for tip in boxes if tip.startswith("undo")]
    assert [int(re.findall(r"step-(\d+)", tip)[0]) for tip in forward] == list(range(20))
    seqs = [int(re.findall(r"#(\d+)", tip)[0]) for tip in undos]
    assert len(seqs) == 19
    assert seqs == sorted(seqs, reverse=True)  # top to bottom: the first step's undo is the last
    arrows = [
        p.attrib["class"] for p in picture.iter(f"{SVG}path") if "arrow" in p.get("class", "")
    ]
    assert arrows.count("arrow forward") == 19
    assert arrows.count("arrow undo") == 19  # 18 between 19 undos, and the way over


def test_a_ladder_s_undo_arrows_point_up() -> None:
    picture = drawn(draw_ladder, facts_of(rolled_back().records), 860)

    [up] = [p.attrib["d"] for p in picture.iter(f"{SVG}path")
            if p.get("class") == "arrow undo" and " H" not in p.attrib["d"]]  # fmt: skip
    start, end = re.findall(r"M[\d.]+,([\d.]+) V([\d.]+)", up)[0]
    assert float(start) > float(end)


def test_a_step_that_is_not_taken_back_says_why_on_the_ladder() -> None:
    picture = drawn(draw_ladder, facts_of(rolled_back().records), 860)

    assert "failed, so nothing to take back" in texts(picture)


# ---------------------------------------------------------------- the strip


@pytest.mark.parametrize(
    "case", ["plan=holds,fail=none", "plan=reference,fail=mint:reverted", "plan=pivot,fail=none"]
)
def test_the_sum_line_of_a_value_strip_is_flat(case: str) -> None:
    facts = facts_of(simulated(case)[1])
    picture = drawn(draw_value_strip, facts, 860)

    columns: dict[tuple[float, float], float] = {}
    tops = sorted(
        {float(p.attrib["y1"]) for p in picture.iter(f"{SVG}line") if p.get("class") == "sum"}
    )
    for part in picture.iter(f"{SVG}rect"):
        if part.get("class", "").startswith("value "):
            y, height = float(part.attrib["y"]), float(part.attrib["height"])
            strip = max(top for top in tops if top <= y + 0.2)
            column = (strip, float(part.attrib["x"]))
            columns[column] = columns.get(column, 0) + height
    assert len(tops) == len([f for f in facts.flows if f.planned])
    assert len(columns) == sum(len(f.points) for f in facts.flows)
    assert all(abs(height - 44) < 1 for height in columns.values())


def test_a_saga_that_moves_nothing_has_no_value_strip() -> None:
    step = steps()[0] | {"moves": []}

    assert draw_value_strip(facts_of(Writer(step).records), prefix="p", width=860) is None


@pytest.mark.parametrize("make", SAGAS)
def test_every_picture_of_a_whole_page_is_well_formed(make: Make) -> None:
    pictures = Page(render_html(facts_of(make().records))).pictures()

    assert len([p for p in pictures if p.get("role") == "img"]) == 6
