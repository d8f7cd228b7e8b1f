"""``coordinator status``: which sagas there are, which of them need somebody."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from coordinator.cli.mistakes import WrongUsage
from coordinator.cli.options import has_run, options_of
from coordinator.cli.output import Output, columns
from coordinator.cli.text import moment, now_ms, short, short_saga, span
from coordinator.held_back import HeldBack, halted_view, held_back_in
from coordinator.journal.base import SagaRow
from coordinator.journal.liveness import live
from coordinator.open_claims import OpenClaim, ended_with_open_claims, open_claims_of
from coordinator.pause_view import letting_go, pause_from, pause_item, pause_of
from coordinator.saga import SagaState
from coordinator.saga.table import ENDS, LIVE
from coordinator.service import find_saga, load
from coordinator.views import VIEW_VERSION, row_view

if TYPE_CHECKING:
    from collections.abc import Collection

    from coordinator.journal.reading import JournalReader

app = typer.Typer(add_completion=False)

#: What sagas can be chosen by: every state, and the flags that need somebody.
_STATES = (*sorted(LIVE), *sorted(ENDS), "stuck", "paused")
_HEAD = ("SAGA", "PLAN", "STATE", "STEP", "AGE", "VALUE AT RISK", "NEEDS YOU")


@app.command()
def status(
    context: typer.Context,
    saga: Annotated[str | None, typer.Argument(help="Only this saga.")] = None,
    state: Annotated[
        str | None,
        typer.Option(
            help="running, confirming, undoing, committed, rolled_back … stuck or paused."
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=0, help="How many open and how many ended ones.")] = 50,
) -> None:
    """List sagas: where they are and what they need. Reads the journal only."""
    options = options_of(context)
    out = options.out
    state = _known_state(state)
    config = options.load()
    if not has_run(config):
        out.document({"v": VIEW_VERSION, "sagas": [], "pauses": [], "halted": []})
        out.data("no sagas: nothing was ever run here")
        return
    reader = options.read_journal()
    every = reader.sagas()
    claims = _open_claims(reader)
    held = held_back_in(reader)
    rows = _chosen(every, reader, saga, state, limit, claims, held)
    views = [_view(reader, row, claims.get(row.saga, ()), held) for row in rows]
    told = [pause_item(pause) for pause in held.pauses.standing]
    halts = halted_view(held)
    out.document({"v": VIEW_VERSION, "sagas": views, "pauses": told, "halted": halts})
    for pause in held.pauses.standing:
        out.data(f"PAUSED: {pause.words}. Nothing new begins there: {letting_go(pause)}")
    for halt in halts:
        out.data(
            f"HALTED: {halt['account']} on {halt['chain']} signed what no record explains: "
            f"{', '.join(halt['txs'])}. It begins nothing new. Look at it, then: {halt['command']}"
        )
    out.data("\n".join(_table(views, out)) if views else "no sagas")
    if len(rows) < len(every) and saga is None and state is None:
        out.say(f"{len(every) - len(rows)} more; see --limit")


def _known_state(text: str | None) -> str | None:
    """Return a state in the form of the journal; tables print it in capitals.

    Raises:
        WrongUsage: there is no such state.
    """
    if text is None or text.lower() in _STATES:
        return None if text is None else text.lower()
    raise WrongUsage(f"--state {text!r} is none of {', '.join(_STATES)}.")


def _open_claims(reader: "JournalReader") -> dict[str, tuple[OpenClaim, ...]]:
    """Return what ended sagas have left open, by saga."""
    return {state.saga: open_claims_of(reader, state) for state in ended_with_open_claims(reader)}


def _chosen(
    rows: list[SagaRow],
    reader: "JournalReader",
    saga: str | None,
    state: str | None,
    limit: int,
    claims: "Collection[str]",
    held: HeldBack,
) -> list[SagaRow]:
    """Return the rows to show, oldest first; who needs somebody is always among them."""
    if saga is not None:
        wanted = find_saga(reader, saga)
        return [row for row in rows if row.saga == wanted]
    if state is not None:
        if state == "paused":
            running = [row for row in rows if row.state == "running"]
            return [row for row in running if pause_of(load(reader, row.saga), held.pauses)]
        return [row for row in rows if (row.stuck if state == "stuck" else row.state == state)]
    ended = [row.saga for row in rows if row.state in ENDS]
    living = [row.saga for row in rows if row.state not in ENDS and not row.stuck]
    shown = {row.saga for row in rows if row.stuck and row.state not in ENDS}
    shown.update(claims)
    shown.update(ended[len(ended) - min(limit, len(ended)) :], living[:limit])
    return [row for row in rows if row.saga in shown]


def _view(
    reader: "JournalReader", row: SagaRow, claims: tuple[OpenClaim, ...], held: HeldBack
) -> dict[str, Any]:
    is_open = row.state not in ENDS
    fold: SagaState | None = load(reader, row.saga) if is_open else None
    attended = is_open and row.driver is not None and live(reader.path, row.driver)
    return row_view(row, fold, attended=attended, now_ms=now_ms(), open_claims=claims, held=held)


def _table(views: list[dict[str, Any]], out: Output) -> list[str]:
    rows = [_HEAD, *(_row(view) for view in views)]
    lines = columns(rows)
    styles = ["bold", *(_style(view) for view in views)]
    return [
        out.paint(line, style) if style else line for line, style in zip(lines, styles, strict=True)
    ]


def _style(view: dict[str, Any]) -> str:
    if view["stuck"] is not None or view["state"] == "closed_by_operator":
        return "bad"
    return {"committed": "good", "rolled_back": "warn"}.get(view["state"], "")


def _row(view: dict[str, Any]) -> tuple[str, ...]:
    waits = [wait for wait in view["waiting"] if wait["step"] is not None]
    step = f"{waits[0]['step']} {waits[0]['dir']}" if waits else "–"
    risk = [f"{amount['value']} {asset}" for asset, amount in view["at_risk"].items()]
    return (
        short_saga(view["saga"]),
        view["plan"],
        _word(view),
        step,
        span((now_ms() - view["started_ms"]) // 1000),
        ", ".join(risk) or ("0" if view["state"] in ENDS else "none yet"),
        _need(view),
    )


def _word(view: dict[str, Any]) -> str:
    word = "STUCK" if view["stuck"] is not None else str(view["state"]).upper()
    return f"{word} PAUSED" if view["paused"] else word


def _need(view: dict[str, Any]) -> str:
    if view["stuck"] is not None:
        stuck = view["stuck"]
        resume = "" if view["attended"] else f"; then: coordinator resume {view['saga']}"
        return f"{stuck['reason']}: {stuck['question']}{resume}"
    needs = []
    if view["pause"] is not None:
        needs += [_pause_need(pause) for pause in view["pause"]["requested"]]
    if view["state"] not in ENDS and not view["attended"]:
        needs.append(f"nobody drives it: coordinator resume {view['saga']}")
    if needs:
        return "; ".join(needs)
    if view["open_claims"]:
        return "; ".join(_claim_need(claim) for claim in view["open_claims"])
    if view["state"] == "closed_by_operator":
        return f"a person closed it: coordinator show {view['saga']}"
    return "–"


def _pause_need(item: dict[str, Any]) -> str:
    pause = pause_from(item)
    what = "it" if pause.scope == "saga" else pause.what
    return f"{what} is paused by {pause.by} ({pause.reason}): {letting_go(pause)}"


def _claim_need(claim: dict[str, Any]) -> str:
    since = moment(claim["since_ms"])
    burn = f"its burn {short(claim['burn'])} is on its way" if claim["burn"] else "not burnt yet"
    return (
        f"nonce {claim['nonce']} of {claim['account']} on {claim['chain']} is open since {since}, "
        f"{burn}: {claim['command']}"
    )
