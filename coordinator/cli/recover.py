"""``coordinator recover``: the way back when the journal is a restored, older one."""

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coordinator.cli import exits
from coordinator.cli.mistakes import WrongUsage
from coordinator.cli.options import Options, options_of

if TYPE_CHECKING:
    from coordinator.config import Config
    from coordinator.journal.reading import JournalReader
    from coordinator.journal.recoveries import Standing
    from coordinator.recovery.recover import Outcome
    from coordinator.recovery.report import Report

app = typer.Typer(add_completion=False)

_GOES_ON = "Go on with: coordinator recover --execute --by NAME --reason TEXT"


@dataclass(frozen=True)
class _Asked:
    by: tuple[str, ...]
    reason: str
    answers: dict[str, str]
    wait_s: float | None
    again: bool


@app.command()
def recover(
    context: typer.Context,
    *,
    execute: Annotated[
        bool, typer.Option("--execute", help="Recover; without it nothing is written or sent.")
    ] = False,
    by: Annotated[
        list[str] | None, typer.Option(help="Who decides; given twice for two persons.")
    ] = None,
    reason: Annotated[str, typer.Option(help="Why; it stands in the audit log.")] = "",
    answer: Annotated[
        list[str] | None,
        typer.Option(metavar="SAGA=WAY", help="Which way a saga went: commit or rollback."),
    ] = None,
    adopt: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SAGA/STEP/DIRECTION=TX", help="What made an effect: a transaction, or none."
        ),
    ] = None,
    accept: Annotated[
        list[str] | None,
        typer.Option(metavar="TX", help="Somebody has looked at it: its account moves again."),
    ] = None,
    wait: Annotated[str | None, typer.Option(help="Leave after 90s, 30m, 2h … (exit 21).")] = None,
    again: Annotated[
        bool,
        typer.Option("--again", help="This backup was recovered before, and that journal is lost."),
    ] = False,
) -> None:
    """Go on from a journal that is older than what this machine has witnessed.

    Without --execute it only says how things stand. With it: burn what the backup knew, wait, read
    what our keys did meanwhile, adopt it, ask what only a person knows. Killed at any moment, the
    same command goes on. Ends with 0, with 20 while a question is open, with 21 after --wait.
    """
    from coordinator.cli.launch import parse_wait

    options = options_of(context)
    persons = tuple({name.strip().casefold(): name.strip() for name in by or []}.values())
    answers = _pairs(answer or [], "--answer SAGA=commit") | _pairs(adopt or [], "--adopt …=TX")
    if (execute or accept) and (not all(persons) or not persons or not reason.strip()):
        raise WrongUsage(
            "a recovery is somebody's decision: give --by NAME and --reason TEXT. Nothing was "
            "recorded and nothing was sent."
        )
    if answers and not execute:
        raise WrongUsage("an answer is given with --execute. Nothing was recorded.")
    asked = _Asked(persons, reason, answers, parse_wait(wait), again)
    try:
        if accept:
            code = asyncio.run(_accept(options, accept, asked))
        else:
            code = asyncio.run(_execute(options, asked) if execute else _report(options))
    except KeyboardInterrupt:
        options.out.warn(
            "interrupted: what was written and sent stays; nothing else runs until the recovery "
            f"is over. {_GOES_ON}"
        )
        code = exits.DETACHED
    raise typer.Exit(code)


def _pairs(texts: list[str], form: str) -> dict[str, str]:
    found = {}
    for text in texts:
        question, gap, value = text.rpartition("=")
        if not (question and gap and value):
            raise WrongUsage(f"{text!r} is not of the form {form}. Nothing was recorded.")
        found[question] = value
    return found


# ---------------------------------------------------------------- looking


async def _report(options: Options) -> int:
    from coordinator.app import LazySecrets, open_adapters, passphrases_for
    from coordinator.clock import HostClock
    from coordinator.errors import CoordinatorError
    from coordinator.journal.reading import open_readonly
    from coordinator.journal.recoveries import standing
    from coordinator.recovery.report import journal_report, report_chains

    config, out = options.load_run(), options.out
    reader = open_readonly(config.journal_path)
    try:
        report = journal_report(reader, standing(reader, config.witness_path))
        passphrases = passphrases_for(config, interactive=not options.no_input)
        failure = None
        try:
            async with open_adapters(
                config, _chains(config), passphrases=passphrases, sign=False
            ) as adapters:
                secrets = LazySecrets(config, passphrases)
                await report_chains(report, reader, adapters, secrets, HostClock())
        except CoordinatorError as error:
            failure = error
        _tell(options, report)
        if failure is not None:
            out.warn(f"the chains could not be read: {failure}")
            return failure.exit_code
        return exits.DONE
    finally:
        reader.shut()


def _chains(config: "Config") -> set[str]:
    return {name for name, chain in config.chains.items() if chain.enabled}


def _tell(options: Options, report: "Report") -> None:
    out, stand = options.out, report.standing
    out.document(report.view())
    out.data(f"journal: {stand.text}")
    out.data(f"it ends at position {report.position}{_reached(report)}")
    for state in report.sagas:
        out.data(f"open saga {state.saga}  {state.name}  {state.state}")
    if report.surveys is not None:
        read = ", ".join(
            f"{chain} {survey.since}–{survey.height}"
            for chain, survey in sorted(report.surveys.items())
        )
        out.data(f"blocks read: {read}")
        for item in report.found:
            movement = item.movement
            what = "an open saga's" if item.explained else "explained by nothing"
            out.data(f"{item.chain} {movement.tx_id} in block {movement.height}: {what}")
            for text in movement.texts:
                out.data(f"  {text}")
        if not report.found:
            out.data("our keys did nothing that this journal does not know of")
    for held in report.halted:
        out.data(
            f"stands still: {', '.join(held.accounts) or 'nobody'} on {held.chain}, for {held.tx}"
        )
    out.say(_next(report))


def _reached(report: "Report") -> str:
    seen = report.standing.witnessed
    if seen is None:
        return "; what was reached is not known"
    lost = f": at least {report.missing} records are lost" if report.missing else ""
    return f", position {seen.position} was witnessed{lost}"


def _next(report: "Report") -> str:
    kind = report.standing.kind
    if kind in ("old", "unwitnessed"):
        return (
            "nothing was sent. Is there a newer journal (its -wal file belongs to it)? Put that "
            "back. If there is none: coordinator recover --execute --by NAME --reason TEXT"
        )
    if kind in ("forked", "under way"):
        return f"nothing was sent by this call; the recovery is not over. {_GOES_ON}"
    if kind == "superseded":
        return (
            "nothing was sent. Put the recovered journal back and resume that one. Only if it is "
            "lost as well: coordinator recover --execute --again --by NAME --reason TEXT"
        )
    if kind == "foreign":
        return "nothing was sent. The second place is another journal's: mend [journal] witness"
    if report.halted:
        from coordinator.unexplained import accepting

        return f"nothing was sent. Once somebody has looked: {accepting(report.halted[0].tx)}"
    return "nothing was sent; there is nothing to recover"


# ---------------------------------------------------------------- recovering


async def _execute(options: Options, asked: _Asked) -> int:
    from coordinator.app import LazySecrets, open_adapters, passphrases_for, preimage_folder
    from coordinator.clock import HostClock
    from coordinator.delivery import FileDelivery
    from coordinator.journal.reading import open_readonly
    from coordinator.journal.recoveries import finish_fork, standing, under_way
    from coordinator.journal.sqlite import SqliteJournal
    from coordinator.recovery.ground import Ground
    from coordinator.recovery.recover import note_answers, recover, surveyors_of
    from coordinator.runner import Runner
    from coordinator.signers import forbid_core_dumps

    forbid_core_dumps()
    config, out = options.load_run(), options.out
    passphrases = passphrases_for(config, interactive=not options.no_input)
    reader = open_readonly(config.journal_path)
    try:
        stand = standing(reader, config.witness_path)
        done = _refuse(stand, asked)
        if done is not None:
            out.say(done)
            return exits.DONE
        async with open_adapters(
            config, _chains(config), passphrases=passphrases, sign=True
        ) as adapters:
            surveyors = surveyors_of(adapters)
            # One that was restored in the middle of its recovery begins another.
            begun = under_way(reader) if stand.kind in ("forked", "under way") else None
            if begun is None:
                begun = await _begin(options, config, reader, adapters, surveyors, asked)
            if stand.kind != "under way":
                finish_fork(config.witness_path, begun)
            journal = SqliteJournal(config.journal_path, config.witness_path, recovering=True)
            try:
                await note_answers(journal, asked.answers, by=asked.by, reason=asked.reason)
                runner = Runner(
                    journal=journal, adapters=adapters, secrets=LazySecrets(config, passphrases),
                    clock=HostClock(), instance="recover",
                    deliver=FileDelivery(preimage_folder(config)),
                )  # fmt: skip
                ground = Ground(runner, journal, surveyors, begun, out.say)
                try:
                    async with asyncio.timeout(asked.wait_s):
                        outcome = await recover(ground, by=asked.by, reason=asked.reason)
                except TimeoutError:
                    out.warn(
                        "--wait is over and the recovery is not; nothing else runs until it is. "
                        f"{_GOES_ON}"
                    )
                    return exits.ELAPSED
            finally:
                await journal.close()
    finally:
        reader.shut()
    return _told(options, outcome)


def _refuse(stand: "Standing", asked: _Asked) -> str | None:
    """Return what to say where there is nothing to do.

    Raises:
        JournalOld: a recovery would make two histories of one.
    """
    from coordinator.errors import JournalOld

    if stand.kind == "latest":
        return f"nothing was sent: {stand.text}; there is nothing to recover"
    if stand.kind == "foreign":
        raise JournalOld(
            f"{stand.text}, and no recovery connects the two. Nothing was sent. Mend [journal] in "
            "chains.toml."
        )
    if stand.kind == "superseded" and not asked.again:
        raise JournalOld(
            f"{stand.text} Nothing was sent. Only if the recovered journal is lost as well, begin "
            "from this one once more with --again."
        )
    return None


async def _begin(
    options: Options,
    config: "Config",
    reader: "JournalReader",
    adapters: Any,
    surveyors: Any,
    asked: _Asked,
) -> Any:
    """Write the first record of a recovery."""
    from coordinator.journal.age import require_elsewhere
    from coordinator.journal.recoveries import begin
    from coordinator.recovery.recover import heights_of

    require_elsewhere(config.journal_path, config.witness_path)
    chains = await heights_of(reader, adapters, surveyors)
    facts = {"chains": chains, "by": list(asked.by), "reason": asked.reason}
    record = begin(
        config.journal_path, config.witness_path, reader, facts,
        at_ms=time.time_ns() // 1_000_000,
    )  # fmt: skip
    options.out.say(
        f"recovery {record.data['epoch']} of this journal begins from position "
        f"{record.data['position']}; it is journal {record.data['journal']} from here on"
    )
    return record


def _told(options: Options, outcome: "Outcome") -> int:
    out = options.out
    value = {
        "v": 1,
        "type": "recovered",
        "over": not outcome.questions,
        "sagas": {saga: {"way": w.kind, "why": w.why} for saga, w in outcome.ways.items()},
        "questions": [
            {"question": q.name, "text": q.text, "commands": [list(c) for c in q.commands]}
            for q in outcome.questions
        ],
        "unexplained": [
            {"chain": u.chain, "tx": u.tx, "accounts": list(u.accounts), "texts": list(u.texts)}
            for u in outcome.unexplained
        ],
    }
    out.document(value)
    for saga, way in outcome.ways.items():
        out.data(f"saga {saga}: {way.kind}: {way.why}")
    for item in outcome.unexplained:
        out.data(f"unexplained on {item.chain}: {item.tx} in block {item.height}")
        for text in item.texts:
            out.data(f"  {text}")
    for question in outcome.questions:
        out.warn(question.text)
        for command, meaning in question.commands:
            out.warn(f"  {command}   ({meaning})")
    if outcome.questions:
        out.warn(
            f"{len(outcome.questions)} questions only a person can answer; nothing else runs until "
            f"then. {_GOES_ON}, with the options above"
        )
        return exits.STUCK
    if outcome.unexplained:
        out.warn(
            "accounts that signed what nothing explains stand still for new sagas. A plan that was "
            "started after the backup is not known any more: starting it again would do it twice. "
            "Once somebody has looked: coordinator recover --accept TX --by NAME --reason TEXT"
        )
    out.say("recovered. Go on with: coordinator resume --all")
    return exits.DONE


# ---------------------------------------------------------------- accepting


async def _accept(options: Options, txs: list[str], asked: _Asked) -> int:
    from coordinator.app import open_journal
    from coordinator.recovery.recover import accept

    journal = open_journal(options.load_run())
    try:
        chosen = await accept(journal, txs, by=asked.by, reason=asked.reason)
    finally:
        await journal.close()
    value = {"v": 1, "type": "accepted", "txs": [[item.chain, item.tx] for item in chosen]}
    options.out.document(value)
    for item in chosen:
        options.out.data(f"accepted: {item.tx} on {item.chain}")
    options.out.say("recorded; nothing was sent. Their accounts take part in new sagas again")
    return exits.DONE
