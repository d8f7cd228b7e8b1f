"""The root command, and the one place where a call ends: exit codes, no tracebacks."""

import signal
import sys
from typing import Annotated, Any

import typer

from coordinator import __version__
from coordinator.cli import exits
from coordinator.cli.failure import report
from coordinator.cli.lazy import LazyGroup
from coordinator.cli.options import Options, global_parameters
from coordinator.cli.plain import read_plainly

__all__ = ["run"]

app = typer.Typer(
    name="coordinator",
    cls=LazyGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:  # noqa: FBT001 - the shape of an option's callback
    if value:
        sys.stdout.write(f"coordinator {__version__}\n")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """One plan over several chains: every step done, or every effect taken back.

    Nothing is sent without --execute.
    """
    del version
    context.ensure_object(Options)


def run(arguments: list[str] | None = None) -> None:
    """Run one call and end the process with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # both are text streams
    code = call(arguments)
    # Everything is told: Ctrl-C while the interpreter clears up could only spoil it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(code)


def call(arguments: list[str] | None = None) -> int:
    """Run one call and return its exit code; nothing is raised."""
    options = Options()
    command: Any = typer.main.get_command(app)
    command.params += global_parameters()
    read_plainly(command, None)
    try:
        code = command.main(
            args=arguments, prog_name="coordinator", standalone_mode=False, obj=options
        )
    except BaseException as error:  # noqa: BLE001 - every end of a call has a code and a line
        # Reading stops at the first mistake: a --json after it was not seen yet.
        options.json |= "--json" in (sys.argv[1:] if arguments is None else arguments)
        return report(error, options)
    return code if isinstance(code, int) else exits.DONE
