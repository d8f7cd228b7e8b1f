"""What an open saga has set aside is nobody else's: coins of a later payment, value it brought in.

Two sagas want the same value. Each is started as an edge starts it, by `coordinator.service`.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from adapters.base import StepSpec
from coordinator import service
from coordinator.errors import CoordinatorError, JournalBroken
from proofs import canonical
from tests.sim.adapter import SimAdapter
from tests.sim.checker import check
from tests.sim.faults import Faults
from tests.sim.faulty_journal import FaultyJournal
from tests.sim.plans import lock_of
from tests.sim.tx import decode, encode
from tests.sim.world import ENDS, World, evidence_of

#: Decimals of the assets that the plans here move.
UNITS = {"BTC": 10**8, "ALZ": 10**18}


@dataclass(frozen=True, slots=True)
class Entrant:
    """A saga to be: its key, its steps, and the tick from which on it wants to start."""

    key: str
    steps: tuple[StepSpec, ...]
    tick: int = 0


@dataclass(slots=True)
class Contest(World):
    """A world whose sagas have a plan each; ``refused`` says why one was not started."""

    entrants: tuple[Entrant, ...] = ()
    refused: dict[str, str] = field(default_factory=dict)

    def _over(self) -> bool:
        rows = self.rows()
        ended = sum(row.state in ENDS for row in rows)
        return self.ticks >= self.max_ticks or ended + len(self.refused) == len(self.entrants)

    async def _ids(
        self, journal: FaultyJournal, adapters: Mapping[str, SimAdapter]
    ) -> AsyncIterator[str]:
        for entrant in self.entrants:
            await self._reach(entrant.tick)
            lock = await lock_of(entrant.key, adapters, entrant.steps)
            try:
                begun = await service.start(
                    journal,
                    adapters,
                    lock,
                    canonical.digest(lock),
                    key=entrant.key,
                    instance="sim",
                    now_ms=self.clock.now_ms,
                )
            except JournalBroken:
                raise
            except CoordinatorError as error:
                self.refused[entrant.key] = str(error)
                continue
            if self.row(entrant.key).state not in ENDS:
                yield begun.saga

    async def _reach(self, tick: int) -> None:
        await asyncio.sleep(max(0, tick - self.ticks))

    def row(self, key: str) -> Any:
        return next(row for row in self.rows() if row.key == key)

    def end(self, key: str) -> str:
        """How the entrant ended, in one word."""
        return "not started" if key in self.refused else self.row(key).state

    def claims(self, key: str, step: str) -> set[str]:
        """The coins that the intents of one step claim."""
        return {
            resource
            for record in self.store.records
            if record.stream == f"saga:{self.row(key).saga}" and record.kind == "intent"
            for resource, _ in record.data["claim"]
            if record.data["step"] == step
        }

    def coins(self, key: str) -> set[str]:
        """The coins that the first record of a saga reserved."""
        first = self.store.reader.read(f"saga:{self.row(key).saga}")[0]
        return {outpoint for _, _, outpoint in first.data["coins"]}


def step(
    name: str, chain: str, action: str, units: int, to: str, *, source: str = "ops"
) -> StepSpec:
    asset = "BTC" if chain == "bit" else "ALZ"
    whole, rest = divmod(units, UNITS[asset])
    digits = len(str(UNITS[asset])) - 1
    amount = {"asset": asset, "value": f"{whole}.{rest:0{digits}d}"}
    return StepSpec(name, chain, action, {"amount": amount, "from": source, "to": to})


def compete(*entrants: Entrant, **options: Any) -> Contest:
    """Run the entrants to their ends and check everything."""
    contest = Contest("contest", sagas=2, entrants=entrants, **options)
    contest.run()
    check(evidence_of(contest))
    return contest


# ---------------------------------------------------------------- coins of a later payment

#: In two worlds' worth of money: 20 coins of 200,000 satoshi.
PAYS = Entrant(
    "pays",
    (
        step("lock", "poly", "lock", 100_000, "store"),
        step("mint", "eth", "mint", 100_000, "store"),
        step("pay", "bit", "pay", 100_000, "bob"),
    ),
)
#: Needs all twenty coins, although not all of their value.
SWEEPS = Entrant("sweeps", (step("move", "bit", "transfer", 3_890_000, "store"),), tick=2)
FAULTS = [
    {},
    {"append started#1": "crash_after"},
    {"append intent:lock.forward#1": "crash_after"},
    {"prepare pay.forward.effect#1": "crash_after"},
    {"append intent:pay.forward#1": "crash_after"},
]


@pytest.mark.parametrize("coordinators", [1, 2])
@pytest.mark.parametrize("faults", FAULTS, ids=lambda faults: next(iter(faults), "calm"))
def test_nobody_takes_the_coin_that_an_open_saga_will_pay_with(
    faults: dict[str, str], coordinators: int
) -> None:
    contest = compete(PAYS, SWEEPS, faults=Faults(dict(faults)), coordinators=coordinators)
    assert (contest.end("pays"), contest.end("sweeps")) == ("committed", "rolled_back")
    assert contest.claims("pays", "pay") == contest.coins("pays")
    assert not contest.claims("sweeps", "move")
    assert contest.store.reader.locked("bit") == {}


def test_two_payments_never_reserve_the_same_coin() -> None:
    other = Entrant("pays too", PAYS.steps)
    contest = compete(PAYS, other, coordinators=2)
    assert contest.end("pays") == contest.end("pays too") == "committed"
    assert not contest.coins("pays") & contest.coins("pays too")


def test_a_sagas_own_earlier_transfer_leaves_the_coins_of_its_payment_alone() -> None:
    both = Entrant(
        "both",
        (
            step("move", "bit", "transfer", 150_000, "store"),
            step("pay", "bit", "pay", 150_000, "bob"),
        ),
    )
    contest = compete(both)
    assert contest.end("both") == "committed"
    assert contest.claims("both", "pay") == contest.coins("both")
    assert not contest.claims("both", "move") & contest.coins("both")


def test_a_plan_whose_earlier_steps_need_the_coins_of_its_payment_is_not_started() -> None:
    """All but one coin are for the transfer, and the payment needs two."""
    both = Entrant(
        "both",
        (
            step("move", "bit", "transfer", 3_700_000, "store"),
            step("pay", "bit", "pay", 250_000, "bob"),
        ),
    )
    contest = compete(both)
    assert contest.end("both") == "not started"
    assert "move" in contest.refused["both"]
    assert "Nothing was sent" in contest.refused["both"]


def test_a_payment_whose_reserved_coin_a_stranger_took_is_not_made_and_takes_no_other() -> None:
    def steal(world: World) -> None:
        assert isinstance(world, Contest)
        for outpoint in world.coins("pays"):
            args = {"by": "another wallet"}
            _, raw = encode("bit", "ops", -1, [outpoint], 0, "self", args)
            world.chains["bit"].mempool.admit(decode(raw))

    contest = compete(PAYS, events={2: steal})
    assert contest.end("pays") == "rolled_back"
    assert not contest.claims("pays", "pay")
    # Whoever has the key may have taken more: the account begins nothing until somebody has looked.
    assert "unexplained" in {record.kind for record in contest.store.records}
    assert "refused" not in {record.kind for record in contest.store.records}


# ---------------------------------------------------------------- value brought in

#: Brings a million into "store", waits on Bitcoin for a while, and is taken back by its deadline.
BRINGS = Entrant(
    "brings",
    (
        step("in", "poly", "transfer", 1_000_000, "store"),
        step("wait", "bit", "transfer", 100_000, "store"),
    ),
)
#: "store" has two millions of its own, and this saga wants two and a half.
SPENDS = Entrant("spends", (step("out", "poly", "pay", 2_500_000, "bob", source="store"),), tick=4)


def _freeze(world: World) -> None:
    world.chains["bit"].trouble.stuck.add("transfer")


def _thaw(world: World) -> None:
    world.chains["bit"].trouble.stuck.clear()


@pytest.mark.parametrize("coordinators", [1, 2])
@pytest.mark.parametrize("crash", [False, True])
def test_what_an_open_saga_brought_into_an_account_is_not_there_for_others(
    *, crash: bool, coordinators: int
) -> None:
    faults = Faults({"observe in.forward#2": "crash_after"} if crash else {})
    contest = compete(
        BRINGS, SPENDS, faults=faults, coordinators=coordinators, events={1: _freeze, 40: _thaw}
    )
    assert contest.end("brings") == "rolled_back"
    assert contest.end("spends") == "not started"
    assert "1000000" in contest.refused["spends"]


def test_what_a_saga_brought_in_is_there_for_others_once_it_has_closed() -> None:
    brings = Entrant("brings", BRINGS.steps[:1])
    contest = compete(brings, Entrant("spends", SPENDS.steps, tick=12))
    assert (contest.end("brings"), contest.end("spends")) == ("committed", "committed")
