"""One saga during which one call to one node goes wrong, and what is wrong with it in the end."""

from __future__ import annotations

import os
import re
import shlex
import signal
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from tests.adversity.forgeries import FORGERIES
from tests.adversity.proxied import START
from tests.crash.chain_judge import problems, unintended
from tests.crash.ends import ENDS
from tests.crash.preimages import leaks

if TYPE_CHECKING:
    from tests.adversity.proxied import Call, Proxied
    from tests.crash.ground import Run
    from tests.crash.life import Life

__all__ = ["KILL", "WAYS", "Fault", "Judged", "calls_of", "suffer"]

#: The coordinator is killed (SIGKILL) when the node has the call and has answered it.
KILL: Final = "kill_after"
WAYS: Final = (
    "lost_reply", "error", "http_500", "http_503", "http_429", "hang", "wrong_id", "truncated",
    "forged", "stale", KILL,
)  # fmt: skip
#: How a traceback names what was raised.
_RAISED: Final = re.compile(r"([a-z_]+\.)*[A-Z][A-Za-z]+(:|$)")


@dataclass(frozen=True)
class Fault:
    """The first call of a method after a point of a saga's way, and what becomes of it."""

    end: str
    point: str
    chain: str
    method: str
    way: str
    times: int = 1

    @property
    def replay(self) -> str:
        """The command that does it again."""
        words = ["fault", self.end, self.point, self.chain, self.method, self.way]
        more = [] if self.times == 1 else ["--times", str(self.times)]
        return shlex.join(["python", "-m", "tests.adversity", *words, *more])

    def set_on(self, ground: Proxied, run: Run) -> None:
        """Set it; it waits for its call."""
        proxy = ground.proxies[self.chain]
        if self.way == "forged":
            proxy.on(self.method, self.way, times=self.times, transform=FORGERIES[self.method])
        elif self.way == KILL:
            proxy.on(self.method, self.way, run=lambda: os.kill(run.lives[-1].pid, signal.SIGKILL))
        else:
            proxy.on(self.method, self.way, times=self.times)


@dataclass(frozen=True)
class Judged:
    """What became of a saga during which a fault was set.

    Attributes:
        fired: how many calls it spoilt; 0: this time the saga did not make that call.
        ended: how its lives ended: "0" each, a signal, or the last line that it said.
        state: of the saga in the end.
        wrong: what is wrong with it.
    """

    fired: int
    ended: tuple[str, ...]
    state: str
    wrong: tuple[str, ...]


def calls_of(ground: Proxied, end: str) -> list[Call]:
    """Each call of a run that nobody disturbs, named by the point before it, once."""
    with ground.run(end) as run:
        life = run.live()
        with ground.watching(run) as calls:
            life.ended()
        assert run.verdict() == [], life.story()
    return list(dict.fromkeys(calls))


def suffer(ground: Proxied, fault: Fault, *, engine: str = "real") -> Judged:
    """Lead a saga to its end, one call going wrong on the way.

    Only where the coordinator was killed, or stopped by itself over a lie, a second life, with
    nodes that are well, takes it up.

    Args:
        engine: of the first life; a name in `broken_engines.ENGINES`.
    """
    ground.forget()
    before = ground.fired()
    with ground.run(fault.end) as run:
        wrong: list[str] = []
        life = _meet(ground, run, fault, engine)
        ended = [_end_of(life)]
        fired = ground.fired() - before
        ground.clear()
        if ended != ["0"]:
            has_begun = bool(run.journal.exists() and run.records())
            if has_begun:
                scene = run.scene(over=False)
                wrong += [*unintended(scene), *leaks(scene)]
            if not _may_stop(fault, ended[0], has_begun=has_begun):
                wrong.append(f"the coordinator did not live through it: {life.story()}")
            last = run.live()
            ended.append(_end_of(last))
            if ended[-1] != "0":
                wrong.append(f"nor did it end when all was well again: {last.story()}")
                return Judged(fired, tuple(ended), "", tuple(wrong))
        run.settle()
        state = run.state()
        if state in _allowed(fault):
            wrong += problems(replace(run.scene(), end=state))
        else:
            wrong.append(f"it ended {state}")
        return Judged(fired, tuple(ended), state, tuple(wrong))


def _meet(ground: Proxied, run: Run, fault: Fault, engine: str) -> Life:
    """Start a life that meets the fault at its point."""
    if fault.point == START:
        fault.set_on(ground, run)
        return run.live(engine=engine)
    life = run.live(stop_at=fault.point, by=signal.SIGSTOP, engine=engine)
    if life.came_to_its_point():
        fault.set_on(ground, run)
        life.go_on()
    return life


def _end_of(life: Life) -> str:
    """How it ended: its exit code, or what it said last where that is not 0."""
    try:
        code = life.exit_code()
    except AssertionError:
        life.kill()
        return "it neither ended nor died"
    raised = [line for line in life.said().splitlines() if _RAISED.match(line)]
    return raised[-1] if code > 0 and raised else str(code)


def _may_stop(fault: Fault, ended: str, *, has_begun: bool) -> bool:
    """Whether a coordinator may end before its saga does."""
    if fault.way == KILL:
        return ended == str(-signal.SIGKILL)
    if fault.way == "forged" and "WrongChain" in ended:
        return True
    # What a node refuses at plan time is told to whoever asked, and nothing has begun.
    told = "PreflightError" in ended or "PlanRefused" in ended
    return fault.way in {"error", "forged", "stale"} and told and not has_begun


def _allowed(fault: Fault) -> set[str]:
    """A node that says no, or lies that it would, is one reason more to roll back; and a payment
    whose burn comes late may get its block first.
    """
    end = ENDS[fault.end]
    if fault.way == "forged":
        return {end.state, "rolled_back"}
    return {"committed", "rolled_back"} if end.asked_back else {end.state}
