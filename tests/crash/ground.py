"""The ground on which coordinators die: a network, one saga at a time, and its judgement."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coordinator.devnet.control import unpause_token
from coordinator.devnet.identities import FUNDED_EVM
from coordinator.devnet.ledger import evm_address, read_ledger
from coordinator.devnet.network import CHAIN_IDS, Devnet, DevnetOptions, bitcoin_address, running
from tests.crash.chain_judge import problems, unintended
from tests.crash.evidence import Journal, Scene
from tests.crash.kill_points import PATIENCE_S, Orders, heights, is_at, live
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["ENDS", "Crashed", "Ground", "Life", "Run", "crash", "is_stopped", "points_of", "tell"]

#: The ends of the plan: every step works, or the token refuses the mint once it is signed.
ENDS = ("committed", "rolled_back")
#: Records that come or not as milliseconds fall: a block seen before or after it is final.
_BY_CHANCE = ("included:", "stuck:")
# A server without threads forks every life off; forking pytest itself would copy what it runs. It
# imports beforehand what the coordinator imports only when it needs it: two seconds a life.
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    [
        "__main__",
        "adapters.bitcoin.adapter",
        "adapters.evm.adapter",
        "coordinator.cli.audit",
        "coordinator.journal.verify",
        "tests.crash.kill_points",
    ]
)


class Life:
    """A life as its parent sees it."""

    def __init__(self, orders: Orders) -> None:
        self.orders = orders
        self._process = _FORKS.Process(target=live, args=(orders,), daemon=True)
        self._process.start()

    def kill(self) -> None:
        """End it, if it has not ended."""
        self._process.kill()
        self._process.join()

    def passed(self) -> list[str]:
        """Every point so far, and every append for which another process was faster."""
        trail = self.orders.trail
        return trail.read_text(encoding="utf-8").splitlines() if trail.exists() else []

    def exit_code(self) -> int:
        """Wait for its end; a negative number is the signal that ended it."""
        self._process.join(self.orders.timeout_s + PATIENCE_S)
        code = self._process.exitcode
        assert code is not None, f"it neither ends nor dies: {self.story()}"
        return code

    def ended(self) -> None:
        """It came to the saga's end by itself, and ``audit verify`` is content."""
        assert self.exit_code() == 0, self.story()

    def died(self) -> str:
        """It killed itself; return at which point: the last one it passed is that very one."""
        assert self.exit_code() == -signal.SIGKILL, f"the point never came: {self.story()}"
        last, wanted = self.passed()[-1], self.orders.stop_at
        assert wanted is None or is_at(last, wanted), f"killed at {last}, not at {wanted}"
        return last

    def stopped(self) -> None:
        """Wait until it has stopped itself (SIGSTOP) at its point."""
        wait_until(self._is_stopped, what=f"a stop at {self.orders.stop_at}", timeout_s=PATIENCE_S)
        assert is_at(self.passed()[-1], self.orders.stop_at)

    def _is_stopped(self) -> bool:
        assert self._process.exitcode is None, f"the point never came: {self.story()}"
        assert self._process.pid is not None
        return is_stopped(self._process.pid)

    def go_on(self) -> None:
        """Let a stopped life go on (SIGCONT)."""
        assert self._process.pid is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def story(self) -> str:
        """Everything it left behind, for a failure."""
        log = self.orders.log
        text = log.read_text(encoding="utf-8") if log.exists() else ""
        trail = "\n".join(self.passed())
        return f"life {self.orders.number}, exit {self._process.exitcode}\n{trail}\n{text[-3000:]}"


def is_stopped(pid: int) -> bool:
    """Whether SIGSTOP holds the process (proc(5): its state follows the name in parentheses)."""
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    return stat.rpartition(")")[2].split()[0] == "T"


@dataclass
class Run:
    """One saga with a journal of its own, the chains as they were before it, and its lives."""

    devnet: Devnet
    folder: Path
    end: str
    config: Path
    heights: Mapping[str, int]
    before: Mapping[tuple[str, str, str], int]
    lives: list[Life] = field(default_factory=list)

    @property
    def journal(self) -> Path:
        return self.folder / "journal" / "journal.db"

    def live(self, **wishes: Any) -> Life:
        """Start another life; see `Orders` for the wishes."""
        number = len(self.lives) + 1
        orders = Orders(self.devnet, self.config, self.folder, self.end, number, **wishes)
        self.lives.append(Life(orders))
        return self.lives[-1]

    def settle(self) -> None:
        """Wait until no transaction waits for a block."""
        wait_until(self._settled, what="empty pools", timeout_s=PATIENCE_S)

    def _settled(self) -> bool:
        pools = [self.devnet.rpc(chain, "txpool_status")["pending"] for chain in CHAIN_IDS]
        return {"0x0"} == set(pools) and not self.devnet.rpc("bitcoin", "getrawmempool")

    def scene(self, *, over: bool = True) -> Scene:
        """What there is to judge; balances only when it is over."""
        notes = self.folder / "sent.jsonl"
        text = notes.read_text(encoding="utf-8") if notes.exists() else ""
        ours = {chain: {evm_address(n).lower(): n for n in FUNDED_EVM} for chain in CHAIN_IDS}
        wallets = ("treasury_btc", "settlement_btc")
        return Scene(
            ask=self.devnet.rpc,
            ours=ours | {"bitcoin": {bitcoin_address(name): name for name in wallets}},
            heights=self.heights,
            confirmations=int(self.devnet.options["confirmations"]),
            before=self.before,
            after=balances(self.devnet) if over else {},
            journal=Journal.read(self.journal),
            sent=[json.loads(line) for line in text.splitlines()],
            end=self.end,
        )

    def verdict(self) -> list[str]:
        """Everything that is wrong with a saga that is over."""
        return problems(self.scene())

    def end_all(self) -> None:
        """Leave no process of this run behind, and the world as it was."""
        for life in self.lives:
            life.kill()
        for chain in CHAIN_IDS:
            self.devnet.rpc(chain, "anvil_dropAllTransactions")
        if (self.folder / "paused").exists():
            unpause_token(self.devnet, "ethereum")


def balances(devnet: Devnet) -> dict[tuple[str, str, str], int]:
    """Who owns what, read from the nodes."""
    ledger = read_ledger(devnet)
    return {(line.chain, line.asset, line.holder): amount for line, amount in ledger.items()}


@dataclass
class Ground:
    """A network on which runs follow each other."""

    devnet: Devnet
    folder: Path
    runs: int = 0

    @classmethod
    @contextmanager
    def open(cls, folder: Path) -> Iterator[Ground]:
        """Start a network that mines at once; it ends with the ``with``."""
        with running(folder / "devnet", DevnetOptions.instant()) as devnet:
            yield cls(devnet, folder)

    @contextmanager
    def run(self, end: str) -> Iterator[Run]:
        """Make ready for one saga; its processes end with the ``with``."""
        self.runs += 1
        folder = self.folder / f"run-{self.runs}"
        (folder / "witness").mkdir(parents=True)
        (folder / "journal").mkdir(mode=0o700)
        text = self.devnet.config.read_text(encoding="utf-8")
        for old in ("journal/journal.db", "witness/head"):
            assert text.count(f'"{old}"') == 1
            text = text.replace(f'"{old}"', f'"{folder / old}"')
        # Beside the original, because its other paths are relative to it.
        config = self.devnet.folder / f"chains-{folder.name}.toml"
        config.write_text(text, encoding="utf-8")
        run = Run(self.devnet, folder, end, config, heights(self.devnet), balances(self.devnet))
        try:
            yield run
        finally:
            run.end_all()


def tell(headline: str, lines: Iterable[str]) -> None:
    """Show what was covered: ``pytest -s``, or ``-rP`` after the end."""
    print("\n  ".join([f"\n{headline}", *lines]))  # noqa: T201 - that is its job


def points_of(ground: Ground, end: str) -> list[str]:
    """Every point of a run that nobody disturbs, in order; that run is judged too.

    An append is called by the last record that it holds: whether a record shares the append of the
    next one is a matter of milliseconds, and so is whether there is one at all of `_BY_CHANCE`.
    """
    with ground.run(end) as run:
        life = run.live()
        life.ended()
        assert run.verdict() == [], life.story()
    points = []
    for line in life.passed():
        side, call, names = line.split(" ", 2)
        name = names.rpartition("+")[2]
        if not name.startswith(_BY_CHANCE):
            points.append(f"{side} {call} {name}")
    return points


@dataclass(frozen=True)
class Crashed:
    """What became of a saga whose process was killed: where, and what is wrong in the end."""

    killed_at: tuple[str, ...]
    wrong: tuple[str, ...]


def crash(
    ground: Ground,
    end: str,
    point: str,
    *,
    then: int | None = None,
    first: str = "real",
    second: str = "real",
    timeout_s: float = PATIENCE_S,
) -> Crashed:
    """Kill a run at ``point``, resume it, and judge it by the chains and the raw journal.

    Args:
        then: kill the resuming process at its n-th point too.
        first, second: engines of the process that is killed and of the one that resumes; a broken
            one need not come to an end.
        timeout_s: how long the resuming engine may take.
    """
    sound = (first, second) == ("real", "real")
    with ground.run(end) as run:
        killed_at = [run.live(stop_at=point, engine=first).died()]
        wrong = [f"at the death: {line}" for line in unintended(run.scene(over=False))]
        if then is not None:
            killed_at.append(run.live(stop_after=then).died())
            wrong += [f"at the second: {line}" for line in unintended(run.scene(over=False))]
        life = run.live(engine=second, timeout_s=timeout_s)
        if sound:
            life.ended()
            run.settle()
        else:
            life.exit_code()
        wrong += run.verdict()
    return Crashed(tuple(killed_at), tuple(wrong))
