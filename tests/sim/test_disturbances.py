"""Each thing that can be wrong with chains, nodes, clocks and keys, by itself: it happens, and the
saga ends as it should all the same."""

from dataclasses import replace
from itertools import chain

import pytest

from adapters.base import Adapter
from coordinator.strangers import Strangers
from tests.sim import script as scripts
from tests.sim.adapter import SimAdapter
from tests.sim.chain import SimChain
from tests.sim.checker import Violation, check
from tests.sim.counts import Counts
from tests.sim.nodes import Panel
from tests.sim.plans import ASSETS
from tests.sim.script import Script, Trouble
from tests.sim.world import World, evidence_of

THREE = Script(nodes=3)
PRICED = Script(bump_blocks=3)
UNDONE: Trouble = (1, "trouble", ("eth", "reverting", "mint"))


def at(tick: int, where: str, field: str, value: object) -> Trouble:
    return (tick, "trouble", (where, field, value))


def nodes_of(where: str, tick: int, field: str, value: object, *which: int) -> tuple[Trouble, ...]:
    return tuple((tick, "node", (where, number, field, value)) for number in which)


#: kind → (what happens, the ends that are right)
KINDS: dict[str, tuple[Script, set[str]]] = {
    "below base fee": (
        replace(PRICED, troubles=(at(2, "bit", "base_fee", 60), at(40, "bit", "base_fee", 0))),
        {"committed"},
    ),
    "replaced": (
        replace(PRICED, troubles=(at(1, "poly", "base_fee", 60), at(40, "poly", "base_fee", 0))),
        {"committed"},
    ),
    "older one wins": (
        replace(PRICED, troubles=(
            at(1, "poly", "old_wins", True), at(1, "poly", "base_fee", 60),
            at(4, "poly", "base_fee", 0),
        )),
        {"committed"},
    ),
    "below relay fee": (
        Script(troubles=(
            (1, "evict", ("poly",)), at(1, "poly", "relay_fee", 40), at(8, "poly", "relay_fee", 0),
        )),
        {"committed", "rolled_back"},
    ),
    "put out of a full pool": (
        Script(plans=("transfers",) * 6, stagger_ms=300, troubles=(
            at(1, "poly", "halted", True), at(1, "poly", "room", 2),
            at(4, "poly", "halted", False), at(20, "poly", "room", None),
        )),
        {"committed", "rolled_back"},
    ),
    "evicted": (
        Script(troubles=(
            at(1, "bit", "halted", True), (3, "evict", ("bit",)), at(5, "bit", "halted", False),
        )),
        {"committed"},
    ),
    "reorganised": (Script(troubles=((4, "reorg", ("poly", 1, True)),)), {"committed"}),
    "finality broken": (
        Script(deep=True, troubles=(
            at(1, "eth", "stuck", "mint"), (8, "reorg", ("poly", 3, "wait")),
            (10, "trouble", ("eth", "paused", "none")),
        ), calm_at=12),
        {"committed", "rolled_back"},
    ),
    "halted": (
        Script(troubles=(at(2, "eth", "halted", True), at(9, "eth", "halted", False))),
        {"committed"},
    ),
    "slow block": (
        Script(troubles=(at(2, "eth", "slow", 3), at(60, "eth", "slow", 1))), {"committed"},
    ),
    "node lags": (
        replace(THREE, troubles=nodes_of("poly", 2, "lag", 2, 0)), {"committed"},
    ),
    "node hangs": (
        replace(THREE, troubles=nodes_of("poly", 2, "hangs", True, 0)), {"committed"},
    ),
    "node mute": (
        replace(THREE, troubles=nodes_of("poly", 1, "mute", True, 0, 1, 2)), {"committed"},
    ),
    "node forges": (
        replace(THREE, troubles=nodes_of("poly", 1, "lies", "forges", 0)), {"committed"},
    ),
    "node reverts": (
        replace(THREE, troubles=nodes_of("poly", 1, "lies", "reverts", 0)), {"committed"},
    ),
    "node denies": (
        replace(THREE, troubles=nodes_of("poly", 3, "lies", "denies", 0)),
        {"committed", "rolled_back"},
    ),
    "process stopped": (
        Script(coordinators=2, plans=("reference",) * 3, troubles=(
            (1, "freeze", (0, 9)), (12, "freeze", (1, 9)),
        )),
        {"committed"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_it_happens_and_every_saga_ends_as_it_should(kind: str) -> None:
    script, ends = KINDS[kind]
    counts = Counts("disturbance")
    with counts.judging():
        world = scripts.judge(script)
        assert {row.state for row in world.rows()} <= ends
    counts.add(world)
    counts.tell((kind,))


@pytest.mark.parametrize("where", ["poly", "bit", "eth"])
def test_a_forward_that_beats_its_burn_is_undone(where: str) -> None:
    """The miner keeps the forward until its burn has replaced it, and takes it all the same."""
    troubles = (at(1, where, "old_wins", True), at(1, where, "stuck", "transfer"),
                at(17, where, "old_wins", True))  # fmt: skip
    world = scripts.judge(Script(plans=("transfers",), troubles=troubles, calm_at=30))
    assert {row.state for row in world.rows()} == {"rolled_back"}
    assert world.chains[where].fired["older one wins"] == 1
    assert any(record.data.get("dir") == "undo" for record in world.store.records)


@pytest.mark.parametrize("troubles", [(), (UNDONE,)], ids=["forward", "back"])
@pytest.mark.parametrize("skew_s", [-120, 120])
@pytest.mark.parametrize("where", ["bit", "eth", "poly"])
def test_clocks_that_differ_by_two_minutes_change_no_outcome_halfway(
    where: str, skew_s: int, troubles: tuple[Trouble, ...]
) -> None:
    for tick in (1, 3, 5, 8):
        skewed = (tick, "trouble", (where, "skew_s", skew_s))
        world = scripts.judge(Script(troubles=(*troubles, skewed)))
        assert {row.state for row in world.rows()} <= {"committed", "rolled_back"}
        assert world.chains[where].fired["skewed"], "its blocks tell the time of the others"


@pytest.mark.parametrize("base_fee", [1_050, 5_000])
@pytest.mark.parametrize("tick", [1, 2, 3, 4, 6])
def test_a_spike_above_the_cap_delays_what_must_be_done_and_ends(tick: int, base_fee: int) -> None:
    """1,050 is more than a forward effect may pay and less than a burn may."""
    for where in ("poly", "eth", "bit"):
        spike = (at(tick, where, "base_fee", base_fee), at(40, where, "base_fee", 0))
        scripts.judge(replace(PRICED, troubles=spike))
        scripts.judge(replace(PRICED, troubles=(*spike, UNDONE)))


@pytest.mark.parametrize("ticks", [20, 60])
def test_a_payee_may_take_long(ticks: int) -> None:
    world = scripts.judge(Script(payee_ticks=ticks, plans=("holds", "reference")))
    assert {row.state for row in world.rows()} == {"committed"}


def test_a_payee_that_never_redeems_is_asked_about_and_never_refunded() -> None:
    world = scripts.judge(Script(payee_ticks=None, plans=("holds", "single"), max_ticks=150))
    assert [row.state for row in world.rows()] == ["confirming", "committed"]
    assert not any(record.data.get("dir") == "undo" for record in world.store.records)


# ---------------------------------------------------------------- one node's word


class Credulous(SimAdapter):
    """Negative control: believes the node that it is pinned to."""

    def __init__(self, chain: SimChain) -> None:
        super().__init__(chain, ASSETS)
        self._panel = Panel(chain, trust_one=True)


def credulous(chain: SimChain) -> Adapter:
    return Credulous(chain)


@pytest.mark.parametrize("lie", ["forges", "reverts"])
def test_an_adapter_that_believes_one_node_is_caught(lie: str) -> None:
    lies = [nodes_of(name, 1, "lies", lie, 0) for name in ("poly", "eth", "bit")]
    script = replace(THREE, troubles=tuple(chain.from_iterable(lies)))
    scripts.judge(script)
    world = scripts.build(script)
    world.make_adapter = credulous
    world.run()
    with pytest.raises(Violation):
        scripts.examine(script, world)


def test_an_ended_saga_that_one_node_denies_ends_again_as_it_did() -> None:
    """A process that comes later is pinned to that node: it looks again, and costs nothing."""
    for troubles in ((), (UNDONE,)):
        world = scripts.build(replace(THREE, troubles=troubles)).run()
        before = [row.state for row in world.rows()]
        for network in world.chains.values():
            network.nodes[0].lies = "denies"
        world.resume()
        assert any(record.kind == "reopened" for record in world.store.records)
        for network in world.chains.values():
            network.calm()
        world.resume()
        world.resume()
        scripts.examine(THREE, world)
        assert [row.state for row in world.rows()] == before


# ---------------------------------------------------------------- a stranger with our key


def strangers(world: World) -> list[str]:
    return [r.data["tx"] for r in world.store.records if r.kind == "unexplained"]


@pytest.mark.parametrize("where", ["poly", "bit"])
def test_a_key_that_a_stranger_used_begins_nothing_new(where: str) -> None:
    script = Script(
        plans=("transfers",) * 3, stagger_ms=8_000, stranger=True, max_ticks=150,
        troubles=((14, "consume", (where, "ops")),),
    )  # fmt: skip
    world = scripts.judge(script)
    assert strangers(world)
    states = [row.state for row in world.rows()]
    assert states[0] == "committed"
    assert states[-1] == "rolled_back"


def test_the_checker_tells_of_an_engine_that_goes_on_with_such_a_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def blind(_: Strangers) -> None:
        """Negative control: looks away."""

    monkeypatch.setattr(Strangers, "look", blind)
    world = scripts.build(
        Script(
            plans=("transfers",) * 3,
            stagger_ms=8_000,
            troubles=((14, "consume", ("poly", "ops")),),
        )
    )
    world.run()
    with pytest.raises(Violation, match="I14"):
        check(evidence_of(world))
