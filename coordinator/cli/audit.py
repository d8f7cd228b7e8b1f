"""``coordinator audit``: the records themselves, and whether they are what was written."""

from typing import TYPE_CHECKING, Annotated

import typer

from coordinator.cli import audit_bundle, audit_fsck, audit_log, audit_trust, audit_watch, exits
from coordinator.cli.log_head import head_line, head_view, key_history_of
from coordinator.cli.options import options_of
from coordinator.cli.text import moment
from coordinator.saga import IllegalRecord, SagaState, fold
from coordinator.service import find_saga
from coordinator.views import events_view, timeline

if TYPE_CHECKING:
    from coordinator.journal.base import Record

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Read and verify the audit log; export evidence from it.",
)


@app.command()
def show(
    context: typer.Context,
    saga: Annotated[str | None, typer.Argument(help="Only this saga.")] = None,
) -> None:
    """Print records in commit order; with --json one object a line."""
    options = options_of(context)
    reader = options.read_journal()
    out = options.out
    name = None if saga is None else find_saga(reader, saga)
    records = reader.records() if name is None else iter(reader.read(f"saga:{name}"))
    for record in records:
        out.line(events_view([record])[0])
        stream = "" if name else f"{record.stream}  "
        out.data(
            f"{record.position:>6}  {moment(record.at_ms)}  {stream}{record.seq:>3}  "
            f"{timeline(record)}  {record.hash[:12]}"
        )


@app.command()
def verify(
    context: typer.Context,
    saga: Annotated[str | None, typer.Argument(help="Only this saga.")] = None,
) -> None:
    """Verify hashes, links, stored bytes, the log's tree and signed heads, second place, and every
    saga's order; exit 40 if not.
    """
    from coordinator.journal.verify import check

    options = options_of(context)
    reader = options.read_journal()
    config = options.load()
    witness = config.witness_path if config.witness_path.exists() else None
    history = key_history_of(config, reader)
    troubles = [finding.text for finding in check(reader, witness, history)]
    streams = reader.streams() if saga is None else [f"saga:{find_saga(reader, saga)}"]
    counted = 0
    for stream in streams if not troubles else ():
        records = reader.read(stream)
        counted += len(records)
        troubles += [f"{stream}: {trouble}" for trouble in _saga_troubles(records)]
    head = reader.record_at(reader.last_position())
    result = {
        "v": 1,
        "type": "verdict",
        "ok": not troubles,
        "sagas": len(streams),
        "records": counted,
        "head": None if head is None else {"position": head.position, "hash": head.hash},
        "second_place": "compared" if witness else "not there",
        "log": (log := head_view(reader, history)),
        "troubles": troubles,
    }
    options.out.document(result)
    if troubles:
        options.out.data("\n".join(f"✗ {trouble}" for trouble in troubles))
        raise typer.Exit(exits.UNVERIFIED)
    where = "empty" if head is None else f"position {head.position} hash {head.hash}"
    options.out.data(
        f"✓ {counted} records of {len(streams)} sagas: hashes, links, stored bytes, order of "
        f"undos\n✓ second place {result['second_place']}\n{head_line(log)}\n  head {where}"
    )


app.command("export")(audit_bundle.export)
app.command("sign")(audit_bundle.sign)
app.command("trust")(audit_trust.trust)
app.command("prove")(audit_log.prove)
app.command("range")(audit_log.range_)
app.command("fsck")(audit_fsck.fsck)
app.command("watch")(audit_watch.watch)
app.command("rotate")(audit_log.rotate)


def _saga_troubles(records: "list[Record]") -> list[str]:
    """Return what is wrong with one saga beyond its hashes: transitions, order, accounting."""
    try:
        state = fold(records)
    except IllegalRecord as error:
        return [str(error)]
    except (KeyError, TypeError, ValueError) as error:
        return [f"a record lacks what its kind must have: {error!r}"]
    return [*_order_troubles(state, records), *_undo_troubles(records)]


def _order_troubles(state: SagaState, records: "list[Record]") -> list[str]:
    """Undos must be final in the exact reverse of the plan's order, each after the one before."""
    undone = [
        record.data["step"]
        for record in records
        if record.kind == "done" and record.data["dir"] == "undo"
    ]
    # A finality that broke may bring the same undo twice; its last time counts.
    order = [step for number, step in enumerate(undone) if step not in undone[number + 1 :]]
    expected = [step.id for step in reversed(state.steps) if step.id in order]
    withdrawn = any(record.kind == "withdrawn" for record in records)
    if order != expected and not withdrawn and state.state == "rolled_back":
        return [f"undone in the order {', '.join(order)}; it must be {', '.join(expected)}"]
    return []


def _undo_troubles(records: "list[Record]") -> list[str]:
    """Every undo must say when its step was executed, when it was undone, why, with what result."""
    return [
        f"record {record.seq}: the undo of {record.data['step']} lacks {key}"
        for record in records
        if record.kind == "done" and record.data["dir"] == "undo"
        for key in ("executed_ms", "undone_ms", "reason", "cause", "result")
        if key not in record.data
    ]
