"""``coordinator report``: one page about one saga, for people who were not there."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from coordinator.cli import exits
from coordinator.cli.mistakes import WrongUsage
from coordinator.cli.options import options_of
from coordinator.errors import CoordinatorError
from coordinator.files import read_file, write_file
from coordinator.journal.derive import OPERATOR_STREAM
from coordinator.report import facts_of, render_html, render_markdown, verification_of
from coordinator.service import find_saga

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coordinator.journal.base import Record
    from coordinator.report import Verification

app = typer.Typer(add_completion=False)

_FORMATS: Final = {"html": render_html, "md": render_markdown}
_SUFFIXES: Final = {".html": "html", ".htm": "html"}
#: Exit code of a verdict that is not "valid".
_VERDICTS: Final = {"invalid": exits.UNVERIFIED, "undecided": exits.UNDECIDED}


class AnotherLog(CoordinatorError):
    """Bundle and journal contradict each other; nothing was written or sent."""

    exit_code = exits.UNVERIFIED


@app.command()
def report(
    context: typer.Context,
    saga: Annotated[str, typer.Argument(help="Id, its beginning or its end.")],
    *,
    out: Annotated[Path | None, typer.Option(help="Write the page to this file.")] = None,
    format_: Annotated[
        str | None,
        typer.Option("--format", help="html or md; default: by the file's name, else md."),
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option(help="Verify this settlement bundle and say the result.")
    ] = None,
    trust: Annotated[
        Path | None, typer.Option(help="What you trust: trust.json of the verifier.")
    ] = None,
) -> None:
    """Write a saga's report from its records alone: verdict, timeline, value, steps, open items.

    Reads the journal only. With --bundle it also says what verifies and what does not, and ends
    with 40 or 41 when something does not.
    """
    options = options_of(context)
    form = _form(format_, out)
    if options.json and out is None:
        raise WrongUsage(
            "a report is for people: --json needs --out FILE, or see: coordinator show --json SAGA"
        )
    if form == "html" and out is None and sys.stdout.isatty():
        raise WrongUsage("HTML is not for a terminal: name a file with --out FILE.")
    if trust is not None and bundle is None:
        raise WrongUsage("--trust says what to verify a bundle with: name it with --bundle.")
    reader = options.read_journal()
    name = find_saga(reader, saga)
    records = reader.read(f"saga:{name}")
    verification = None if bundle is None else _verified(bundle, trust, records)
    facts = facts_of(records, verification, reader.read(OPERATOR_STREAM))
    page = _FORMATS[form](facts)
    if out is None:
        sys.stdout.write(page)
    else:
        write_file(out, page.encode(), "the report")
        options.out.say(f"wrote {out}")
    options.out.document(
        {
            "v": 1,
            "type": "report",
            "saga": name,
            "state": facts.state,
            "format": form,
            "path": str(out),
            "records": facts.records,
            "head": facts.head,
            "open_items": len(facts.open_items),
            "verification": None if verification is None else verification.verdict,
        }
    )
    if verification is not None and verification.verdict in _VERDICTS:
        raise typer.Exit(_VERDICTS[verification.verdict])


def _form(asked: str | None, out: Path | None) -> str:
    if asked is None:
        return _SUFFIXES.get(out.suffix.lower(), "md") if out is not None else "md"
    if asked not in _FORMATS:
        raise WrongUsage(f"--format {asked!r} is none of {', '.join(_FORMATS)}.")
    return asked


def _verified(bundle: Path, trust: Path | None, records: "Sequence[Record]") -> "Verification":
    """Verify a bundle as a stranger would, and see that it is about these records.

    Raises:
        WrongUsage: it is the bundle of another saga.
        AnotherLog: bundle and journal contradict each other.
    """
    from coordinator.trust_file import read_trust_file
    from proofs.bundle import verify_bundle
    from proofs.bundle_form import MAX_BYTES, read_bundle

    raw = read_file(bundle, "the bundle", most=4 * MAX_BYTES)
    found = verification_of(
        verify_bundle(raw, None if trust is None else read_trust_file(trust)[0])
    )
    saga = records[0].stream.removeprefix("saga:")
    if found.saga and found.saga != saga:
        raise WrongUsage(f"{bundle} is about saga {found.saga}, not {saga}. Nothing was written.")
    if found.records is not None:
        # Its payload was found equal to its records, so that it has this member.
        last = read_bundle(raw).payload["last"]
        if found.records > len(records) or records[found.records - 1].hash != last:
            raise AnotherLog(
                f"{bundle} and the journal are not of one log: record {found.records} of saga "
                f"{saga} is another one there. One of them was changed, or the journal is an old "
                "copy. Nothing was written or sent. See: coordinator audit verify"
            )
    return found
