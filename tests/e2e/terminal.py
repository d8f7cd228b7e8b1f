"""``coordinator`` as an operator runs it: processes, signals, and what the journal says."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from coordinator.errors import JournalError
from coordinator.journal.reading import open_readonly
from tests.e2e.network import plan_text
from tests.program import started
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from coordinator.devnet.network import Devnet
    from coordinator.journal.base import Record, SagaRow

PATIENCE_S = 60.0


@dataclass
class Call:
    """A command that runs."""

    process: subprocess.Popen[str]
    out_path: Path
    err_path: Path

    @property
    def out(self) -> str:
        return self.out_path.read_text(encoding="utf-8")

    @property
    def err(self) -> str:
        return self.err_path.read_text(encoding="utf-8")

    def ended(self, code: int) -> Call:
        """Wait for its end; no traceback ever reaches a person."""
        got = self.process.wait(PATIENCE_S)
        assert "Traceback" not in self.out + self.err
        assert got == code, f"exit {got}, wanted {code}\n{self.out}\n{self.err}"
        return self

    def signal(self, number: signal.Signals) -> Call:
        self.process.send_signal(number)
        return self


@dataclass
class Terminal:
    """A folder with the network's chains.toml, a journal of its own, and commands run in it."""

    folder: Path
    config: Path
    journal: Path
    ends: ExitStack
    calls: list[Call] = field(default_factory=list)

    @classmethod
    def on(cls, devnet: Devnet, folder: Path, ends: ExitStack) -> Terminal:
        text = devnet.config.read_text(encoding="utf-8")
        for key, value in (("path", "journal/journal.db"), ("witness", "witness/head")):
            old = f'{key} = "{value}"'
            assert text.count(old) == 1
            text = text.replace(old, f'{key} = "{folder / value}"')
        # Beside the original, because its other paths are relative to it.
        config = devnet.folder / f"chains-{folder.name}.toml"
        config.write_text(text, encoding="utf-8")
        return cls(folder, config, folder / "journal" / "journal.db", ends)

    def configure(self, changes: dict[str, str]) -> None:
        """Change its chains.toml: text that stands there once, and what to write instead."""
        text = self.config.read_text(encoding="utf-8")
        for old, new in changes.items():
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        self.config.write_text(text, encoding="utf-8")

    def plan(self, variant: str = "transfer", changes: dict[str, str] | None = None) -> str:
        path = self.folder / f"{variant}.toml"
        path.write_text(plan_text(variant, changes), encoding="utf-8")
        return str(path)

    def start(self, *arguments: str, fresh: bool = False) -> Call:
        """Start a command; it ends with the test at the latest.

        ``fresh``: by an interpreter that has loaded nothing; see `tests.program.started`.
        """
        number = len(self.calls)
        out, err = self.folder / f"{number}.out", self.folder / f"{number}.err"
        with out.open("w") as stdout, err.open("w") as stderr:
            process = started(
                *arguments,
                cwd=self.folder,
                env={**os.environ, "COORDINATOR_CONFIG": str(self.config), "COLUMNS": "300"},
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                fresh=fresh,
            )
        self.ends.callback(process.wait)
        self.ends.callback(process.kill)
        self.calls.append(Call(process, out, err))
        return self.calls[-1]

    def run(self, *arguments: str, code: int = 0, fresh: bool = False) -> Call:
        return self.start(*arguments, fresh=fresh).ended(code)

    def leave_at(self, step: str, *arguments: str, sent: Callable[[], object] | None = None) -> str:
        """Run a plan until the step's intent is durable, and detach; return the saga.

        What waits for a block when the command ends, waits for it still. ``sent``: wait for this
        too, since what is durable may not be sent yet.
        """
        call = self.start("run", *arguments, "--execute")
        saga = self.awaits("intent", step)
        if sent is not None:
            wait_until(sent, what=f"the forward of {step} in the pool")
        call.signal(signal.SIGINT).ended(130)
        return saga

    def rows(self) -> list[SagaRow]:
        """The sagas of the journal; none while there is no journal."""
        return self._read(lambda reader: reader.sagas()) or []

    def records(self, saga: str) -> list[Record]:
        return self._read(lambda reader: reader.read(f"saga:{saga}")) or []

    def operator(self) -> list[Record]:
        return self._read(lambda reader: reader.read("operator")) or []

    def _read(self, look: Callable[[Any], Any]) -> Any:
        try:
            reader = open_readonly(self.journal)
        except JournalError:
            return None
        try:
            return look(reader)
        finally:
            reader.shut()

    def awaits(self, kind: str, step: str, direction: str = "forward", saga: int = 0) -> str:
        """Wait until the journal has this record of the ``saga``-th saga; return that saga."""

        def probe() -> str | None:
            rows = self.rows()
            if len(rows) <= saga:
                return None
            name = rows[saga].saga
            return name if f"{kind} {step} {direction}".rstrip() in self.kinds(name) else None

        return wait_until(probe, what=f"{kind} {step} {direction}", timeout_s=PATIENCE_S)

    def kinds(self, saga: str) -> list[str]:
        """The saga's records in short: kind, step, direction."""
        return [
            " ".join([r.kind, *(str(r.data[k]) for k in ("step", "dir") if k in r.data)])
            for r in self.records(saga)
        ]
