"""``coordinator show``: the readable log of one saga."""

from typing import Annotated

import typer

from coordinator.cli.options import options_of
from coordinator.cli.readable import log_lines
from coordinator.cli.text import now_ms
from coordinator.held_back import held_back_in
from coordinator.open_claims import open_claims
from coordinator.saga import fold
from coordinator.service import find_saga
from coordinator.views import saga_view

app = typer.Typer(add_completion=False)


@app.command()
def show(
    context: typer.Context,
    saga: Annotated[str, typer.Argument(help="Id, its beginning or its end.")],
) -> None:
    """Show one saga: executions, decision, confirms or undos, and what is safe now."""
    options = options_of(context)
    reader = options.read_journal()
    records = reader.read(f"saga:{find_saga(reader, saga)}")
    state = fold(records)
    at_ms, claims, held = now_ms(), open_claims(state, records), held_back_in(reader)
    options.out.document(saga_view(state, now_ms=at_ms, open_claims=claims, held=held))
    lines = log_lines(state, records, now_ms=at_ms, held=held)
    lines += [f"  open claim    {claim.sentence()}" for claim in claims]
    options.out.data("\n".join(lines))
