"""What pools forget, what prices pass by, and which of two attempts a block takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from coordinator.devnet.network import miner_address
from tests.adversity.held import held, raw_of, records_of
from tests.crash.ground import Ground
from tests.e2e.trouble import World
from tests.reliability.notes import noted
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.timeout(180)

#: What `max_gwei` of the development network lets an effect pay, once it may be undone no more.
CAP_GWEI = 100
#: What a block costs before a saga; each one that is almost empty is an eighth cheaper.
USUAL_GWEI = 4
#: The end, the effort that waits, its chain.
EVM = [
    ("committed", "mint.forward", "ethereum"),
    ("committed", "lock.confirm", "polygon"),
    ("rolled_back", "lock.undo", "polygon"),
]
BITCOIN = [
    ("committed", "move.forward", "bitcoin"),
    ("rolled_back", "move.undo", "bitcoin"),
    ("pay_committed", "pay.forward", "bitcoin"),
]


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with Ground.open(tmp_path_factory.mktemp("pools")) as ground:
        yield ground


@pytest.mark.parametrize(("end", "effort", "chain"), EVM)
def test_what_a_pool_has_dropped_is_sent_again_in_the_same_bytes(
    ground: Ground, end: str, effort: str, chain: str
) -> None:
    with (
        noted("adversity", "dropped from the pool", phase=effort),
        held(ground, end, effort, chain) as one,
    ):
        with one.stopped():
            ground.devnet.rpc(chain, "anvil_dropTransaction", one.first)
            assert one.waiting() == []
        wait_until(lambda: one.waiting() == [one.first], what="the same bytes in the pool")
        one.released()
        assert len(one.intents()) == 1


@pytest.mark.parametrize(("end", "effort", "chain"), [*EVM, *BITCOIN])
def test_an_older_attempt_that_a_block_takes_although_it_was_replaced_is_the_effect(
    ground: Ground, end: str, effort: str, chain: str
) -> None:
    with (
        noted("adversity", "replaced attempt mined", phase=effort),
        held(ground, end, effort, chain) as one,
    ):
        second = one.replaced(gwei=CAP_GWEI // 2)
        with one.stopped():
            raw = raw_of(one.run, one.first)
            if chain == "bitcoin":
                ground.devnet.rpc(chain, "generateblock", miner_address(), [raw])
            else:
                ground.devnet.rpc(chain, "anvil_dropTransaction", second)
                ground.devnet.rpc(chain, "anvil_setNextBlockBaseFeePerGas", "0x1")
                ground.devnet.rpc(chain, "eth_sendRawTransaction", f"0x{raw}")
                ground.devnet.rpc(chain, "anvil_mine", "0x1")
        one.released()
        done = [record["tx"] for record in records_of(one.run, "done", effort)]
        assert done == [one.first]
        assert len({str(intent["claim"]) for intent in one.intents()}) == 1


@pytest.mark.parametrize(("end", "effort", "chain"), EVM)
def test_twenty_times_the_price_is_paid_within_the_cap_and_nobody_is_asked(
    ground: Ground, end: str, effort: str, chain: str
) -> None:
    world = World(ground.devnet)
    world.raise_base_fee(chain, USUAL_GWEI)
    world.devnet.rpc(chain, "anvil_mine", "0x1")
    with noted("adversity", "base fee x 20", phase=effort), held(ground, end, effort, chain) as one:
        first = one.intents()[0]["fee"]
        offered_wei, tip_wei = int(first["max_fee"]), int(first["tip"])
        # It was priced at twice the base fee and the tip (EIP-1559).
        price_gwei = -(-20 * (offered_wei - tip_wei) // 2 // 10**9)
        assert offered_wei < price_gwei * 10**9 <= CAP_GWEI * 10**9
        second = one.replaced(gwei=price_gwei)
        fee = next(intent["fee"] for intent in one.intents() if intent["tx"] == second)
        assert price_gwei * 10**9 <= int(fee["max_fee"]) <= CAP_GWEI * 10**9
        one.released()
        assert not [r for r in one.run.records() if r["kind"] in {"stuck", "verdict"}]


@pytest.mark.parametrize(("end", "effort", "chain"), EVM[1:])
def test_a_price_above_the_cap_alarms_and_is_outlived(
    ground: Ground, end: str, effort: str, chain: str
) -> None:
    with (
        noted("adversity", "base fee above the cap", phase=effort),
        held(ground, end, effort, chain) as one,
    ):

        def alarmed() -> bool:
            one.pass_by(gwei=4 * CAP_GWEI)
            return any(record["kind"] == "stuck" for record in one.run.records())

        wait_until(alarmed, what="an alarm")
        alarm = next(r["data"] for r in one.run.records() if r["kind"] == "stuck")
        assert "cap" in alarm["verdicts"], alarm
        assert all(int(i["fee"]["max_fee"]) <= CAP_GWEI * 10**9 for i in one.intents())
        one.pass_by(gwei=1)
        one.released()
        assert len({str(intent["claim"]) for intent in one.intents()}) == 1
