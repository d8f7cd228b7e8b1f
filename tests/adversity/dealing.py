"""Which faults a run of the tests tries: a sample by seed, or each call that a saga makes."""

from __future__ import annotations

import os
import random
import re
from typing import TYPE_CHECKING, Final

from tests.adversity.faulty import KILL, WAYS, Fault
from tests.adversity.proxied import Call
from tests.adversity.replaced import DEPTHS, Replacement
from tests.crash.ends import ENDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = [
    "SENDS",
    "candidates",
    "everything",
    "reorganisations",
    "replacements",
    "seed_of_this_run",
]

SENDS: Final = frozenset({"eth_sendRawTransaction", "sendrawtransaction"})
#: Questions that have another answer at another time: only these can be answered late.
_CHANGING: Final = frozenset(
    {
        "eth_getBalance", "eth_getBlockByNumber", "eth_getTransactionCount", "getbestblockhash",
        "getmempoolinfo", "gettxout",
    }
)  # fmt: skip
#: A scan of all coins may take minutes on a long chain, so ten minutes of silence are bearable.
_SLOW: Final = "scantxoutset"
#: The step that a point is about, as in ``after append included:move.forward#1``.
_ABOUT: Final = re.compile(r"[ :](lock|mint|move|hold|pay)[.#]")
#: The chain that each step of the example plans is on.
_CHAINS: Final = {
    "lock": "polygon", "mint": "ethereum", "move": "bitcoin", "hold": "bitcoin", "pay": "bitcoin",
}  # fmt: skip


def seed_of_this_run() -> int:
    """``ADVERSITY_SEED`` deals other cards. The gate's are always the same: what it lets through
    must not hang on luck; deeper runs bring seeds of their own (`tests.reliability`).
    """
    return int(os.environ.get("ADVERSITY_SEED") or 1)


def everything() -> bool:
    """Whether ``ADVERSITY_ALL`` asks for all instead of a sample."""
    return bool(os.environ.get("ADVERSITY_ALL"))


def reorganisations() -> int:
    """How many of a deep run have to take something of ours out of its block, all ends together."""
    return int(os.environ.get("ADVERSITY_REORGS") or 200)


def candidates(end: str, calls: Sequence[Call], dice: random.Random) -> Iterator[Fault]:
    """Yield each named call of an end with one way in which it goes wrong, in a random order.

    Every third of the first ones is a call that sends: there is most to lose. Ways are dealt out
    evenly.
    """
    sends = [call for call in calls if call[2] in SENDS]
    others = [call for call in calls if call[2] not in SENDS]
    dice.shuffle(sends)
    dice.shuffle(others)
    ways: list[str] = []
    turn = 0
    while sends or others:
        from_sends = sends and (turn % 3 == 0 or not others)
        point, chain, method = sends.pop() if from_sends else others.pop()
        turn += 1
        if not any(_fits(method, way) for way in ways):
            ways = [*ways, *dice.sample(WAYS, len(WAYS))]
        way = next(way for way in ways if _fits(method, way))
        ways.remove(way)
        yield Fault(end, point, chain, method, way)


def _fits(method: str, way: str) -> bool:
    if way == "stale":
        return method in _CHANGING
    return (method, way) != (_SLOW, "hang") and (way != KILL or method != _SLOW)


def replacements(end: str, points: Sequence[str], dice: random.Random) -> Iterator[Replacement]:
    """Yield each point of an end with a depth, in a random order, and then all of them again and
    again: on the chain of the step that the point is about, every second time with a kill before
    anybody has seen it.
    """
    # The first one takes something out for certain: its block can not be that deep yet.
    step = dice.choice(["lock", "mint"])
    newest = f"after submit {step}.forward#1"
    yield Replacement(end, newest, _CHAINS[step], DEPTHS[-1], dice.random() < 0.5)
    while points:
        shuffled = dice.sample(points, len(points))
        for turn, point in enumerate(shuffled):
            about = _ABOUT.search(point)
            step = about[1] if about else dice.choice(ENDS[end].steps)
            yield Replacement(end, point, _CHAINS[step], dice.choice(DEPTHS), turn % 2 == 1)
