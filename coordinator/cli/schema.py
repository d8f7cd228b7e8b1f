"""``coordinator schema``: JSON Schemas of files and of what is printed."""

import sys
from enum import StrEnum
from typing import Annotated

import typer

from coordinator.cli.options import options_of
from coordinator.cli.output import Output

app = typer.Typer(add_completion=False)


class Name(StrEnum):
    """What has a schema."""

    PLAN = "plan"
    LOCK = "lock"
    CHAINS = "chains"
    VIEW = "view"
    AUDIT = "audit"


@app.command()
def schema(
    context: typer.Context,
    name: Annotated[Name | None, typer.Argument(help="Which; default: all by name.")] = None,
) -> None:
    """Print the JSON Schema of plan files, lock files, chains.toml, or the JSON that is printed."""
    from coordinator.audit_schema import AUDIT_SCHEMA
    from coordinator.plan import schemas
    from coordinator.views_schema import VIEW_SCHEMA

    known = schemas()
    every = {
        Name.PLAN: known["plan"],
        Name.LOCK: known["lock"],
        Name.CHAINS: known["config"],
        Name.VIEW: VIEW_SCHEMA,
        Name.AUDIT: AUDIT_SCHEMA,
    }
    quiet = options_of(context).quiet
    out = Output(as_json=True, quiet=quiet)
    out.document(every[name] if name is not None else {key.value: s for key, s in every.items()})
    if sys.stdout.isatty():
        out.say("JSON Schema, draft 2020-12")
