"""``coordinator audit watch``: follow the signed heads of the log and alarm on what may not be."""

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coordinator.cli import exits
from coordinator.cli.arguments import parse_address, parse_command
from coordinator.cli.log_head import key_history_of
from coordinator.cli.mistakes import WrongUsage
from coordinator.cli.options import Options, options_of
from coordinator.cli.text import clock, now_ms
from coordinator.errors import ConfigError

if TYPE_CHECKING:
    from coordinator.alarm import Alarm
    from coordinator.config import Config
    from coordinator.monitor import Alarmed, Look, Seen

__all__ = ["watch"]


def watch(
    context: typer.Context,
    *,
    state: Annotated[
        Path, typer.Option(help="Remembers the last head seen; keep it on another machine's disk.")
    ] = Path("audit-watch.json"),
    once: Annotated[bool, typer.Option("--once", help="Look once and end.")] = False,
    every: Annotated[int, typer.Option(min=1, help="Seconds between two looks.")] = 30,
    address: Annotated[
        str | None, typer.Option(help="Address of the log's first key, when nothing was seen yet.")
    ] = None,
    on_alarm: Annotated[
        str | None, typer.Option(metavar="CMD", help="Run this for every alarm; no shell.")
    ] = None,
) -> None:
    """Verify each signed head of the log against the one before it; alarm on what is wrong.

    A fork, a log that shrank, a wrong signature or damage ends it with 40; silence beyond two
    heartbeats alarms and goes on (with --once: 40). Reads the journal and the second place only.
    """
    options = options_of(context)
    command = parse_command("--on-alarm", on_alarm)
    first = None if address is None else parse_address("--address", address)
    config = options.load_run()
    if config.log is None:
        raise ConfigError(
            f"{config.path} has no [log], so no head is ever signed and there is nothing to "
            "follow. Give the log a key of its own: coordinator keys add log --kind ethereum"
        )
    from coordinator.alarm import Alarm

    alarm = Alarm(command, options.out.warn)
    try:
        code = _follow(options, config, state, first, alarm, None if once else every)
    except KeyboardInterrupt:
        options.out.say("stopped watching")
        code = exits.DETACHED
    finally:
        alarm.drain()
    raise typer.Exit(code)


def _follow(
    options: Options,
    config: "Config",
    state: Path,
    address: bytes | None,
    alarm: "Alarm",
    every_s: int | None,
) -> int:
    from coordinator.journal.published import published_path
    from coordinator.monitor import look, write_state

    assert config.log is not None
    reader = options.read_journal()
    seen = _remembered(options, config, state, address)
    published = published_path(config.witness_path)
    told: tuple[Alarmed, ...] = ()
    pause = threading.Event()
    while True:
        found = look(reader, published, seen, heartbeat_s=config.log.heartbeat_s, now_ms=now_ms())
        if found.seen != seen or not state.exists():
            write_state(state, found.seen)
        _tell(options, seen, found, told, alarm)
        seen, told = found.seen, found.alarms
        if any(one.final for one in found.alarms):
            return exits.UNVERIFIED
        if every_s is None:
            return _code_of(found)
        # Other processes write the files: there is nothing to wait on but time.
        pause.wait(every_s)


def _code_of(found: "Look") -> int:
    if found.alarms:
        return exits.UNVERIFIED
    return exits.DONE if found.seen.size else exits.UNDECIDED


def _remembered(options: Options, config: "Config", state: Path, address: bytes | None) -> "Seen":
    """Return what was seen last; at the first look the log's origin and first key are taken over.

    Raises:
        WrongUsage: the state is of another log, or nobody says which key is the log's.
    """
    from coordinator.monitor import Seen, read_state

    assert config.log is not None
    seen = read_state(state)
    if seen is None:
        if address is None:
            history = key_history_of(config, options.read_journal())
            if history is None:
                raise WrongUsage(
                    "nothing was signed yet, and the log's key does not say its address. Nothing "
                    "was watched. Name it: --address"
                )
            address = history.first
            options.out.say(
                f"first look: the log's first key is taken to be 0x{address.hex()}; compare it "
                "with what the operator published"
            )
        return Seen(config.log.origin, address)
    if seen.origin != config.log.origin or address not in (None, seen.address):
        raise WrongUsage(
            f"{state} remembers the log {seen.origin} of 0x{seen.address.hex()}, which is another "
            "one. Nothing was watched. Name another --state."
        )
    return seen


def _tell(
    options: Options,
    before: "Seen",
    found: "Look",
    told: "tuple[Alarmed, ...]",
    alarm: "Alarm",
) -> None:
    from coordinator.alarm import Notice

    out, after = options.out, found.seen
    out.line(
        {
            "v": 1,
            "type": "head",
            "at_ms": now_ms(),
            "origin": after.origin,
            "size": after.size,
            "root": after.root.hex(),
            "signed_ms": after.at_ms,
            "since": before.size,
            "alarms": [{"kind": one.kind, "text": one.text} for one in found.alarms],
        }
    )
    if not found.alarms and (after.size != before.size or not before.size):
        grown = f"it holds the {before.size} seen before" if before.size else "nothing seen before"
        size = f"head of {after.size} records, signature good, {grown}"
        out.data(f"{clock(now_ms())} {size if after.size else 'no head is signed yet'}")
    elif not found.alarms:
        out.data(f"{clock(now_ms())} still the head of {after.size} records")
    for one in found.alarms:
        if one in told:
            continue
        out.warn(f"ALARM {one.kind}: {one.text}")
        question = "keep the state file and your copies, and see: coordinator audit verify"
        alarm.tell(Notice("audit-log", one.kind, one.text, question))
