"""``coordinator audit export|sign``: settlement bundles, made and signed."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coordinator.cli import exits
from coordinator.cli.mistakes import WrongUsage
from coordinator.cli.options import Options, options_of
from coordinator.cli.text import now_ms
from coordinator.errors import JournalError, KeysError
from coordinator.files import read_file, write_file
from coordinator.service import find_saga

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coordinator.config import Config
    from coordinator.export import Exported
    from coordinator.journal.base import CheckpointRow, Record
    from coordinator.journal.reading import JournalReader

__all__ = ["export", "sign"]

_MAX_NOTE = 1 << 17


def export(
    context: typer.Context,
    saga: Annotated[str, typer.Argument(help="Id, its beginning or its end.")],
    out: Annotated[
        Path | None,
        typer.Option(help="File, packed if its name ends so; default: SAGA.bundle.json.gz here."),
    ] = None,
    since_checkpoint: Annotated[
        str | None,
        typer.Option(help="A checkpoint that the reader holds: a file, or its size."),
    ] = None,
    sign: Annotated[
        list[str] | None,
        typer.Option(metavar="ROLE=SIGNER", help="Sign as a participant; repeatable."),
    ] = None,
) -> None:
    """Write the settlement bundle of a saga: what a stranger needs to verify it offline.

    Reads the journal only and holds no secrets. Signatures of an earlier export to the same file
    are kept as long as what they sign is the same.
    """
    from coordinator.attest import refusals
    from coordinator.export import export_bundle, kept_signatures
    from proofs.packing import SUFFIX, packed

    options = options_of(context)
    pairs = [_pair(text) for text in sign or ()]
    config = options.load_run()
    reader = options.read_journal()
    name = find_saga(reader, saga)
    target = out or Path(f"{name}.bundle.json{SUFFIX}")
    records = reader.read(f"saga:{name}")
    head, why_not = _head(options, config, reader, records)
    since = _since(reader, since_checkpoint)
    if since is not None and head is None:
        raise WrongUsage(f"--since-checkpoint needs a signed head: {why_not}. Nothing was written.")
    made = export_bundle(reader, name, head, since=since)
    kept = kept_signatures(_former(target), target, name, made.payload) if target.exists() else []
    if kept:
        made = export_bundle(reader, name, head, since=since, signatures=kept)
    raw = made.raw
    for role, signer in pairs:
        raw = _signed(options, config, raw, role, signer)
    if target.suffix == SUFFIX:
        raw = packed(raw)
    write_file(target, raw, "the bundle")
    roles = sorted({entry["role"] for entry in kept} | {role for role, _ in pairs})
    wrong = refusals(raw)
    _tell_export(options, name, target, made, len(raw), roles, why_not, since, wrong)
    if wrong:
        options.out.warn(
            f"✗ {target} was written and does not verify: {wrong[0]}. What the journal holds is "
            f"not what it should be: coordinator audit verify {name}"
        )
        raise typer.Exit(exits.UNVERIFIED)


def _pair(text: str) -> tuple[str, str]:
    role, gap, signer = text.partition("=")
    if not (role and gap and signer):
        raise WrongUsage(f"--sign {text!r} is not ROLE=SIGNER. Nothing was written.")
    return role, signer


def _head(
    options: Options, config: "Config", reader: "JournalReader", records: "Sequence[Record]"
) -> tuple["CheckpointRow | None", str]:
    """Return a signed head that covers the records, made now if need be; or why there is none."""
    from coordinator.export import covering_head
    from coordinator.journal.age import confirm_latest

    head = covering_head(reader, records)
    if head is not None:
        return head, ""
    if config.log is None:
        return None, "chains.toml has no [log], so nothing is signed"
    from coordinator.app import passphrases_for
    from coordinator.notary import open_notary

    passphrases = passphrases_for(config, interactive=not options.no_input)
    try:
        confirm_latest(reader, config.witness_path)
        notary = open_notary(config, passphrases, now_ms=now_ms)
    except (KeysError, JournalError) as error:
        return None, f"no checkpoint covers it yet, and none could be signed: {error}"
    assert notary is not None
    notary.start()
    troubles = notary.stop()
    head = covering_head(reader, records)
    return head, "; ".join(notice.reason for notice in troubles)


def _since(reader: "JournalReader", text: str | None) -> int | None:
    if text is None:
        return None
    if text.isascii() and text.isdigit() and len(text) < 16:
        if not 1 <= int(text) <= reader.last_position():
            raise WrongUsage(
                f"--since-checkpoint {text}: this journal has {reader.last_position()} records. "
                "Nothing was written."
            )
        return int(text)
    from coordinator.export import older_head

    return older_head(reader, read_file(Path(text), "the checkpoint", most=_MAX_NOTE))


def _former(target: Path) -> bytes:
    from proofs.bundle_form import MAX_BYTES

    return read_file(target, "the earlier bundle", most=MAX_BYTES)


def _signed(options: Options, config: "Config", raw: bytes, role: str, signer: str) -> bytes:
    from coordinator.app import passphrases_for
    from coordinator.attest import attest

    passphrases = passphrases_for(config, interactive=not options.no_input)
    return attest(raw, role, signer, config, passphrases).raw


def _tell_export(
    options: Options,
    saga: str,
    target: Path,
    made: "Exported",
    size: int,
    roles: list[str],
    why_not: str,
    since: int | None,
    wrong: list[str],
) -> None:
    named: Any = made.payload["participants"]
    missing = sorted(set(named) - set(roles))
    options.out.document(
        {
            "v": 1,
            "type": "bundle",
            "path": str(target),
            "saga": saga,
            "outcome": made.payload["outcome"],
            "bytes": size,
            "records": made.records,
            "proofs": made.proofs,
            "unproved": [
                {"step": step, "dir": direction, "reason": reason}
                for step, direction, reason in made.unproved
            ],
            "log": {"size": made.head, "since": since, "none": why_not or None},
            "signed": roles,
            "unsigned": missing,
            "refused": wrong,
        }
    )
    out = options.out
    mark = "✗" if wrong else "✓"
    head = f"under the log's head of {made.head} records" if made.head else "tied to no log"
    out.data(
        f"{mark} {target}: saga {saga} {made.payload['outcome']}, {size} bytes, "
        f"{made.records} records, {made.proofs} proofs, {head}"
    )
    for step, direction, reason in made.unproved:
        out.say(f"no evidence for {step} {direction}: {reason}")
    if why_not:
        out.say(f"no log part: {why_not}")
    for role in missing:
        out.say(f"not signed by {role}: coordinator audit sign {target} --role {role} --signer …")
    if made.payload["outcome"] == "open":
        out.say("the saga has not ended: this bundle shows it as far as it has come")
    out.say(f"verify it: coordinator verify {target} --trust FILE")


def sign(
    context: typer.Context,
    bundle: Annotated[Path, typer.Argument(help="The exported file; it is replaced.")],
    role: Annotated[str, typer.Option(help="A participant of the plan.")],
    signer: Annotated[str, typer.Option(help="A signer of chains.toml, of kind ethereum.")],
) -> None:
    """Sign a settlement bundle as one of the participants that its plan names (EIP-712).

    What does not verify is not signed. Sends nothing.
    """
    from coordinator.app import passphrases_for
    from coordinator.attest import attest
    from proofs.bundle_form import MAX_BYTES

    options = options_of(context)
    config = options.load()
    raw = read_file(bundle, "the bundle", most=MAX_BYTES)
    passphrases = passphrases_for(config, interactive=not options.no_input)
    made = attest(raw, role, signer, config, passphrases)
    if made.fresh:
        write_file(bundle, made.raw, "the bundle")
    options.out.document(
        {
            "v": 1,
            "type": "signed",
            "path": str(bundle),
            "saga": made.saga,
            "outcome": made.outcome,
            "role": made.role,
            "address": made.address,
            "fresh": made.fresh,
        }
    )
    done = "signed" if made.fresh else "was signed already"
    options.out.data(f"✓ {bundle} {done} as {role} by 0x{made.address}: {made.outcome}")
