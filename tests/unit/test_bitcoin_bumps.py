"""A payment that is bumped: what it may cost, what it has to beat, and where its change goes."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from adapters.assets import AssetFacts
from adapters.base import Attempt, StepSpec, Task
from adapters.bitcoin.adapter import BitcoinAdapter
from adapters.bitcoin.address import own_address, script_of_key
from adapters.bitcoin.signing import LocalBitcoinSigner
from adapters.bitcoin.transactions import parse_tx
from adapters.errors import Rejected
from tests.unit.bitcoin_node_server import (
    REGTEST,
    Bitcoind,
    Chain,
    coin,
    serving,
    settings_of,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence
    from pathlib import Path

_SIGNER = LocalBitcoinSigner(b"\x01" * 32)
_SCRIPT = script_of_key(_SIGNER.public_key)
_PAYEE = own_address(LocalBitcoinSigner(b"\x02" * 32).public_key, REGTEST)
_AMOUNT_SAT = 100_000
#: Nodes relay no P2WPKH output below this.
_DUST_SAT = 294


class Book:
    """Claims of nobody else."""

    def take_next(self, resource: str, floor: int) -> int:
        del resource
        return floor

    def take(self, resource: str, value: int = 0) -> bool:
        del resource, value
        return True

    def taken(self, resource: str, value: int = 0) -> bool:
        del resource, value
        return False


@asynccontextmanager
async def adapter_on(node: Bitcoind, folder: Path) -> AsyncIterator[BitcoinAdapter]:
    settings = settings_of([node], fee={"max_sat_vb": 2, "fallback_sat_vb": 2})
    assets = {"BTC": AssetFacts("BTC", 8, None, native=True)}
    adapter = BitcoinAdapter("bitcoin", settings, {"treasury": _SIGNER}, assets, folder)
    await adapter.open()
    try:
        yield adapter
    finally:
        await adapter.close()


async def payment(adapter: BitcoinAdapter, left_sat: int) -> Task:
    """A payment from the coin that leaves so much for the fee."""
    value = {"asset": "BTC", "value": "0.00100000"}
    spec = StepSpec("step", "bitcoin", "pay", {"amount": value, "to": _PAYEE})
    action = (await adapter.resolve(spec)).action
    return Task(
        saga="saga", step="step", direction="forward", generation=1, action=action,
        op_id="11" * 32, saga_id32="22" * 32, deadline_s=2**31, coins=(f"{left_sat:064x}:0",),
    )  # fmt: skip


async def attempt(adapter: BitcoinAdapter, task: Task, former: Sequence[Attempt]) -> Attempt:
    """Build one more attempt; it is what it has to be, whatever it costs."""
    made = await adapter.prepare(task, "effect", Book(), former)
    tx = parse_tx(made.raw)
    assert tx.outputs[0].value_sat == _AMOUNT_SAT
    assert all(out.value_sat >= _DUST_SAT for out in tx.outputs)
    fee_sat = int(made.fee["fee_sat"])
    assert 0 < fee_sat <= int(made.fee["cap_sat"])
    if former:
        # BIP-125, rules 3 and 4, at 1 sat/vB.
        assert fee_sat >= int(former[-1].fee["fee_sat"]) + tx.vsize
    return Attempt(made.tx_id, "effect", made.claim, made.since, made.fee, made.facts)


async def fees_until_refused(adapter: BitcoinAdapter, task: Task) -> list[int]:
    """Replace an attempt until that is refused; return the fees paid."""
    former: list[Attempt] = []
    refusal: Rejected | None = None
    while refusal is None:
        try:
            former.append(await attempt(adapter, task, former))
        except Rejected as refused:
            refusal = refused
    assert refusal.code in {"policy", "unfunded"}
    assert "nothing was sent" in str(refusal)
    return [int(each.fee["fee_sat"]) for each in former]


def coins_leaving(left: Iterable[int]) -> list[dict[str, Any]]:
    return [coin(n, _SCRIPT, _AMOUNT_SAT + n) for n in left]


def test_whatever_a_coin_leaves_it_is_replaced_within_its_cap_or_refused(tmp_path: Path) -> None:
    left = range(225, 1000, 5)
    node = Bitcoind(Chain(5), coins=coins_leaving(left))

    async def whole() -> dict[int, list[int]]:
        async with serving(node), adapter_on(node, tmp_path) as adapter:
            return {n: await fees_until_refused(adapter, await payment(adapter, n)) for n in left}

    bumps = asyncio.run(whole())
    # The fee would be 423 and leave 177, which is dust; all of it would be beyond the cap of 576.
    assert bumps[600] == [282]
    assert bumps[720] == [282, 423]
    assert sum(len(fees) > 1 for fees in bumps.values()) > len(bumps) // 3


@pytest.mark.parametrize(
    ("left_sat", "fee_sat"),
    [(2000, 1410), (1500, 1206), (1400, 1400), (1200, 1200), (700, 700)],
)
def test_a_bump_gives_up_some_of_its_fee_before_it_gives_up_itself(
    left_sat: int, fee_sat: int, tmp_path: Path
) -> None:
    """Worth mining would be 10 sat/vB, 1410 satoshi, which is what an operator allows by now."""
    node = Bitcoind(Chain(5), coins=coins_leaving([left_sat]))

    async def whole() -> Attempt:
        async with serving(node):
            async with adapter_on(node, tmp_path) as adapter:
                task = await payment(adapter, left_sat)
                first = await attempt(adapter, task, [])
            node.says["estimatesmartfee"] = {"feerate": 0.0001}
            async with adapter_on(node, tmp_path) as adapter:
                return await attempt(adapter, replace(task, cap_pct=500), [first])

    assert int(asyncio.run(whole()).fee["fee_sat"]) == fee_sat
