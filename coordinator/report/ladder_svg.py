"""The ladder: the plan's steps down the left side, what ends them on the right.

In a rollback the arrows on the right go up: the undo of the last effect first, each after the one
before was final. Each box names the record that says so, so that the order can be checked by eye.
"""

from dataclasses import dataclass
from typing import Final

from coordinator.report.drawing import clip, label, picture, rectangle, with_tip
from coordinator.report.efforts import EffortFacts
from coordinator.report.facts import ReportFacts, StepFacts
from coordinator.report.markup import Markup, element
from coordinator.report.words import clock_ms

__all__ = ["PHASE_WORDS", "draw_ladder"]

_TEXT: Final = 11.0
_BOX: Final = 38
_ROW: Final = 58
_TOP: Final = 30
_NARROW: Final = 500

#: Phase → sign and words, as pictures and tables write them.
PHASE_WORDS: Final = {
    "idle": ("·", "not started"),
    "unknown": ("?", "sent, in no block yet"),
    "included": ("…", "in a block, not final"),
    "done": ("✓", "final"),
    "not_done": ("✗", "failed"),
    "written_off": ("!", "written off"),
}


@dataclass(frozen=True, slots=True)
class _Columns:
    left: float
    right: float
    width: float

    @property
    def left_end(self) -> float:
        return self.left + self.width


def draw_ladder(facts: ReportFacts, *, prefix: str, width: int) -> Markup:
    """Return the ladder of a saga, ``width`` pixels wide and as high as its steps take."""
    gap = 26.0 if width < _NARROW else 60.0
    box = (width - 8 - gap) / 2
    columns = _Columns(4.0, 4.0 + box + gap, box)
    height = _TOP + len(facts.steps) * _ROW
    right = "undos, upwards" if facts.rolls_back else "confirms"
    if facts.decision is None:
        right = "not decided yet"
    drawn = [
        label(columns.left, 16, "steps, downwards", "t strong"),
        label(columns.right, 16, right, "t strong"),
    ]
    for index, step in enumerate(facts.steps):
        y = float(_TOP + index * _ROW)
        drawn.append(_box(columns.left, y, box, step, step.forward))
        if index and step.forward.incidents:
            drawn.append(_arrow_down(columns.left + box / 2, y - (_ROW - _BOX), y))
        drawn.append(_right_box(facts, columns, y, step))
    drawn += _turns(facts, columns) if facts.rolls_back else []
    title = "Rollback ladder" if facts.rolls_back else "Steps and what ends them"
    return picture(prefix, title, _description(facts), width, height, *drawn)


def _right_box(facts: ReportFacts, columns: _Columns, y: float, step: StepFacts) -> Markup:
    effort = step.undo or step.confirm
    if effort is not None and (facts.decision is not None or effort.incidents):
        return _box(columns.right, y, columns.width, step, effort)
    if facts.decision is None:
        words = "–"
    elif facts.rolls_back:
        words = step.not_undone or "nothing to take back"
    else:
        words = "stands as it is: nothing to confirm"
    return _empty(columns.right, y, columns.width, words)


def _empty(x: float, y: float, width: float, words: str) -> Markup:
    shown = clip(words, width - 14, _TEXT)
    return with_tip(
        words,
        rectangle(x, y, width, _BOX, "box empty", rx=3),
        label(x + 8, y + 23, shown, "t dim"),
    )


def _box(x: float, y: float, width: float, step: StepFacts, effort: EffortFacts) -> Markup:
    sign, words = PHASE_WORDS[effort.phase]
    if effort.direction == "confirm" and effort.phase == "unknown" and not effort.intents:
        words = "revealed, not redeemed"
    state = f"{sign} {words}"
    if effort.final_ms is not None:
        state += f" {clock_ms(effort.final_ms)[:-5]}"
    if effort.outcome_seq:
        state += f" #{effort.outcome_seq}"
    name = "" if effort.direction == "forward" else f"{effort.direction} "
    top = f"{name}{step.number} {step.id} · {step.chain}"
    tip = f"{top}: {state}" + (f". {effort.failure}" if effort.failure else "")
    failed = effort.phase in ("not_done", "written_off")
    class_ = "box failed" if failed else f"box {effort.direction}"
    if not effort.incidents:
        class_ += " idle"
    return with_tip(
        tip,
        rectangle(x, y, width, _BOX, class_, rx=3),
        rectangle(x, y, 5, _BOX, f"edge {'failed' if failed else effort.direction}"),
        label(x + 12, y + 15, clip(top, width - 18, _TEXT), "t strong"),
        label(x + 12, y + 30, clip(state, width - 18, _TEXT)),
    )


# ---------------------------------------------------------------- arrows


def _arrow_down(x: float, y0: float, y1: float) -> Markup:
    return _arrow(f"M{x:g},{y0 + 2:g} V{y1 - 3:g}", x, y1 - 2, 1, "forward")


def _arrow(path: str, x: float, y: float, down: int, class_: str) -> Markup:
    """Return a line with a head at (x, y) that points down (1) or up (-1)."""
    head = f"M{x - 4:g},{y - 6 * down:g} L{x:g},{y:g} L{x + 4:g},{y - 6 * down:g}"
    return element("path", d=f"{path} {head}", class_=f"arrow {class_}")


def _turns(facts: ReportFacts, columns: _Columns) -> list[Markup]:
    """Return the way over from the last step that began, and up from undo to undo."""
    begun = [i for i, step in enumerate(facts.steps) if step.forward.incidents]
    undos = [i for i, step in enumerate(facts.steps) if step.undo is not None]
    if not undos or not begun:
        return []
    x = columns.right + columns.width / 2
    last, first = begun[-1], undos[-1]
    y_from = _TOP + last * _ROW + _BOX / 2
    drawn = []
    if last == first:
        start, end = columns.left_end + 3, columns.right - 3
        path = f"M{start:g},{y_from:g} H{end:g}"
        head = f"M{end - 6:g},{y_from - 4:g} L{end:g},{y_from:g} L{end - 6:g},{y_from + 4:g}"
        drawn.append(element("path", d=f"{path} {head}", class_="arrow undo"))
    else:
        # Beside the empty boxes between, so that the line crosses no words.
        lane = (columns.left_end + columns.right) / 2
        y_to = _TOP + first * _ROW + _BOX / 2
        end = columns.right - 3
        path = f"M{columns.left_end + 3:g},{y_from:g} H{lane:g} V{y_to:g} H{end:g}"
        head = f"M{end - 6:g},{y_to - 4:g} L{end:g},{y_to:g} L{end - 6:g},{y_to + 4:g}"
        drawn.append(element("path", d=f"{path} {head}", class_="arrow undo"))
    for lower, upper in zip(reversed(undos), list(reversed(undos))[1:], strict=False):
        drawn.append(_up(columns, x, lower, upper))
    return drawn


def _up(columns: _Columns, x: float, lower: int, upper: int) -> Markup:
    y0, y1 = _TOP + lower * _ROW - 2, _TOP + upper * _ROW + _BOX + 2
    if lower - upper == 1:
        return _arrow(f"M{x:g},{y0:g} V{y1 + 1:g}", x, y1, -1, "undo")
    lane = (columns.left_end + columns.right) / 2
    y0, y1 = _TOP + lower * _ROW + 8, _TOP + upper * _ROW + _BOX - 8
    end = columns.right - 3
    path = f"M{columns.right:g},{y0:g} H{lane:g} V{y1:g} H{end:g}"
    head = f"M{end - 6:g},{y1 - 4:g} L{end:g},{y1:g} L{end - 6:g},{y1 + 4:g}"
    return element("path", d=f"{path} {head}", class_="arrow undo")


def _description(facts: ReportFacts) -> str:
    told = [
        f"Step {step.number} {step.id}: {PHASE_WORDS[step.forward.phase][1]}."
        for step in facts.steps
    ]
    for step in facts.told_steps:
        effort = step.undo or step.confirm
        if effort is not None:
            words = PHASE_WORDS[effort.phase][1]
            told.append(f"{effort.direction.capitalize()} of {step.number} {step.id}: {words}.")
    return " ".join(told)
