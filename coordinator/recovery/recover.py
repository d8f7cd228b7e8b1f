"""One recovery from beginning to end; killed anywhere, the same call goes on."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from adapters.base import Adapter
from adapters.survey import Survey, Surveyable, Surveyor
from coordinator.errors import ConfigError, Conflict, Fenced, PreflightError
from coordinator.journal.base import Entry, Journal
from coordinator.journal.derive import OPERATOR_STREAM
from coordinator.journal.reading import JournalReader
from coordinator.operator_stream import Unexplained, fold_operator
from coordinator.recovery.burning import burn_known, clear_lines
from coordinator.recovery.ground import Ground
from coordinator.recovery.settling import Question, Settler, named_effects
from coordinator.recovery.surveying import names_of_sagas, unknown
from coordinator.recovery.table import Way
from coordinator.unexplained import unexplained_entry

__all__ = [
    "Outcome",
    "accept",
    "heights_of",
    "note_answers",
    "recover",
    "surveyors_of",
]

#: A chain that the backup never used is read from so long before its last record.
_MARGIN_S = 2 * 3600
_TRIES = 8


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run of the recovery came to; with questions it is not over.

    Attributes:
        ways: saga → what becomes of it.
        unexplained: what nobody has accepted yet.
    """

    questions: Sequence[Question]
    ways: Mapping[str, Way]
    unexplained: Sequence[Unexplained]


def surveyors_of(adapters: Mapping[str, Adapter]) -> dict[str, Surveyor]:
    """Return a surveyor for every chain.

    Raises:
        ConfigError: a chain can not be surveyed.
    """
    found: dict[str, Surveyor] = {}
    for chain, adapter in adapters.items():
        if not isinstance(adapter, Surveyable):
            raise ConfigError(
                f"chain {chain} can not be searched for what our keys did; nothing was sent. "
                "Disable it in chains.toml only if no key of ours was ever used there."
            )
        found[chain] = adapter.surveyor()
    return found


async def heights_of(
    reader: JournalReader, adapters: Mapping[str, Adapter], surveyors: Mapping[str, Surveyor]
) -> dict[str, dict[str, int]]:
    """Return, for each chain, from where it is read and where it is now.

    What is lost was prepared after the newest height that the backup knows of a chain; a chain that
    it never used is read from some hours before its last record.

    Raises:
        PreflightError: the backup is empty, so nothing says from where.
    """
    known: dict[str, int] = {}
    last_s = 0
    for record in reader.records():
        last_s = max(last_s, record.at_ms // 1000)
        for chain, height in _told(record.kind, record.data):
            known[chain] = max(known.get(chain, 0), height)
    if not last_s:
        raise PreflightError(
            "this backup has no record at all: it says neither what was done nor since when. "
            "Nothing was sent. Use another backup, or new keys and a new journal."
        )
    found = {}
    for chain, adapter in adapters.items():
        if chain in known:
            since = known[chain] - int(adapter.terms()["finality_blocks"])
        else:
            since = await surveyors[chain].height_at(last_s - _MARGIN_S)
        # What a recovery that never came to its end would have read is still to be read.
        since = min([since, *_unread(reader, chain)])
        found[chain] = {"since": max(since, 0), "height": adapter.clock().height}
    return found


def _unread(reader: JournalReader, chain: str) -> list[int]:
    """Return from where each recovery since the last that came to its end would have read."""
    heights: list[int] = []
    for record in reader.read(OPERATOR_STREAM):
        if record.kind == "recovered":
            heights = []
        elif record.kind == "recovery" and chain in record.data["chains"]:
            heights.append(int(record.data["chains"][chain]["since"]))
    return heights


def _told(kind: str, data: Mapping[str, Any]) -> Iterable[tuple[str, int]]:
    if kind == "started":
        return [(chain, int(clock["height"])) for chain, clock in data["clocks"].items()]
    if kind == "intent":
        return [(data["chain"], int(data["since"]))]
    return ()


async def recover(ground: Ground, *, by: Sequence[str], reason: str) -> Outcome:
    """Burn, wait, survey, settle; write ``recovered`` when no question is open.

    Raises:
        PreflightError: an answer does not fit what the chains show.
        JournalBroken: the journal failed; nothing new was sent after that.
    """
    missing = {c for live in ground.sagas.values() for c in live.state.chains} - set(
        ground.adapters
    )
    if missing:
        raise PreflightError(
            f"open sagas need {', '.join(sorted(missing))}, which this configuration does not "
            "open. Nothing was sent. Put these chains into chains.toml, then run it again."
        )
    follow = [asyncio.create_task(ground.follow(chain)) for chain in ground.adapters]
    work: asyncio.Task[Outcome] = asyncio.create_task(_steps(ground, by, reason))
    try:
        await asyncio.wait([*follow, work], return_when=asyncio.FIRST_COMPLETED)
        for follower in follow:
            if follower.done():
                follower.result()  # a chain that can not be followed ends the recovery
        return await work
    finally:
        for task in (*follow, work):
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*follow, work, return_exceptions=True)


async def _steps(ground: Ground, by: Sequence[str], reason: str) -> Outcome:
    ground.say("burning what the backup knew and nobody decided")
    await burn_known(ground)
    ground.say("clearing what the lost records may have sent")
    await clear_lines(ground)
    ground.say("reading what our keys did since the backup")
    surveys = await _surveys(ground)
    operator = fold_operator(ground.journal.read(OPERATOR_STREAM))
    settler = Settler(ground, surveys, operator.answers)
    await settler.settle()
    if settler.questions:
        return Outcome(settler.questions, settler.ways, operator.open)
    await _end(ground, surveys, settler.ways, by, reason)
    operator = fold_operator(ground.journal.read(OPERATOR_STREAM))
    return Outcome((), settler.ways, operator.open)


async def _surveys(ground: Ground) -> dict[str, Survey]:
    """Read every chain until all that the journal does not know is final."""
    while True:
        names = names_of_sagas(named_effects(ground.sagas.values(), ground.surveyors))
        surveys = {
            chain: await surveyor.survey(int(ground.begun.data["chains"][chain]["since"]))
            for chain, surveyor in ground.surveyors.items()
        }
        found = unknown(ground.journal, surveys, names)
        if all(item.movement.final for item in found):
            return surveys
        ground.say("waits: what was found on the chains is not final yet")
        await ground.rest()


async def _end(
    ground: Ground,
    surveys: Mapping[str, Survey],
    ways: Mapping[str, Way],
    by: Sequence[str],
    reason: str,
) -> None:
    """Record what nobody explains, and that the recovery is over."""
    journal = ground.journal
    names = names_of_sagas(named_effects(ground.sagas.values(), ground.surveyors))
    found = [
        item
        for item in unknown(journal, surveys, names)
        if not item.explained and item.movement.claim
    ]
    begun, operator = ground.begun.data, fold_operator(journal.read(OPERATOR_STREAM))
    entries = [
        unexplained_entry(journal, item.chain, item.movement, item.movement.names)
        for item in found
        if (item.chain, item.movement.tx_id) not in operator.unexplained
    ]
    kept = ("epoch", "journal", "former", "position", "head", "witnessed", "checkpoint")
    data = {
        **{key: begun[key] for key in kept},
        "by": list(by),
        "reason": reason,
        "sagas": {saga: {"way": way.kind, "why": way.why} for saga, way in ways.items()},
        "unexplained": len(found),
    }
    await journal.append(OPERATOR_STREAM, operator.seq, [*entries, Entry("recovered", data)])


async def note_answers(
    journal: Journal, answers: Mapping[str, str], *, by: Sequence[str], reason: str
) -> None:
    """Record what persons have said; the newest answer to a question counts."""
    if not answers:
        return
    operator = fold_operator(journal.read(OPERATOR_STREAM))
    entries = [
        Entry(
            "answered",
            {"question": question, "answer": answer, "by": list(by), "reason": reason},
        )
        for question, answer in answers.items()
    ]
    await journal.append(OPERATOR_STREAM, operator.seq, entries)


async def accept(
    journal: Journal, txs: Sequence[str], *, by: Sequence[str], reason: str
) -> list[Unexplained]:
    """Record that a person has looked at unexplained transactions (``all``: every one); their
    accounts move again.

    Raises:
        PreflightError: one of them is not among those that are open.
        Conflict: others write to the stream all the time.
    """
    for _ in range(_TRIES):  # a service beside this call writes to the same stream
        operator = fold_operator(journal.read(OPERATOR_STREAM))
        chosen = _chosen(operator.open, txs)
        data = {
            "txs": [[item.chain, item.tx] for item in chosen],
            "by": list(by),
            "reason": reason,
        }
        with suppress(Fenced):
            await journal.append(OPERATOR_STREAM, operator.seq, [Entry("accepted", data)])
            return chosen
    raise Conflict("the operator's stream moves too fast; nothing was recorded, try again.")


def _chosen(waiting: Sequence[Unexplained], txs: Sequence[str]) -> list[Unexplained]:
    by_tx = {item.tx: item for item in waiting}
    unknown_txs = [tx for tx in txs if tx != "all" and tx not in by_tx]
    if unknown_txs or not by_tx:
        raise PreflightError(
            f"{', '.join(unknown_txs) or 'nothing'} is not among the unexplained transactions that "
            f"wait for a person ({', '.join(by_tx) or 'there are none'}). Nothing was recorded."
        )
    return list(by_tx.values()) if "all" in txs else [by_tx[tx] for tx in txs]
