"""``coordinator verify``: a settlement bundle, offline, with the verifier's own trust file."""

from pathlib import Path
from typing import Annotated

import typer

from coordinator.cli.options import options_of
from coordinator.files import read_file

app = typer.Typer(add_completion=False)


@app.command()
def verify(
    context: typer.Context,
    bundle: Annotated[Path, typer.Argument(help="The exported file.")],
    trust: Annotated[
        Path | None, typer.Option(help="Whom and what you believe; see proofs/README.md.")
    ] = None,
) -> None:
    """Verify a settlement bundle: every check, passed, failed or not verified.

    Needs no configuration, journal or network; the same as python -m proofs. Ends with 0, with 40
    if a check failed, with 41 if the trust file does not cover everything.
    """
    from coordinator.trust_file import read_trust_file
    from proofs.bundle import verify_bundle
    from proofs.bundle_form import MAX_BYTES
    from proofs.command import text_of

    options = options_of(context)
    # One byte more than a bundle may have is enough for its verifier to say so.
    raw = read_file(bundle, "the bundle", most=4 * MAX_BYTES)
    known = None if trust is None else read_trust_file(trust)[0]
    report = verify_bundle(raw, known)
    options.out.document(report.json())
    options.out.data(text_of(report).rstrip("\n"))
    raise typer.Exit(report.exit_code)
