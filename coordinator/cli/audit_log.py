"""``coordinator audit prove|range|rotate``: the audit log as a tree under signed heads."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coordinator.cli.mistakes import WrongUsage
from coordinator.cli.options import Options, options_of
from coordinator.cli.text import now_ms
from coordinator.errors import ConfigError
from coordinator.files import write_file
from coordinator.service import find_saga

if TYPE_CHECKING:
    from coordinator.journal.base import Record
    from coordinator.journal.reading import JournalReader

__all__ = ["prove", "range_", "rotate"]

_MAX_POSITION_DIGITS = 15


def prove(
    context: typer.Context,
    what: Annotated[
        str, typer.Argument(metavar="SAGA|POSITION", help="A record, or a saga's last record.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="Write the proof (ledger.rfc6962/v1) to this file.")
    ] = None,
) -> None:
    """Prove that a record is in the log, under the newest signed head.

    The proof is canonical JSON and says nothing by itself: check it against a head whose signature
    you trust. Reads the journal only.
    """
    from coordinator.journal import tree
    from proofs import canonical
    from proofs.log_record import build_record, verify_record

    options = options_of(context)
    config = options.load_run()
    reader = options.read_journal()
    record = _record(reader, what)
    head = reader.last_checkpoint()
    if head is None or head.size < record.position:
        missing = "chains.toml has no [log]" if config.log is None else "none is signed yet"
        raise WrongUsage(
            f"no signed head covers position {record.position}: {missing}. Nothing was written. "
            "Heads are signed by whoever drives sagas, and by: coordinator audit export"
        )
    path = tree.inclusion(reader, record.position - 1, head.size)
    proof = build_record(record.body, record.position - 1, head.size, path)
    # What the journal says of itself is checked before it is handed on.
    verify_record(proof, size=head.size, root=head.root)
    raw = canonical.encode(proof)
    if out is not None:
        write_file(out, raw, "the proof")
    note = head.note.decode()
    options.out.document(
        {
            "v": 1,
            "type": "inclusion",
            "position": record.position,
            "stream": record.stream,
            "seq": record.seq,
            "kind": record.kind,
            "hash": record.hash,
            "proof": proof,
            "checkpoint": note,
            "path": None if out is None else str(out),
        }
    )
    where = f"record {record.seq} of {record.stream} ({record.kind})"
    options.out.data(
        f"✓ {where} is leaf {record.position - 1} of {head.size}, {len(path)} hashes"
        + (f": {out}" if out is not None else f"\n{raw.decode()}")
        + f"\n\n{note.rstrip()}"
    )


def _record(reader: "JournalReader", what: str) -> "Record":
    if what.isascii() and what.isdigit() and len(what) <= _MAX_POSITION_DIGITS:
        record = reader.record_at(int(what))
        if record is None:
            raise WrongUsage(
                f"there is no position {what}: the journal holds 1 to {reader.last_position()}."
            )
        return record
    return reader.read(f"saga:{find_saga(reader, what)}")[-1]


def range_(
    context: typer.Context,
    *,
    first: Annotated[int, typer.Option("--from", min=1, help="First position.")] = 1,
    last: Annotated[
        int | None, typer.Option("--to", min=1, help="Last position; default: the newest.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="A new folder for the files.")] = None,
    verify: Annotated[
        Path | None, typer.Option("--verify", help="Verify such a folder instead, offline.")
    ] = None,
    trust: Annotated[
        Path | None, typer.Option(help="With --verify: the trust file that names the log.")
    ] = None,
) -> None:
    """Write a range of the log byte for byte (a line is a leaf), or verify such a folder.

    Verifying needs no configuration, journal or network; it ends with 0, with 40 if something is
    wrong, with 41 if the trust file does not cover it.
    """
    options = options_of(context)
    if (out is None) == (verify is None):
        raise WrongUsage("name a folder to write (--out) or to verify (--verify), one of both.")
    if verify is not None:
        raise typer.Exit(_verify(options, verify, trust))
    if trust is not None:
        raise WrongUsage("--trust goes with --verify. Nothing was written.")
    assert out is not None
    from coordinator.log_range import write_range

    made = write_range(options.read_journal(), first, last, out)
    options.out.document(
        {
            "v": 1,
            "type": "range",
            "path": str(out),
            "first": made.first,
            "last": made.last,
            "head": made.head,
            "bytes": made.size_bytes,
        }
    )
    head = f"under the head of {made.head} records" if made.head else "under no signed head"
    options.out.data(f"✓ {out}: positions {made.first} to {made.last}, {head}")
    options.out.say(f"verify it: coordinator audit range --verify {out} --trust FILE")


def _verify(options: Options, folder: Path, trust: Path | None) -> int:
    from coordinator.log_range_check import check_range
    from coordinator.trust_file import read_trust_file

    known = None if trust is None else read_trust_file(trust)[0].log
    verdict = check_range(folder, known)
    words = {0: "valid", 40: "invalid", 41: "undecided"}
    lines = [{"name": x.name, "status": x.status, "text": x.text} for x in verdict.lines]
    options.out.document(
        {
            "v": 1,
            "type": "range_verdict",
            "path": str(folder),
            "verdict": words[verdict.exit_code],
            "exit": verdict.exit_code,
            "checks": lines,
        }
    )
    marks = {"passed": "✓", "failed": "✗"}
    for line in verdict.lines:
        options.out.data(f"{marks.get(line.status, '?')} {line.name}: {line.text}")
    options.out.data(words[verdict.exit_code].upper())
    return verdict.exit_code


def rotate(
    context: typer.Context,
    to: Annotated[str, typer.Option(help="The signer of chains.toml that takes over.")],
) -> None:
    """Hand the log's signing over to another key; both keys sign, and the log records it.

    Afterwards [log] key in chains.toml has to name the new signer. Sends nothing.
    """
    from coordinator.app import passphrases_for
    from coordinator.notary import rotate as hand_over

    options = options_of(context)
    config = options.load_run()
    if config.log is None:
        raise ConfigError(f"{config.path} has no [log]: there is no key to rotate.")
    if to == config.log.key:
        raise WrongUsage(f"--to {to} is the log's key already. Nothing was recorded.")
    passphrases = passphrases_for(config, interactive=not options.no_input)
    record = hand_over(config, passphrases, to, now_ms=now_ms())
    note: Any = record.data["note"]
    options.out.document(
        {
            "v": 1,
            "type": "rotated",
            "position": record.position,
            "from": config.log.key,
            "to": to,
            "note": note,
        }
    )
    options.out.data(f"✓ record {record.position}: the log's key is now that of {to}\n\n{note}")
    options.out.warn(
        f'now write key = "{to}" under [log] in {config.path}; until then nothing is signed, and '
        "services that run have to be started again"
    )
