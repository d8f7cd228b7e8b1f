"""``coordinator export-recovery``: what brings a saga's value home without the coordinator."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coordinator.cli.options import options_of
from coordinator.cli.text import now_ms
from coordinator.saga import fold
from coordinator.service import find_saga

if TYPE_CHECKING:
    from coordinator.config import Config

app = typer.Typer(add_completion=False)


@app.command("export-recovery")
def export_recovery(
    context: typer.Context,
    saga: Annotated[str, typer.Argument(help="Id, its beginning or its end.")],
    *,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder to make; default: in the recovery folder."),
    ] = None,
) -> None:
    """Write how each effect that is out is taken back by hand, if all of this were lost.

    For each: where the value is, who can take it and from when on, the unsigned transaction, and
    commands of cast and bitcoin-cli. No private key and no preimage is in it. Refused (exit 11)
    once the commit is decided. Reads the journal only; sends nothing.
    """
    from coordinator.families import recipes_of
    from coordinator.files import make_private_folder
    from coordinator.recovery_export import export_recovery

    options = options_of(context)
    config = options.load_run()
    reader = options.read_journal()
    name = find_saga(reader, saga)
    records = reader.read(f"saga:{name}")
    made = export_recovery(
        fold(records), reader, recipes_of,
        signers=_signers(config), head=records[-1].hash, now_ms=now_ms(),
    )  # fmt: skip
    folder = out or config.recovery_dir / f"{name}-{len(records)}"
    document = json.dumps(made.document, indent=2, sort_keys=True).encode() + b"\n"
    files = {**made.tools, "recovery.json": document, "README.txt": made.text.encode()}
    make_private_folder(folder, files, "the recovery recipes")
    options.out.document({**made.document, "path": str(folder), "files": sorted(files)})
    options.out.data(made.text)
    options.out.say(
        f"wrote {folder} ({', '.join(sorted(files))}), readable by you alone; keep a copy away "
        "from this machine. It is void once the commit is decided"
    )


def _signers(config: "Config") -> dict[str, list[str]]:
    """Return address → names of signers, as far as keystores say it without being opened."""
    from coordinator.keyring import watched_accounts

    found: dict[str, list[str]] = {}
    for chain in sorted(config.chains):
        for name, address in watched_accounts(config, chain).items():
            names = found.setdefault(address.casefold(), [])
            names += [] if name in names else [name]
    return found
