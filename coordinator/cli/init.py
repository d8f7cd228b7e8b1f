"""``coordinator init``: files to begin with. Nothing that exists is touched."""

import os
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from coordinator.cli.options import options_of
from coordinator.errors import ConfigError

app = typer.Typer(add_completion=False)

#: File → the template in this package it is made from.
_FILES = {
    "chains.toml": "chains.toml.template",
    "plan.toml": "plan.toml.template",
    ".gitignore": "gitignore.template",
}


@app.command()
def init(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="Where; made if it is not there.")] = Path(),
) -> None:
    """Write chains.toml, an example plan and .gitignore, all commented; refuses to overwrite."""
    options = options_of(context)
    taken = [name for name in _FILES if (folder / name).exists()]
    if taken:
        raise ConfigError(
            f"already there: {', '.join(str(folder / name) for name in taken)}; nothing was "
            "written. Choose an empty folder: coordinator init FOLDER"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for private in ("keys", "journal", "witness", "recovery"):
            (folder / private).mkdir(mode=0o700, exist_ok=True)
        for name, template in _FILES.items():
            text = files("coordinator.cli").joinpath("templates", template).read_text("utf-8")
            descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        raise ConfigError(f"{folder} can not be written: {error.strerror}.") from None
    written = [str(folder / name) for name in _FILES]
    options.out.document({"v": 1, "type": "init", "written": written})
    options.out.data("\n".join(f"✓ {path}" for path in written))
    options.out.say(
        "next: fill in chains.toml; make its keys: coordinator keys add treasury_evm --kind "
        "ethereum, coordinator keys add treasury_btc --kind bitcoin --network NETWORK, coordinator "
        "keys add log --kind ethereum; then: "
        "coordinator doctor. To try everything on local nodes first: coordinator devnet demo"
    )
