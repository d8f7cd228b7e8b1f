"""Finality by value and by step: what a plan or a tier asks for beyond the chain's own setting."""

import asyncio
from pathlib import Path

import pytest

from coordinator import service
from coordinator.devnet.control import height
from coordinator.journal.base import Record
from coordinator.plan import Lock
from coordinator.plan.findings import PlanRefused
from tests.e2e.network import Coordinator, coordinator
from tests.e2e.trouble import World

pytestmark = pytest.mark.timeout(180)
DEEP = {'action = "mint"\n': 'action = "mint"\nfinality = 3\n'}


def included(ours: Coordinator, saga: str, step: str) -> bool:
    return service.load(ours.journal, saga).effort(step, "forward").phase == "included"


def the(ours: Coordinator, saga: str, kind: str, step: str) -> Record:
    about = {"step": step, "dir": "forward"}
    found = (r for r in ours.records(saga) if r.kind == kind and about.items() <= r.data.items())
    return next(found)


def test_a_step_is_final_only_as_deep_as_its_plan_asks(world: World, tmp_path: Path) -> None:
    async def story() -> None:
        async with coordinator(world.devnet, tmp_path) as ours, ours.serving() as process:
            saga = await ours.accept("transfer", DEEP)
            plan = service.load(ours.journal, saga).plan
            deep = {step["id"]: step.get("finality_blocks") for step in plan["steps"]}
            assert deep == {"lock": None, "move": None, "mint": 3}
            await process.drive(saga)
            await process.until(lambda: included(ours, saga, "mint"), what="the mint in a block")
            at = the(ours, saga, "included", "mint").data["height"]
            assert height(world.devnet, "ethereum") == at
            world.mine("ethereum", 1)
            await process.until(
                lambda: (
                    process.runner.now().chains["ethereum"].height
                    == height(world.devnet, "ethereum")
                ),
                what="the block read",
            )
            assert included(ours, saga, "mint"), "two blocks are not three"
            assert not ours.has(saga, "decided")
            world.mine("ethereum", 1)
            # Its confirm waits for three blocks, too.
            await process.until(lambda: ours.has(saga, "decided"), what="the decision")

            def ended() -> bool:
                world.mine("ethereum", 1)
                return ours.has(saga, "closed")

            await process.until(ended, what="the end")
            assert service.load(ours.journal, saga).state == "committed"

    asyncio.run(story())


def test_a_step_can_not_ask_for_less_than_its_chain(world: World, tmp_path: Path) -> None:
    async def story() -> None:
        changes = {"finality = { confirmations = 1 }": "finality = { confirmations = 2 }"}
        async with coordinator(world.devnet, tmp_path, _only_ethereum(world, changes)) as ours:
            less = {'action = "mint"\n': 'action = "mint"\nfinality = 1\n'}
            with pytest.raises(PlanRefused, match="less than the 2 blocks"):
                await ours.accept("transfer", less)

    asyncio.run(story())


@pytest.mark.parametrize(("above", "blocks"), [("99", 3), ("100", None)])
def test_what_moves_more_than_a_tier_is_final_deeper(
    world: World, tmp_path: Path, above: str, blocks: int | None
) -> None:
    tier = f'{{ big = {{ asset = "ALZ", above = "{above}", confirmations = 3 }} }}'
    changes = {
        "finality = { confirmations = 1 }": f"finality = {{ confirmations = 1, tiers = {tier} }}"
    }

    async def story() -> None:
        async with coordinator(world.devnet, tmp_path, _only_ethereum(world, changes)) as ours:
            lock = await ours.lock("transfer")
            found = {step["id"]: step.get("finality_blocks") for step in lock.data["steps"]}
            assert found == {"lock": None, "move": None, "mint": blocks}
            (mint,) = [step for step in lock.data["steps"] if step["id"] == "mint"]
            (plain,) = [
                step
                for step in (await _plain(world, tmp_path)).data["steps"]
                if step["id"] == "mint"
            ]
            longer = 0 if blocks is None else 2
            slow_ms = lock.data["chains"]["ethereum"]["block_time_ms"]["slow"]
            assert mint["confirm_ms"] == plain["confirm_ms"] + longer * slow_ms

    asyncio.run(story())


def _only_ethereum(world: World, changes: dict[str, str]) -> dict[str, str]:
    """The same changes to text that every chain has, of the table of one chain alone."""
    text = world.devnet.config.read_text(encoding="utf-8")
    start = text.index("[chain.ethereum]")
    found = {}
    for old, new in changes.items():
        end = text.index(old, start) + len(old)
        part = text[start:end]
        found[part] = part[: -len(old)] + new
    return found


async def _plain(world: World, folder: Path) -> Lock:
    async with coordinator(world.devnet, folder / "plain") as ours:
        return await ours.lock("transfer")
