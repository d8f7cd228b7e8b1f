"""The reference scenario when it is not the mint that fails: Bitcoin's step, or the first one.

Each is caught once by the repeated preflight, before anything of the step is sent, and once by the
chain, when the step's bytes are durable already.
"""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from coordinator.devnet.ledger import Line
from coordinator.journal.base import Record
from tests.e2e.network import (
    BITCOIN_STEP,
    VARIANTS,
    Coordinator,
    Cues,
    coordinator,
    expect_equal_but_for_fees,
    intents,
    settled,
    verify_rollback,
)
from tests.e2e.trouble import World

FEE_SAT = 2_000
#: What was done before Bitcoin's step, in reverse: the payment comes after the mint.
UNDONE = {"hold": ["lock"], "transfer": ["lock"], "pay": ["mint", "lock"]}


def rolled_back(
    world: World,
    folder: Path,
    variant: str,
    cues: Callable[[Coordinator, str], Cues],
    elsewhere: Mapping[Line, int] | None = None,
) -> list[Record]:
    """Run the plan with these cues; the chains must be as they were, but for what the test moved.

    ``elsewhere`` is read when the run is over, so that a cue may still write into it.
    """
    before = settled(world.devnet)

    async def story() -> tuple[list[Record], Mapping[str, int]]:
        async with coordinator(world.devnet, folder) as ours:
            saga = await ours.accept(variant)
            state = await ours.drive(saga, cues(ours, saga))
            assert state.state == "rolled_back"
            return ours.records(saga), state.fees

    records, fees = asyncio.run(story())
    expect_equal_but_for_fees(before, settled(world.devnet), fees, elsewhere)
    return records


@pytest.mark.parametrize("variant", ["hold", "transfer"])
def test_when_all_coins_were_spent_elsewhere_the_bitcoin_step_is_not_sent(
    world: World, tmp_path: Path, variant: str
) -> None:
    """Either the preflight finds no coin, or the sweep is seen in its block before that: then a
    stranger has used the key, and the step does not begin until the deadline has passed.
    """
    moved: dict[Line, int] = {}
    strangers: list[str] = []

    def cues(ours: Coordinator, _saga: str) -> Cues:
        def sweep() -> None:
            coins = [outpoint for outpoint, _ in world.coins("treasury_btc")]
            moved.update(world.spend("treasury_btc", coins, "settlement_btc", fee_sat=FEE_SAT))

        def look() -> None:
            strangers.extend(record.kind for record in ours.journal.read("operator"))

        return {("intent", "lock", "forward"): sweep, ("decided", None, None): look}

    records = rolled_back(world, tmp_path, variant, cues, moved)

    step = BITCOIN_STEP[variant]
    assert not intents(records, step)
    refused = [(r.data["step"], r.data["code"]) for r in records if r.kind == "refused"]
    if refused:
        assert refused == [(step, "unfunded")]
        cause = {"kind": "refused", "step": step}
    else:
        assert "unexplained" in strangers
        cause = {"kind": "deadline"}
    verify_rollback(world.devnet, records, undone=UNDONE[variant], cause=cause)


@pytest.mark.parametrize("variant", VARIANTS)
def test_when_its_coin_is_spent_elsewhere_the_bitcoin_step_can_never_land(
    world: World, tmp_path: Path, variant: str
) -> None:
    step = BITCOIN_STEP[variant]
    moved: dict[Line, int] = {}

    def cues(ours: Coordinator, saga: str) -> Cues:
        def spend_its_coins() -> None:
            (intent,) = intents(ours.records(saga), step)
            coins = [outpoint for outpoint, _ in intent.data["claim"]]
            moved.update(world.spend("treasury_btc", coins, "settlement_btc", fee_sat=FEE_SAT))

        return {("intent", step, "forward"): spend_its_coins}

    records = rolled_back(world, tmp_path, variant, cues, moved)

    failed = next(r for r in records if r.kind == "not_done")
    assert failed.data["step"] == step
    assert failed.data["tx"] not in {r.data["tx"] for r in intents(records)}
    cause = {"kind": "failed", "step": step}
    verify_rollback(world.devnet, records, undone=UNDONE[variant], cause=cause)


@pytest.mark.parametrize("variant", VARIANTS)
def test_when_the_first_step_is_refused_nothing_is_ever_sent(
    world: World, tmp_path: Path, variant: str
) -> None:
    def cues(*_: object) -> Cues:
        world.pause("polygon", "vault")  # the plan was accepted a moment ago
        return {}

    records = rolled_back(world, tmp_path, variant, cues)

    assert not intents(records)
    assert [r.kind for r in records] == ["started", "refused", "decided", "closed"]
    cause = {"kind": "refused", "step": "lock", "text": "paused"}
    verify_rollback(world.devnet, records, undone=[], cause=cause)


@pytest.mark.parametrize("variant", VARIANTS)
def test_when_the_first_step_reverts_there_is_nothing_to_take_back(
    world: World, tmp_path: Path, variant: str
) -> None:
    cue: Cues = {("intent", "lock", "forward"): lambda: world.pause("polygon", "vault")}

    records = rolled_back(world, tmp_path, variant, lambda *_: cue)

    # On a slow machine the pause's own blocks may pass the lock by, which is then sent at more.
    locks = {lock.data["tx"] for lock in intents(records)}
    assert {(r.data["step"], r.data["dir"]) for r in intents(records)} == {("lock", "forward")}
    (failed,) = [r.data["tx"] for r in records if r.kind == "not_done"]
    assert failed in locks
    receipt = world.devnet.rpc("polygon", "eth_getTransactionReceipt", failed)
    assert receipt["status"] == "0x0"
    cause = {"kind": "failed", "step": "lock", "text": "paused"}
    verify_rollback(world.devnet, records, undone=[], cause=cause)
