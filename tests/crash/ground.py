"""The ground on which coordinators die: a network, one saga at a time, and its judgement."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from coordinator.devnet.control import unpause_token
from coordinator.devnet.identities import FUNDED_EVM, SEED, secret_of
from coordinator.devnet.ledger import evm_address, read_ledger
from coordinator.devnet.network import CHAIN_IDS, Devnet, DevnetOptions, bitcoin_address, running
from tests.crash.chain_judge import problems, unintended
from tests.crash.commits import MOMENTS
from tests.crash.ends import ENDS, End
from tests.crash.evidence import Journal, Scene
from tests.crash.keys import make_cheap
from tests.crash.kill_points import PATIENCE_S, Orders
from tests.crash.life import Life
from tests.crash.preimages import leaks
from tests.crash.watching import heights
from tests.e2e.network import plan_text
from tests.e2e.trouble import World
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from pathlib import Path

__all__ = ["Crashed", "Ground", "Run", "crash", "inside_commits", "named", "points_of", "tell"]

#: Records that come or not as milliseconds fall: a block seen before or after it is final.
_BY_CHANCE = ("included:", "stuck:")


@dataclass
class Run:
    """One saga with a journal of its own, the chains as they were before it, and its lives.

    Attributes:
        end: a name in `ENDS`.
        config: its chains.toml.
    """

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

    def records(self) -> list[dict[str, Any]]:
        """Every record of its journal, oldest first."""
        return Journal.read(self.journal).records()

    def state(self) -> str:
        """The end of its saga, or ``open``."""
        ends = [record["data"]["state"] for record in self.records() if record["kind"] == "closed"]
        return str(ends[-1]) if ends else "open"

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

    def scene(self, *, over: bool = True, reorganised: Collection[str] = ()) -> Scene:
        """What there is to judge; balances only when it is over.

        ``reorganised``: the chains whose blocks were replaced meanwhile.
        """
        notes = self.folder / "notes.jsonl"
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
            notes=[json.loads(line) for line in text.splitlines()],
            end=ENDS[self.end].state,
            seed=secret_of(SEED),
            folders=(self.folder, self.devnet.folder),
            reorganised=frozenset(reorganised),
        )

    def verdict(self) -> list[str]:
        """Everything that is wrong with a saga that is over."""
        return problems(self.scene())

    def end_all(self) -> None:
        """Leave no process of this run behind, and the world as it was."""
        for life in self.lives:
            life.kill()
        World(self.devnet).calm()
        if (self.folder / "paused").exists():
            unpause_token(self.devnet, "ethereum")


def balances(devnet: Devnet) -> dict[tuple[str, str, str], int]:
    """Who owns what, read from the nodes."""
    ledger = read_ledger(devnet)
    return {(line.chain, line.asset, line.holder): amount for line, amount in ledger.items()}


@dataclass
class Ground:
    """A network on which runs follow each other.

    Attributes:
        points: what `points_of` has found on it.
    """

    devnet: Devnet
    folder: Path
    runs: int = 0
    points: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    @contextmanager
    def open(cls, folder: Path, options: DevnetOptions | None = None) -> Iterator[Self]:
        """Start a network, one that mines at once by default; it ends with the ``with``."""
        with running(folder / "devnet", options or DevnetOptions.instant()) as devnet:
            make_cheap(devnet.folder / "keys")
            yield cls(devnet, folder)

    @contextmanager
    def run(self, end: str) -> Iterator[Run]:
        """Make ready for one saga; its processes end with the ``with``."""
        self.runs += 1
        folder = self.folder / f"run-{self.runs}"
        (folder / "witness").mkdir(parents=True)
        (folder / "journal").mkdir(mode=0o700)
        config = self._configure(folder, ENDS[end])
        run = Run(self.devnet, folder, end, config, heights(self.devnet), balances(self.devnet))
        try:
            yield run
        finally:
            run.end_all()

    def _configure(self, folder: Path, end: End) -> Path:
        """Write the plan and chains.toml of one run; return the latter."""
        (folder / "plan.toml").write_text(plan_text(end.variant, end.changes), encoding="utf-8")
        text = self.devnet.config.read_text(encoding="utf-8")
        places = {f'"{old}"': f'"{folder / old}"' for old in ("journal/journal.db", "witness/head")}
        for old, new in {**places, **end.pace}.items():
            assert text.count(old) == 1, f"{old} is {text.count(old)} times in chains.toml"
            text = text.replace(old, new)
        # Beside the original, because its other paths are relative to it.
        config = self.devnet.folder / f"chains-{folder.name}.toml"
        config.write_text(text, encoding="utf-8")
        return config


def tell(headline: str, lines: Iterable[str]) -> None:
    """Show what was covered: ``pytest -s``, or ``-rP`` after the end."""
    print("\n  ".join([f"\n{headline}", *lines]))  # noqa: T201 - that is its job


def points_of(ground: Ground, end: str) -> tuple[str, ...]:
    """Every point of a run that nobody disturbs; that run, once for each ground, is judged too.

    An append is called by the last record that it holds: whether a record shares the append of the
    next one is a matter of milliseconds, and so is whether there is one at all of `_BY_CHANCE`, or
    whether anything is done a second time, for a node that was too busy the first time.
    """
    if end in ground.points:
        return ground.points[end]
    with ground.run(end) as run:
        life = run.live()
        life.ended()
        assert run.verdict() == [], life.story()
    lines = [line for line in life.passed() if not line.startswith("lost")]
    ground.points[end] = tuple(name for name in map(named, lines) if name and name.endswith("#1"))
    return ground.points[end]


def inside_commits(points: Iterable[str]) -> list[str]:
    """The moments inside the commit of every append among ``points``."""
    appends = [name for name in points if name.startswith("before append ")]
    return [f"{moment} {name.removeprefix('before ')}" for name in appends for moment in MOMENTS]


def named(line: str) -> str | None:
    """What a point of a trail is called; None if it may be missing another time."""
    side, call, names = line.split(" ", 2)
    name = names.rpartition("+")[2]
    return None if name.startswith(_BY_CHANCE) else f"{side} {call} {name}"


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
        wrong = [f"at the death: {line}" for line in _at_a_death(run)]
        if then is not None:
            killed_at.append(run.live(stop_after=then).died())
            wrong += [f"at the second: {line}" for line in _at_a_death(run)]
        life = run.live(engine=second, timeout_s=timeout_s)
        if sound:
            life.ended()
            run.settle()
        else:
            life.exit_code()
        wrong += run.verdict()
    return Crashed(tuple(killed_at), tuple(wrong))


def _at_a_death(run: Run) -> list[str]:
    scene = run.scene(over=False)
    return [*unintended(scene), *leaks(scene)]
