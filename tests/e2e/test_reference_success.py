"""The reference scenario when nothing goes wrong: every step done, on real nodes."""

import asyncio
from pathlib import Path

import pytest

from coordinator.devnet.ledger import Line, difference
from coordinator.devnet.network import Devnet
from tests.e2e.network import VARIANTS, coordinator, settled

ALZ = 10**18
BTC_SAT = 1_500_000


@pytest.mark.parametrize("variant", VARIANTS)
def test_when_every_step_succeeds_the_value_is_where_the_plan_says(
    devnet: Devnet, tmp_path: Path, variant: str
) -> None:
    before = settled(devnet)

    async def story() -> dict[str, int]:
        async with coordinator(devnet, tmp_path) as ours:
            state = await ours.drive(await ours.accept(variant))
            assert state.state == "committed"
            assert [record.kind for record in ours.records(state.saga)][-1] == "closed"
            return dict(state.fees)

    fees = asyncio.run(story())
    moved = difference(before, settled(devnet))

    assert moved.pop(Line("polygon", "ALZ", "treasury_evm")) == -100 * ALZ
    assert moved.pop(Line("polygon", "ALZ", "reserve")) == 100 * ALZ
    assert moved.pop(Line("ethereum", "ALZ", "receiver")) == 100 * ALZ
    assert moved.pop(Line("ethereum", "ALZ", "supply")) == 100 * ALZ
    assert moved.pop(Line("polygon", "POL", "treasury_evm")) == -fees["POL"]
    assert moved.pop(Line("ethereum", "ETH", "treasury_evm")) == -fees["ETH"]
    assert moved.pop(Line("bitcoin", "BTC", "treasury_btc")) == -BTC_SAT - fees["BTC"]
    target = "settlement_btc" if variant == "transfer" else "payee_btc"
    arrived = moved.pop(Line("bitcoin", "BTC", target))
    # The payee of a hold pays for its own redeem.
    assert BTC_SAT - 1000 < arrived < BTC_SAT if variant == "hold" else arrived == BTC_SAT
    assert moved == {}
