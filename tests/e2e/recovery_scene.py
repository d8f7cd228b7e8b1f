"""A journal whose backup is restored, and a network that goes on meanwhile."""

from __future__ import annotations

import os
import shutil
import sys
import threading
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from coordinator import app
from coordinator.cli.entry import call
from coordinator.config import load_config
from coordinator.devnet.control import mine
from coordinator.devnet.ledger import evm_address
from coordinator.devnet.network import CHAIN_IDS
from coordinator.journal.backup import backup
from coordinator.journal.reading import open_readonly
from tests.e2e.network import Coordinator
from tests.e2e.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from coordinator.journal.base import Record
    from tests.e2e.trouble import World

__all__ = ["WHO", "Lost", "Said", "mined_meanwhile"]

WHO = ("--by", "an operator", "--reason", "the disk broke")


@dataclass(frozen=True)
class Said:
    """What a command told."""

    out: str
    err: str


@dataclass
class Lost:
    """A coordinator on files that the command line finds, too."""

    world: World
    terminal: Terminal
    calls: int = 0

    @property
    def journal(self) -> Path:
        return self.terminal.journal

    @property
    def witness(self) -> Path:
        return self.terminal.folder / "witness" / "head"

    @property
    def copy(self) -> Path:
        return self.terminal.folder / "backup.db"

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Coordinator]:
        config = load_config(self.terminal.config)
        self.witness.parent.mkdir(exist_ok=True)
        passphrases = app.passphrases_for(config, interactive=False)
        async with app.open_adapters(
            config, list(config.chains), passphrases=passphrases, sign=True
        ) as adapters:
            journal = app.open_journal(config, create=True)
            try:
                yield Coordinator(
                    self.world.devnet, config, self.terminal.folder, journal, adapters,
                    app.LazySecrets(config, passphrases),
                )  # fmt: skip
            finally:
                await journal.close()

    def back_up(self) -> None:
        """Copy the journal as it is now; the newest copy counts."""
        self.copy.unlink(missing_ok=True)
        backup(self.journal, self.copy)

    def restore(self) -> None:
        """The journal is gone and the backup in its place; the lost one is kept aside."""
        self._replace(self.copy, keep=True)

    def bring_original_back(self) -> None:
        self._replace(self.terminal.folder / "lost.db", keep=False)

    def _replace(self, source: Path, *, keep: bool) -> None:
        reader = open_readonly(self.journal)  # what the log holds goes into the kept file
        reader.shut()
        lost = self.terminal.folder / "lost.db"
        if keep and not lost.exists():
            backup(self.journal, lost)
        for suffix in ("", "-wal", "-shm"):
            self.journal.with_name(self.journal.name + suffix).unlink(missing_ok=True)
        shutil.copyfile(source, self.journal)
        self.journal.chmod(0o600)

    # ------------------------------------------------------------ recovering

    def run(self, *arguments: str, code: int = 0, first: Callable[[], None] | None = None) -> Said:
        """Run a command in a forked process, which costs no start of an interpreter.

        ``first`` is done in it before; ``code`` -9: it must be killed.
        """
        self.calls += 1
        out, err = (self.terminal.folder / f"said-{self.calls}.{end}" for end in ("out", "err"))
        pid = os.fork()
        if pid == 0:
            self._live(out, err, arguments, first)
        _, status = os.waitpid(pid, 0)
        said = Said(out.read_text(encoding="utf-8"), err.read_text(encoding="utf-8"))
        got = os.waitstatus_to_exitcode(status)
        assert "Traceback" not in said.out + said.err
        assert got == code, f"exit {got}, wanted {code}\n{said.out}\n{said.err}"
        return said

    def _live(
        self, out: Path, err: Path, arguments: tuple[str, ...], first: Callable[[], None] | None
    ) -> None:
        code = 1
        try:
            with out.open("w") as sys.stdout, err.open("w") as sys.stderr:
                os.environ |= {
                    "COORDINATOR_CONFIG": str(self.terminal.config), "COLUMNS": "300",
                }  # fmt: skip
                if first is not None:
                    first()
                code = call([*arguments])
        finally:
            os._exit(code)

    def recover(self, *arguments: str, code: int = 0) -> Said:
        with mined_meanwhile(self.world):
            return self.run("recover", "--execute", *WHO, *arguments, code=code)

    def resume(self, code: int = 0) -> Said:
        return self.run("resume", "--all", code=code)

    def convinces(self, saga: str) -> None:
        """A stranger finds nothing false in ``saga``, and is told what the lost records hide."""
        bundle, trust = (str(self.terminal.folder / f"{saga}.{what}") for what in ("b", "t"))
        self.run("audit", "export", saga, "--out", bundle)
        self.run("audit", "trust", bundle, "--out", trust)
        said = self.run("verify", bundle, "--trust", trust, code=41).out
        assert "✗" not in said
        assert "records were lost before this journal was recovered" in said

    # ------------------------------------------------------------ what there is

    def operator(self) -> list[Record]:
        reader = open_readonly(self.journal)
        try:
            return reader.read("operator")
        finally:
            reader.shut()

    def sent(self) -> dict[str, int]:
        """How many transactions our accounts have sent; on Bitcoin, what spends their coins."""
        devnet = self.world.devnet
        found = {
            chain: int(
                devnet.rpc(chain, "eth_getTransactionCount", evm_address("treasury_evm"), "latest"),
                16,
            )
            for chain in CHAIN_IDS
        }
        return found | {"waiting": len(self.world.waiting("bitcoin"))}

    def operations(self, chain: str) -> list[tuple[str, str]]:
        """Every operation event of a chain, oldest first: its id and its status."""
        found: list[dict[str, Any]] = self.world.devnet.rpc(
            chain, "eth_getLogs", {"fromBlock": "0x0", "toBlock": "latest"}
        )
        return [(log["topics"][2], log["topics"][3]) for log in found if len(log["topics"]) == 4]


@contextmanager
def mined_meanwhile(world: World) -> Iterator[None]:
    """Bitcoin finds a block now and then, as it does."""
    over = threading.Event()

    def go() -> None:
        while not over.wait(0.3):
            mine(world.devnet, "bitcoin", 1)

    thread = threading.Thread(target=go)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
