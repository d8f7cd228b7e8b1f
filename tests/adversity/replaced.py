"""One saga during which the newest blocks of a chain are replaced, and what is wrong with it."""

from __future__ import annotations

import shlex
import signal
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from coordinator.devnet.control import reorganise
from coordinator.devnet.network import CHAIN_IDS
from tests.adversity.burying import FINALITY
from tests.crash.chain_judge import problems
from tests.crash.ends import ENDS
from tests.crash.watching import heights
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.adversity.burying import Buried
    from tests.crash.ground import Run
    from tests.crash.life import Life

__all__ = ["DEPTHS", "TIMEOUT_S", "Replaced", "Replacement", "points_of_burial", "replace_blocks"]

#: One block, up to one more than finality.
DEPTHS: Final = tuple(range(1, FINALITY + 2))
#: Each effect waits for three blocks; nobody may wait as long as evidence is asked for, which is
#: 30 s, of a block that nobody has any more.
TIMEOUT_S: Final = 25.0
#: How long a process watches the blocks of a saga that has ended.
WATCH_S: Final = 0.5


@dataclass(frozen=True)
class Replacement:
    """At a point of a saga's way, the last ``depth`` blocks of a chain are replaced; the process
    that drives it lives on, or is killed before it has seen that.
    """

    end: str
    point: str
    chain: str
    depth: int
    then_killed: bool = False

    @property
    def replay(self) -> str:
        """The command that does it again."""
        words = ["replace", self.end, self.point, self.chain, str(self.depth)]
        more = ["--kill"] if self.then_killed else []
        return shlex.join(["python", "-m", "tests.adversity", *words, *more])


@dataclass(frozen=True)
class Replaced:
    """What became of it.

    Attributes:
        taken: transactions of ours that are in another block right afterwards, or in none.
        noticed: records of the saga that say that a block is gone.
        state: in which it ended.
        wrong: what is wrong with it.
    """

    taken: int
    noticed: int
    state: str
    wrong: tuple[str, ...]


def points_of_burial(ground: Buried, end: str) -> list[str]:
    """Every point of a run that nobody disturbs, what it saw of blocks included."""
    with ground.run(end) as run:
        life = run.live(timeout_s=TIMEOUT_S)
        life.ended()
        assert run.verdict() == [], life.story()
        lines = [line for line in life.passed() if not line.startswith(("lost", "before"))]
    return [f"{line.split(' ', 2)[0]} {line.split(' ', 2)[1]} {_last(line)}" for line in lines]


def _last(line: str) -> str:
    return line.split(" ", 2)[2].rpartition("+")[2]


def replace_blocks(ground: Buried, wanted: Replacement) -> Replaced:
    """Lead a saga to its end, blocks being replaced on the way."""
    with ground.run(wanted.end) as run:
        life = run.live(stop_at=wanted.point, by=signal.SIGSTOP, timeout_s=TIMEOUT_S)
        if not life.came_to_its_point():
            life.ended()
            return Replaced(0, 0, run.state(), tuple(run.verdict()))
        with ground.burial.resting():
            _at_rest(run, wanted.chain)
            below = heights(run.devnet)[wanted.chain] - wanted.depth
            were = _homes(run, wanted.chain, below)
            reorganise(run.devnet, wanted.chain, wanted.depth)
            are = _homes(run, wanted.chain, below)
            taken = sum(are.get(tx) != block for tx, block in were.items())
            if wanted.chain == "bitcoin":
                # Its new blocks took what waited, so who waits for a burn would wait for ever.
                (run.devnet.folder / "bitcoin.paused").unlink(missing_ok=True)
        if wanted.then_killed:
            life.kill()
        else:
            life.go_on()
        ended = [] if wanted.then_killed else [life]
        if wanted.then_killed or wanted.depth >= FINALITY:
            # Finality broke: who closed the saga before it saw that looks at it once more.
            ended.append(_another(run, ended))
        for each in ended:
            if each.exit_code() != 0:
                wrong = f"it did not end: {each.story()}"
                return Replaced(taken, _noticed(run), "open", (wrong,))
        run.settle()
        state = run.state()
        found = [] if state in _allowed(wanted) else [f"it ended {state}"]
        scene = run.scene(reorganised={wanted.chain})
        found += problems(replace(scene, end=state))
        return Replaced(taken, _noticed(run), state, tuple(found))


def _another(run: Run, former: Sequence[Life]) -> Life:
    for life in former:
        life.exit_code()
    return run.live(timeout_s=TIMEOUT_S, lingers_s=WATCH_S)


def _at_rest(run: Run, chain: str) -> None:
    """Wait until anvil has made the block for what it took: replacing blocks at that very moment
    leaves it with a chain and a state that do not belong together.
    """
    if chain in CHAIN_IDS:
        wait_until(
            lambda: run.devnet.rpc(chain, "txpool_status")["pending"] == "0x0", what="an empty pool"
        )


def _homes(run: Run, chain: str, below: int) -> dict[str, str]:
    """Return transaction → hash of its block, of those of ours that are higher than ``below``."""
    ask, top = run.devnet.rpc, heights(run.devnet)[chain]
    ours = {record["data"]["tx"] for record in run.records() if record["kind"] == "intent"}
    homes: dict[str, str] = {}
    for at in range(below + 1, top + 1):
        if chain == "bitcoin":
            block = ask(chain, "getblock", ask(chain, "getblockhash", at), 1)
            txs = block["tx"]
        else:
            block = ask(chain, "eth_getBlockByNumber", hex(at), False)
            txs = block["transactions"]
        homes |= dict.fromkeys(ours & set(txs), block["hash"])
    return homes


def _noticed(run: Run) -> int:
    return sum(record["kind"] in {"orphaned", "withdrawn"} for record in run.records())


def _allowed(wanted: Replacement) -> set[str]:
    """What made the mint fail may be gone with the block that it was in, and the payment that was
    to be burnt may have got one.
    """
    end = ENDS[wanted.end]
    if (end.mint_refused and wanted.chain == "ethereum") or (
        end.asked_back and wanted.chain == "bitcoin"
    ):
        return {"committed", "rolled_back"}
    return {end.state}
