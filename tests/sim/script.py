"""A simulated world as data: what is run, what goes wrong and when. Written, read, run, shrunk.

A random schedule is drawn as a `Script`; when one fails, its faults are written out by name, and
parts are taken away as long as it still fails in the same way. What is left is one line of JSON.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Final

from msgspec import json

from tests.sim.chain import Fate
from tests.sim.checker import check
from tests.sim.faults import Faults
from tests.sim.plans import PLANS, specs_of
from tests.sim.world import NotLive, World, evidence_of, unfinished

__all__ = [
    "Script",
    "Trouble",
    "build",
    "examine",
    "failure_of",
    "judge",
    "parse",
    "perform",
    "shrunk",
]

#: (tick, what, its arguments); `_TROUBLES` says what there is.
Trouble = tuple[int, str, tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Script:
    """One world.

    Attributes:
        plans: a plan for each saga (`plans.specs_of`).
        payee_ticks: what payees need before they redeem; None: they never do.
        stagger_ms: between the starts of two sagas.
        calm_at: from this tick on no fault fires and every trouble is over.
        troubles: what happens at which tick.
        faults: (point, way), by name.
        deep: blocks that were final are taken back; checks of timing are off.
        stranger: somebody else uses our keys; sagas may wait for a person then.
    """

    plans: tuple[str, ...] = ("reference",)
    coordinators: int = 1
    confirmations: int = 2
    payee_ticks: int | None = 1
    stagger_ms: int = 0
    nodes: int = 1
    bump_blocks: int = 0
    calm_at: int = 60
    max_ticks: int = 900
    deep: bool = False
    stranger: bool = False
    troubles: tuple[Trouble, ...] = ()
    faults: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        plain = asdict(Script())
        changed = {name: value for name, value in asdict(self).items() if value != plain[name]}
        return json.encode(changed).decode()

    @property
    def replay(self) -> str:
        """The command that runs this script alone and prints its journal."""
        return f"python -m tests.sim script '{self}'"


def parse(text: str) -> Script:
    """Read what `Script.__str__` wrote."""
    fields = json.decode(text)
    for name in ("plans", "troubles", "faults"):
        if name in fields:
            fields[name] = tuple(_tuples(item) for item in fields[name])
    return Script(**fields)


def _tuples(item: Any) -> Any:
    return tuple(_tuples(part) for part in item) if isinstance(item, list) else item


# ---------------------------------------------------------------- what can go wrong


def _chain_trouble(world: World, chain: str, field: str, value: Any) -> None:
    trouble = world.chains[chain].trouble
    if isinstance(getattr(trouble, field), set):
        getattr(trouble, field).add(value)
    else:
        setattr(trouble, field, value)


def _reorg(world: World, chain: str, depth: int, fate: Fate) -> None:
    world.chains[chain].reorg(depth, fate)


def _node(world: World, chain: str, number: int, field: str, value: Any) -> None:
    setattr(world.chains[chain].nodes[number], field, value)


def _evict(world: World, chain: str) -> None:
    world.chains[chain].evict()


def _freeze(world: World, number: int, ticks: int) -> None:
    world.freeze(number, ticks)


def _consume(world: World, chain: str, account: str) -> None:
    world.chains[chain].consume(account)


def _calm(world: World) -> None:
    world.faults.on = False
    for chain in world.chains.values():
        chain.calm()


_TROUBLES: Final[Mapping[str, Callable[..., None]]] = {
    "trouble": _chain_trouble,
    "reorg": _reorg,
    "node": _node,
    "evict": _evict,
    "freeze": _freeze,
    "consume": _consume,
}


# ---------------------------------------------------------------- running


def build(script: Script, faults: Faults | None = None) -> World:
    """Prepare the world of ``script``; ``faults`` instead of those that it names."""
    world = World(
        script.plans[0],
        faults if faults is not None else Faults(dict(script.faults)),
        plans=script.plans,
        coordinators=script.coordinators,
        confirmations=script.confirmations,
        payee_ticks=script.payee_ticks,
        stagger_s=script.stagger_ms / 1000,
        nodes=script.nodes,
        bump_blocks=script.bump_blocks,
        max_ticks=script.max_ticks,
    )
    happening: dict[int, list[Callable[[World], None]]] = {}
    for tick, what, arguments in script.troubles:
        act = _TROUBLES[what]
        happening.setdefault(tick, []).append(lambda w, a=act, b=arguments: a(w, *b))  # type: ignore[misc]
    happening.setdefault(script.calm_at, []).append(_calm)
    world.events = {tick: partial(_all, acts) for tick, acts in happening.items()}
    return world


def _all(acts: list[Callable[[World], None]], world: World) -> None:
    for act in acts:
        act(world)


def examine(script: Script, world: World) -> None:
    """Check what a run of ``script`` left behind.

    Raises:
        AssertionError: with what is wrong.
    """
    check(evidence_of(world, finality_broke=script.deep))
    left = [saga for saga in unfinished(world) if not _may_wait(script, world, saga)]
    if left:
        raise NotLive(f"{left} did not end in {world.ticks} ticks")
    _calm(world)  # all may have ended while something was still wrong
    if not unfinished(world):  # who waits for somebody outside says so again and again
        world.resume_idly()


def _may_wait(script: Script, world: World, saga: str) -> bool:
    """Whether a saga that has not ended waits for what only somebody outside can bring, and says
    so: a payee who never redeems, or a person's word on a stranger's use of our keys."""
    row = next(row for row in world.rows() if row.saga == saga)
    if script.payee_ticks is None and row.state == "confirming":
        return bool(row.stuck)
    return script.stranger and bool(row.stuck)


def judge(script: Script, faults: Faults | None = None) -> World:
    """Run ``script`` and check everything.

    Raises:
        AssertionError: with what is wrong and the command that replays it.
    """
    world = build(script, faults)
    try:
        world.run()
        examine(script, world)
    except Exception as error:
        named = replace(script, faults=tuple(world.faults.fired))
        error.add_note(f"replay: {named.replay}")
        raise
    return world


def perform(script: Script) -> str:
    """Run ``script``; return how it fails, in a word or two, empty when it does not."""
    try:
        world = judge(script)
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - a failure is the result
        return failure_of(error)
    world.store.recycle()
    return ""


def failure_of(error: BaseException) -> str:
    """Return the kind of a failure: its rule where the checker named one, else its type."""
    first = str(error).split(maxsplit=1)[:1]
    rule = first[0] if first and first[0][:1] == "I" and first[0][1:].isdigit() else ""
    return f"{type(error).__name__} {rule}".strip()


# ---------------------------------------------------------------- smaller


def simpler(script: Script) -> Iterator[Script]:
    """Yield scripts that are a little smaller than ``script``, the smallest first."""
    for name in ("troubles", "faults", "plans"):
        parts = getattr(script, name)
        for kept in _fewer(parts):
            if kept or name != "plans":
                yield _changed(script, name, kept)
    for number, plan in enumerate(script.plans):
        name = plan.partition(":")[0]
        steps = [spec.id for spec in specs_of(plan)]
        for gone in steps if len(steps) > 1 else ():
            fewer = f"{name}:{'+'.join(step for step in steps if step != gone)}"
            yield replace(script, plans=_with(script.plans, number, fewer))
        if name != "single" and "single" in PLANS:
            yield replace(script, plans=_with(script.plans, number, "single"))
    plain = Script()
    for field in ("coordinators", "nodes", "stagger_ms", "bump_blocks", "payee_ticks"):
        if getattr(script, field) != getattr(plain, field):
            yield _changed(script, field, getattr(plain, field))


def _changed(script: Script, field: str, value: Any) -> Script:
    fields: dict[str, Any] = {field: value}
    return replace(script, **fields)


def _with(plans: tuple[str, ...], number: int, plan: str) -> tuple[str, ...]:
    return (*plans[:number], plan, *plans[number + 1 :])


def _fewer(parts: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """Yield ``parts`` without a half, a quarter …, one of them."""
    size = len(parts)
    while size:
        for start in range(0, len(parts), size):
            yield parts[:start] + parts[start + size :]
        size //= 2


def shrunk(script: Script, runs: int = 400) -> tuple[Script, str]:
    """Return the smallest script found that fails as ``script`` does, and how that is.

    Args:
        script: with its faults by name (`Faults.fired`).
        runs: how many smaller ones are tried at most.
    """
    failure = perform(script)
    if not failure:
        return script, ""
    tried, smaller = 0, True
    while smaller:
        smaller = False
        for candidate in simpler(script):
            tried += 1
            if tried > runs:
                return script, failure
            if perform(candidate) == failure:
                script, smaller = candidate, True
                break
    return script, failure
