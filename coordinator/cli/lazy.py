"""Commands by name, each in a module that is imported when it is asked for."""

import importlib
from typing import Any, Final

import typer
from typer.core import TyperGroup

from coordinator.cli import exits
from coordinator.cli.options import global_parameters
from coordinator.cli.plain import read_plainly
from coordinator.errors import CoordinatorError

__all__ = ["COMMANDS", "Interrupted", "LazyGroup"]

#: Command → module and the name of its typer app, in the order of the help.
COMMANDS: Final = {
    "init": "coordinator.cli.init",
    "doctor": "coordinator.cli.doctor",
    "plan": "coordinator.cli.plan",
    "run": "coordinator.cli.run",
    "status": "coordinator.cli.status",
    "show": "coordinator.cli.show",
    "watch": "coordinator.cli.watch",
    "resume": "coordinator.cli.resume",
    "pause": "coordinator.cli.pause",
    "unpause": "coordinator.cli.unpause",
    "rollback": "coordinator.cli.rollback",
    "resolve": "coordinator.cli.resolve",
    "bump": "coordinator.cli.bump",
    "replace": "coordinator.cli.replace",
    "recover": "coordinator.cli.recover",
    "export-recovery": "coordinator.cli.export_recovery",
    "secret": "coordinator.cli.secret",
    "report": "coordinator.cli.report",
    "audit": "coordinator.cli.audit",
    "verify": "coordinator.cli.verify",
    "journal": "coordinator.cli.journal",
    "keys": "coordinator.cli.keys",
    "devnet": "coordinator.devnet.commands",
    "schema": "coordinator.cli.schema",
}


class Interrupted(CoordinatorError):
    """Ctrl-C came in a command that drives no saga."""

    exit_code = exits.DETACHED


class LazyGroup(TyperGroup):
    """The root command: knows names, imports the one that is called."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; an interrupt is told, where the library would end without a word.

        Raises:
            Interrupted: Ctrl-C; commands that drive sagas take the signal themselves.
        """
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise Interrupted(
                "interrupted; this call sent nothing for any saga. See: coordinator status"
            ) from None

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the library's signature
        """Return all names; each is imported only for the help's one line about it."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import and return one command with the global options added, None if unknown."""
        module = COMMANDS.get(cmd_name)
        if module is None:
            return None
        command = typer.main.get_command(importlib.import_module(module).app)
        command.name = cmd_name
        _add_globals(command, ctx)
        return command


def _add_globals(command: Any, context: Any) -> None:
    """Let the global options stand after the command too."""
    for child in getattr(command, "commands", {}).values():
        _add_globals(child, context)
    if not hasattr(command, "commands"):
        known = {name for parameter in command.params for name in parameter.opts}
        command.params += [p for p in global_parameters() if not known.intersection(p.opts)]
    read_plainly(command, context)
