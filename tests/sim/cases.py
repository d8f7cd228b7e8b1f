"""One simulated case by name: plan, failure, fault; run, checked, and replayable in one line."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from tests.sim.checker import check
from tests.sim.faults import Faults, ways
from tests.sim.plans import PLANS
from tests.sim.preparing import CALLS
from tests.sim.world import NotLive, World, evidence_of, unfinished

#: A refused step ends the plan otherwise.
CHANGES_THE_END: Final = frozenset({"rejected"})
#: Calls that repeat while nothing happens: later occurrences add nothing to the first ones.
REPEATS: Final = {"follow": 2, "observe": 4}
#: Calls that change nothing, in the process or on the chain.
CHANGES_NOTHING: Final = frozenset({"preflight", "observe", "unused", "cover", "fill"})

__all__ = [
    "CASES",
    "Case",
    "build",
    "distinct",
    "hold",
    "judge",
    "list_points",
    "pairs",
    "parse",
    "run",
    "singles",
]


@dataclass(frozen=True, slots=True)
class Case:
    """``fail`` is ``none``, ``STEP:refused`` (its preflight says no), ``STEP:reverted`` (its block
    says no) or ``late`` (the deadline passes while the last step waits for a block)."""

    plan: str
    fail: str = "none"
    #: (point, way) in the order in which they are to fire
    faults: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        broken = ";".join(f"{point}/{way}" for point, way in self.faults)
        text = f"plan={self.plan},fail={self.fail}"
        return f"{text},fault={broken}" if broken else text

    @property
    def ways(self) -> set[str]:
        return {way for _, way in self.faults}

    @property
    def replay(self) -> str:
        """The command that runs this case alone and prints its journal."""
        return f"python -m tests.sim replay '{self}'"

    def wanted_end(self) -> str:
        return "committed" if self.fail == "none" else "rolled_back"


def parse(text: str) -> Case:
    """Read what `Case.__str__` wrote."""
    head, _, fault = text.partition(",fault=")
    fields = dict(part.split("=", 1) for part in head.split(","))
    pairs = [one.rpartition("/") for one in fault.split(";") if one]
    faults = tuple((point, way) for point, _, way in pairs)
    return Case(fields["plan"], fields.get("fail", "none"), faults)


def _cases() -> tuple[Case, ...]:
    found = []
    for plan, specs in PLANS.items():
        found.append(Case(plan))
        for spec in specs:
            if not spec.after_pivot:
                found += [Case(plan, f"{spec.id}:refused"), Case(plan, f"{spec.id}:reverted")]
        found.append(Case(plan, "late"))
    return tuple(found)


#: Every plan shape with success, failure at each step in both ways, and a passed deadline.
CASES: Final = _cases()


def build(case: Case) -> World:
    """Prepare the world of ``case``, with its failure and its fault in place."""
    faults = Faults(dict(case.faults))
    events: Mapping[int, Callable[[World], None]] = {}
    if case.fail == "late":
        events = {40: _unstick}
    world = World(case.plan, faults, events=events)
    if case.fail == "none":
        return world
    if case.fail == "late":
        spec = [spec for spec in PLANS[case.plan] if not spec.after_pivot][-1]
        world.chains[spec.chain].trouble.stuck.add(CALLS[spec.action, "forward"])
        return world
    name, _, how = case.fail.partition(":")
    spec = next(spec for spec in PLANS[case.plan] if spec.id == name)
    chain, op = world.chains[spec.chain], CALLS[spec.action, "forward"]
    if how == "refused":
        chain.trouble.paused.add(op)
    elif chain.kind == "coins":
        chain.trouble.stolen.add(op)
    else:
        chain.trouble.reverting.add(op)
    return world


def _unstick(world: World) -> None:
    for chain in world.chains.values():
        chain.trouble.stuck.clear()


def run(
    case: Case, prepare: Callable[[World], None] | None = None, *, resume: bool = True
) -> World:
    """Run ``case`` and check everything; ``prepare`` may change its world before.

    Raises:
        AssertionError: with what is wrong and the command that replays it.
    """
    world = build(case)
    if prepare is not None:
        prepare(world)
    try:
        world.run()
        judge(case, world, resume=resume)
    except Exception as error:
        error.add_note(f"replay: {case.replay}")
        raise
    return world


def hold(case: Case, known: set[bytes] | None = None, *, resume: bool = True) -> World:
    """Run ``case`` and check everything as `run` does, for its own sake alone.

    With ``known`` (one for each plan and failure) a run ends where a process begins with just what
    one of an earlier run found when it began, and all is well: the rest has been seen.

    Raises:
        AssertionError: with what is wrong and the command that replays it.
    """

    def prepare(world: World) -> None:
        world.known = known

    world = run(case, prepare, resume=resume)
    if known is not None:
        known.update(world.begun)
    world.store.recycle()
    return world


def judge(case: Case, world: World, *, resume: bool = True) -> None:
    """Check what a run of ``case`` left behind.

    Raises:
        AssertionError: with what is wrong.
    """
    assert set(world.faults.fired) == set(case.faults), f"fired: {world.faults.fired}"
    if world.merged:
        secrets = [secret.hex() for secret in evidence_of(world).preimages.values()]
        assert not any(secret in text for _, text in world.logs for secret in secrets)
        return
    check(evidence_of(world))
    left = unfinished(world)
    if left:
        raise NotLive(f"{left} did not end in {world.ticks} ticks")
    states = {row.state for row in world.rows()}
    wanted = {case.wanted_end()}
    if case.ways & CHANGES_THE_END or case.fail == "late":
        wanted |= {"committed", "rolled_back"}
    assert states <= wanted, f"ended {states}, wanted {wanted}"
    if resume:
        world.resume_idly()


def list_points(case: Case) -> list[str]:
    """Return the points that a run of ``case`` passes, idle repeats left out."""
    return _points(build(case).run())


def _points(world: World) -> list[str]:
    return [
        point
        for point in dict.fromkeys(world.faults.points)
        if int(point.rpartition("#")[2]) <= REPEATS.get(point.split()[0], 1 << 30)
    ]


def singles(case: Case) -> Iterator[Case]:
    """Yield ``case`` with every single fault."""
    for point in list_points(case):
        for way in ways(point):
            yield replace(case, faults=((point, way),))


def pairs(case: Case) -> Iterator[Case]:
    """Yield ``case`` with every two faults, the second one met after the first has fired.

    What provably runs alike is yielded once (`distinct`).
    """
    for first in distinct(case):
        yield from distinct(first)


def distinct(case: Case) -> Iterator[Case]:
    """Yield ``case`` with every further fault that leads to a run of its own.

    Two kinds of faults run alike, whatever the engine is. A process that dies leaves journal,
    chains and time behind and nothing else, so two deaths in the same run at which all of these
    are the same (`World._mark`) have the same future. And a call that changes nothing here or on
    the chain fails alike whether its question or its answer was lost.
    """
    world = build(case)
    marks: dict[str, list[Any]] = {}
    world.faults.marks = marks
    world.run()
    world.store.recycle()
    points = _points(world)
    if case.faults:
        last = case.faults[-1][0]
        points = points[points.index(last) + 1 :] if last in points else []
    deaths: set[Any] = set()
    for point in points:
        mark = marks[point]
        for way in ways(point):
            if way == "lost" and point.split()[0] in CHANGES_NOTHING:
                continue
            if way == "crash_before" or (way == "crash_after" and len(mark) > 1):
                death = mark[0 if way == "crash_before" else 1]
                if death in deaths:
                    continue
                deaths.add(death)
            yield replace(case, faults=(*case.faults, (point, way)))
