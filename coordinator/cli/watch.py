"""``coordinator watch``: the journal of one saga as it grows, from a terminal of its own."""

import threading
from typing import TYPE_CHECKING, Annotated

import typer

from coordinator.cli import exits
from coordinator.cli.events import event_line
from coordinator.cli.options import Options, options_of
from coordinator.cli.readable import summary_lines
from coordinator.cli.text import now_ms
from coordinator.held_back import held_back_in
from coordinator.journal.liveness import live
from coordinator.saga import SagaState, apply
from coordinator.saga.table import ENDS
from coordinator.service import find_saga
from coordinator.views import VIEW_VERSION, events_view, saga_view

if TYPE_CHECKING:
    from coordinator.journal.reading import JournalReader

app = typer.Typer(add_completion=False)

_POLL_S = 0.5


@app.command()
def watch(
    context: typer.Context,
    saga: Annotated[str, typer.Argument(help="Id, its beginning or its end.")],
) -> None:
    """Print a saga's records as they are written, until it has ended.

    Reads the journal only; ends with the exit code of the saga's end.
    """
    options = options_of(context)
    reader = options.read_journal()
    name = find_saga(reader, saga)
    try:
        state = _tail(options, reader, name)
    except KeyboardInterrupt:
        options.out.say("stopped watching; the saga is not touched by this")
        raise typer.Exit(exits.DETACHED) from None
    at_ms, held = now_ms(), held_back_in(reader)
    end = {
        "v": VIEW_VERSION,
        "type": "end",
        "exit": exits.of_saga(state),
        "saga": saga_view(state, now_ms=at_ms, held=held),
    }
    options.out.line(end)
    options.out.data("\n".join(summary_lines(state, now_ms=at_ms, held=held)))
    raise typer.Exit(exits.of_saga(state))


def _tail(options: Options, reader: "JournalReader", saga: str) -> SagaState:
    state: SagaState | None = None
    orphaned = False
    pause = threading.Event()
    while True:
        for record in reader.read(f"saga:{saga}", 0 if state is None else state.seq):
            state = apply(state, record)
            options.out.line(events_view([record])[0])
            options.out.data(event_line(record))
        assert state is not None
        if state.state in ENDS:
            return state
        orphaned = _tell_if_left(options, reader, saga, orphaned=orphaned)
        # Another process writes the file: there is nothing to wait on but time.
        pause.wait(_POLL_S)


def _tell_if_left(options: Options, reader: "JournalReader", saga: str, *, orphaned: bool) -> bool:
    """Say once when no live process drives the saga any more; return whether that is so."""
    rows = [row for row in reader.sagas(open_only=True) if row.saga == saga]
    left = any(row.driver is None or not live(reader.path, row.driver) for row in rows)
    if left and not orphaned:
        options.out.say(f"nobody drives it now; go on with: coordinator resume {saga}")
    return left
