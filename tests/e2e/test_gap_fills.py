"""A nonce that nobody made durable, on a real node: its fill is replaced, and sent again."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from coordinator import app
from coordinator.delivery import FileDelivery
from coordinator.devnet.control import reorganise
from coordinator.devnet.ledger import evm_address
from coordinator.intents import intent_data
from coordinator.journal.base import Entry, Raw, Record
from coordinator.runner import Runner
from tests.e2e.network import SETTINGS, Coordinator, coordinator, eventually
from tests.no_sagas import none_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.e2e.trouble import World

CHAIN = "ethereum"
TREASURY = evm_address("treasury_evm")
STREAM = f"signer:{CHAIN}:{TREASURY}"


class Scene:
    """The treasury's line on Ethereum, and a process that drives no saga."""

    def __init__(self, world: World, ours: Coordinator) -> None:
        self.world, self.ours = world, ours
        self.hole = self.mined()

    def mined(self) -> int:
        return int(self.world.devnet.rpc(CHAIN, "eth_getTransactionCount", TREASURY, "latest"), 16)

    async def leave_hole(self) -> None:
        """Make the nonce after the next one durable."""
        prepared = await self.ours.adapters[CHAIN].fill(TREASURY, self.hole + 1)
        data = intent_data(
            prepared, step="fill", direction="forward", generation=1, number=1, purpose="burn",
            chain=CHAIN, until_s=int(time.time()) + 60,
        )  # fmt: skip
        await self.ours.journal.append(
            STREAM, 0, [Entry("intent", data)], [Raw(prepared.tx_id, CHAIN, prepared.raw)]
        )

    def fills(self) -> list[Record]:
        """The durable fills of the hole."""
        records = self.ours.journal.read(STREAM)
        return [record for record in records if record.data["claim"] == [[TREASURY, self.hole]]]

    def transaction(self, tx: str) -> Any:
        return self.world.devnet.rpc(CHAIN, "eth_getTransactionByHash", tx)

    def in_block(self, tx: str) -> bool:
        receipt = self.world.devnet.rpc(CHAIN, "eth_getTransactionReceipt", tx)
        return receipt is not None

    @asynccontextmanager
    async def process(self) -> AsyncIterator[Runner]:
        ours, over = self.ours, asyncio.Event()
        runner = Runner(
            journal=ours.journal, adapters=ours.adapters, secrets=ours.secrets, clock=ours.clock,
            instance="test", deliver=FileDelivery(app.preimage_folder(ours.config)),
            settings=SETTINGS,
        )  # fmt: skip

        work = asyncio.create_task(runner.run(none_until(over)))
        try:
            yield runner
        finally:
            over.set()
            with suppress(asyncio.CancelledError):
                await work


def test_a_fill_that_no_block_takes_is_replaced_a_tenth_dearer_and_the_line_moves_again(
    world: World, tmp_path: Path
) -> None:
    async def story() -> None:
        async with coordinator(world.devnet, tmp_path) as ours:
            scene = Scene(world, ours)
            await scene.leave_hole()
            world.hold_blocks(CHAIN)
            async with scene.process():
                await eventually(
                    lambda: scene.fills() and scene.fills()[0].data["tx"] in world.waiting(CHAIN),
                    what="the fill in the pool",
                )
                ours.clock.ahead_s = 3600
                await eventually(
                    lambda: (
                        len(scene.fills()) == 2
                        and scene.fills()[1].data["tx"] in world.waiting(CHAIN)
                    ),
                    what="its replacement in the pool",
                )
                first, second = scene.fills()
                assert first.data["tx"] not in world.waiting(CHAIN), "the node took the dearer one"
                seen = scene.transaction(second.data["tx"])
                assert int(seen["nonce"], 16) == scene.hole
                for name, field in (("max_fee", "maxFeePerGas"), ("tip", "maxPriorityFeePerGas")):
                    former, now = (int(one.data["fee"][name]) for one in (first, second))
                    assert now * 10 >= former * 11, name
                    assert int(seen[field], 16) == now
                world.release_blocks(CHAIN)
                await eventually(lambda: scene.mined() >= scene.hole + 2, what="both in blocks")
                assert scene.in_block(second.data["tx"])

    asyncio.run(story())


def test_a_fill_whose_block_was_reorganised_away_is_sent_again_by_the_same_process(
    world: World, tmp_path: Path
) -> None:
    async def story() -> None:
        async with coordinator(world.devnet, tmp_path) as ours:
            scene = Scene(world, ours)
            await scene.leave_hole()
            async with scene.process() as runner:
                await eventually(lambda: scene.mined() == scene.hole + 2, what="both in blocks")
                (fill,) = scene.fills()
                await eventually(
                    lambda: all(one.landed is not None for one in runner._gaps._fills.values()),
                    what="the process to see that blocks took them",
                )
                reorganise(world.devnet, CHAIN, 2)
                assert scene.mined() == scene.hole
                assert not scene.in_block(fill.data["tx"])
                await eventually(lambda: scene.mined() == scene.hole + 2, what="both once more")
                assert scene.in_block(fill.data["tx"])
                assert len(scene.fills()) == 1

    asyncio.run(story())
