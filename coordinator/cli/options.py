"""What every command has in common: where the configuration is and how to talk."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coordinator.cli.output import Output
from coordinator.errors import ConfigError

if TYPE_CHECKING:
    from coordinator.config import Config
    from coordinator.journal.reading import JournalReader

__all__ = ["NothingRun", "Options", "global_parameters", "has_run", "options_of"]

_DEFAULT_CONFIG = Path("chains.toml")


class NothingRun(ConfigError):
    """A command about sagas where no saga was ever started; nothing was sent."""


@dataclass
class Options:
    """The global options of one call."""

    config: Path | None = None
    json: bool = False
    no_input: bool = False
    quiet: bool = False
    #: where a crash report goes; known once the configuration is.
    crash_folder: Path | None = None

    @property
    def out(self) -> Output:
        """Where this call's output goes."""
        return Output(as_json=self.json, quiet=self.quiet)

    @property
    def config_path(self) -> Path:
        """``--config``, else COORDINATOR_CONFIG, else ./chains.toml."""
        if self.config is not None:
            return self.config
        return Path(os.environ.get("COORDINATOR_CONFIG") or _DEFAULT_CONFIG)

    def load(self) -> "Config":
        """Read the configuration.

        Raises:
            ConfigError: it is missing or wrong.
        """
        from coordinator.config import load_config

        if not self.config_path.exists():
            raise ConfigError(
                f"there is no {self.config_path}. Nothing was sent. Name yours: --config FILE or "
                "COORDINATOR_CONFIG=FILE; or begin anew: coordinator init"
            )
        config = load_config(self.config_path)
        self.crash_folder = config.journal_path.parent
        return config

    def load_run(self) -> "Config":
        """Read the configuration of a command that is about sagas.

        Raises:
            NothingRun: there never was a journal. One that is lost is told when it is opened.
        """
        config = self.load()
        if has_run(config):
            return config
        raise NothingRun(
            f"there are no sagas: nothing was ever run with {config.path} (no journal at "
            f"{config.journal_path}). The first one makes it: coordinator run PLAN --execute"
        )

    def read_journal(self) -> "JournalReader":
        """Open the configured journal for reading.

        Raises:
            NothingRun: there never was one.
            JournalError: it is missing or damaged.
        """
        from coordinator.journal.reading import open_readonly

        return open_readonly(self.load_run().journal_path)


def has_run(config: "Config") -> bool:
    """Whether there is a journal, or the second place remembers one."""
    return config.journal_path.exists() or config.witness_path.exists()


def options_of(context: typer.Context) -> Options:
    """Return the options of the running call."""
    options = context.find_root().obj
    assert isinstance(options, Options)
    return options


def _keep(context: typer.Context, parameter: Any, value: Any) -> Any:
    """Store an option that was given; it may stand before or after the command."""
    if value and not context.resilient_parsing:
        setattr(context.ensure_object(Options), parameter.name, value)
    return value


def _keep_here(context: typer.Context, value: Path | None) -> Path | None:
    if value is not None and not context.resilient_parsing:
        try:
            os.chdir(value)
        except OSError as error:
            raise typer.BadParameter(f"{value}: {error.strerror}") from None
    return value


def _declared(
    *,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            help="Configuration file (COORDINATOR_CONFIG; default ./chains.toml).",
            callback=_keep,
            expose_value=False,
            show_default=False,
        ),
    ] = None,
    directory: Annotated[
        Path | None,
        typer.Option(
            "-C",
            metavar="DIR",
            help="Work in DIR.",
            callback=_keep_here,
            expose_value=False,
            is_eager=True,
            show_default=False,
        ),
    ] = None,
    json: Annotated[
        bool,
        typer.Option("--json", help="Print JSON.", callback=_keep, expose_value=False),
    ] = False,
    no_input: Annotated[
        bool,
        typer.Option("--no-input", help="Never ask.", callback=_keep, expose_value=False),
    ] = False,
    quiet: Annotated[
        bool,
        typer.Option(
            "--quiet", "-q", help="Print results only.", callback=_keep, expose_value=False
        ),
    ] = False,
) -> None:
    """Declare the global options, for `global_parameters` to take them from."""


def global_parameters() -> list[Any]:
    """Return the global options as parameters, to be added to every command."""
    declaring = typer.Typer(add_completion=False)
    declaring.command()(_declared)
    return list(typer.main.get_command(declaring).params)
