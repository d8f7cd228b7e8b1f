"""What a person sees while sagas are driven: a table that lives in a terminal, else event lines."""

from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from coordinator.cli.events import event_line
from coordinator.cli.output import Output
from coordinator.cli.readable import headline, step_line
from coordinator.cli.text import now_ms, short_saga, span
from coordinator.held_back import NOTHING_HELD, HeldBack
from coordinator.journal.base import Record
from coordinator.saga import SagaState
from coordinator.saga.table import ENDS
from coordinator.views import DIRECTIONS, events_view, waiting

__all__ = ["Progress"]

_REDRAW_PER_S = 4


class Progress:
    """Shows every record of the sagas that this process drives or follows.

    With ``--json`` each record is a line on stdout; in a terminal one saga (``table``) is a table
    on stderr that is drawn again; otherwise each record is a line of text on stderr.
    """

    def __init__(self, out: Output, *, table: bool) -> None:
        self._out = out
        self._states: dict[str, SagaState] = {}
        #: what holds sagas back; called whenever the table is drawn, from its thread.
        self.held: Callable[[], HeldBack] = lambda: NOTHING_HELD
        self._live: Any = None
        if table and out.live:
            from rich.console import Console
            from rich.live import Live

            self._live = Live(
                get_renderable=self._draw,
                console=Console(stderr=True),
                refresh_per_second=_REDRAW_PER_S,
                transient=True,
            )

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def shows(self, state: SagaState) -> None:
        """Show a saga as it is, before its next record."""
        self._states[state.saga] = state

    def saw(self, state: SagaState, record: Record) -> None:
        """Show one more record."""
        self._states[state.saga] = state
        if state.state in ENDS:
            del self._states[state.saga]
        self._out.line(events_view([record])[0])
        if self._live is None and not self._out.as_json:
            self._out.say(event_line(record))

    def _draw(self) -> Any:
        from rich.console import Group
        from rich.text import Text

        held = self.held()
        lines = [line for state in self._states.values() for line in _picture(state, held)]
        return Group(*(Text(line, no_wrap=True, overflow="ellipsis") for line in lines))


def _picture(state: SagaState, held: HeldBack) -> list[str]:
    """Return one saga's table: head, a line for each effort, what it waits for."""
    at_ms = now_ms()
    age = span((at_ms - state.started_ms) // 1000)
    head = f"saga {short_saga(state.saga)}  {state.name}  {headline(state, held)}  {age}"
    if state.state == "running":
        head += f"  deadline in {span(state.deadline_s - at_ms // 1000)}"
    lines = [head]
    for direction in DIRECTIONS:
        steps = state.steps if direction != "undo" else tuple(reversed(state.steps))
        lines += [
            step_line(state, step, direction)
            for step in steps
            if (step.id, direction) in state.efforts or direction == "forward"
        ]
    for wait in waiting(state, at_ms, held)[:3]:
        about = f"step {wait['step']}: " if wait["step"] else ""
        lines.append(f"   waiting for {about}{wait['reason']}")
    if state.stuck is not None:
        lines.append(f"   NEEDS YOU: {state.stuck['reason']}; {state.stuck['question']}")
    return lines
