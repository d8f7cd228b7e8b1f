"""Fees that rise after the signing: what blocks pass by is replaced under its claim, unasked."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.e2e.network import coordinator, intents, is_final
from tests.e2e.terminal import PATIENCE_S
from tests.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from coordinator.journal.base import Record
    from tests.e2e.terminal import Call, Terminal
    from tests.e2e.trouble import World

pytestmark = pytest.mark.timeout(300)

PATIENT = {"deadline_s = 60": "deadline_s = 600"}
#: What a forward attempt may pay here: `max_gwei` ÷ 1.1; while others wait behind it, twice that.
CAP_GWEI, JAM_GWEI = 90, 181


def forwards(terminal: Terminal, saga: str, step: str) -> list[Record]:
    found = intents(terminal.records(saga), step)
    return [record for record in found if record.data["dir"] == "forward"]


def max_fee_gwei(record: Record) -> int:
    return int(record.data["fee"]["max_fee"]) // 10**9


def pass_by(world: World, terminal: Terminal, saga: str, gwei: int, purpose: str) -> Record:
    """Make blocks that are too dear for the mint that waits, until it was replaced."""

    def replaced() -> Record | None:
        world.raise_base_fee("ethereum", gwei)
        world.mine("ethereum", 1)
        later = forwards(terminal, saga, "mint")[1:]
        return next((record for record in later if record.data["purpose"] == purpose), None)

    return wait_until(replaced, what=f"another {purpose} of the mint", timeout_s=PATIENCE_S)


def test_a_mint_that_blocks_pass_by_is_replaced_within_its_cap_and_nobody_is_asked(
    world: World, terminal: Terminal
) -> None:
    world.hold_blocks("ethereum")
    call = terminal.start("run", terminal.plan(changes=PATIENT), "--execute")
    saga = terminal.awaits("intent", "mint")
    wait_until(lambda: world.waiting("ethereum"), what="the mint in the pool")
    pass_by(world, terminal, saga, 60, "effect")
    world.release_blocks("ethereum")
    call.ended(0)

    first, *_, last = forwards(terminal, saga, "mint")
    assert first.data["claim"] == last.data["claim"], "another nonce could make it twice"
    for name in ("max_fee", "tip"):
        former, now = (int(record.data["fee"][name]) for record in (first, last))
        assert now * 10 >= former * 11, f"a node takes no replacement whose {name} is less"
    assert max_fee_gwei(last) <= CAP_GWEI
    assert is_final(world.devnet, "ethereum", last.data["tx"])
    assert not [r for r in terminal.records(saga) if r.kind in ("stuck", "verdict")]


def test_a_transfer_that_miners_pass_by_is_replaced_on_the_same_coins(
    world: World, terminal: Terminal
) -> None:
    world.stop_bitcoin()
    call = terminal.start("run", terminal.plan(changes=PATIENT), "--execute")
    saga = terminal.awaits("intent", "move")
    (first,) = wait_until(lambda: world.waiting("bitcoin"), what="the transfer in the mempool")
    # To a miner it is worth a whole coin less than it pays.
    world.devnet.rpc("bitcoin", "prioritisetransaction", first, 0, -(10**8))
    world.devnet.mine_bitcoin(2)
    assert world.waiting("bitcoin") == [first], "a block took it"
    assert len(forwards(terminal, saga, "move")) == 1, "two blocks are not three"
    world.devnet.mine_bitcoin(1)
    wait_until(
        lambda: world.waiting("bitcoin") not in ([], [first]),
        what="its replacement", timeout_s=PATIENCE_S,
    )  # fmt: skip
    world.start_bitcoin()
    call.ended(0)

    old, new = forwards(terminal, saga, "move")
    assert (old.data["tx"], old.data["claim"]) == (first, new.data["claim"])
    assert int(new.data["fee"]["fee_sat"]) > int(old.data["fee"]["fee_sat"])
    assert is_final(world.devnet, "bitcoin", new.data["tx"])


def two_mints_in_line(world: World, terminal: Terminal) -> tuple[str, str]:
    """Two sagas of one account, whose mints wait for a block one behind the other."""
    world.hold_blocks("ethereum")
    plan = terminal.plan(changes=PATIENT)
    terminal.leave_at("mint", plan, sent=lambda: world.waiting("ethereum"))
    terminal.start("run", terminal.plan(changes=PATIENT), "--execute", "--key", "second")
    name = terminal.awaits("intent", "mint", saga=1)
    first = next(row.saga for row in terminal.rows() if row.saga != name)
    wait_until(lambda: len(world.waiting("ethereum")) == 2, what="both mints in the pool")
    nonces = [forwards(terminal, s, "mint")[0].data["claim"][0][1] for s in (first, name)]
    assert nonces[0] + 1 == nonces[1]
    return first, name


def test_behind_an_open_nonce_no_price_helps_and_none_is_raised(
    world: World, tmp_path: Path
) -> None:
    async def story() -> None:
        async with coordinator(world.devnet, tmp_path) as ours:
            world.hold_blocks("ethereum")
            first, second = [await ours.accept("transfer", PATIENT, key=key) for key in "ab"]
            async with ours.serving() as process:
                await process.drive(first)
                await process.until(lambda: intents(ours.records(first), "mint"), what="a mint")
            async with ours.serving() as process:
                await process.drive(second)
                await process.until(lambda: intents(ours.records(second), "mint"), what="a mint")
                for _ in range(4):
                    world.raise_base_fee("ethereum", 60)
                    world.mine("ethereum", 1)
                retries = process.runner.live[second].retries
                await process.until(lambda: ("mint", "forward") in retries, what="its refusal")
                assert len(intents(ours.records(second), "mint")) == 1
            for _ in range(60):  # each empty block is cheaper than the one before
                world.mine("ethereum", 1)
            world.release_blocks("ethereum")
            for saga in (first, second):
                assert (await ours.drive(saga)).state == "committed"

    asyncio.run(story())


def test_the_head_of_a_line_may_get_dearer_than_its_saga_pays_while_others_wait(
    world: World, terminal: Terminal
) -> None:
    first, second = two_mints_in_line(world, terminal)
    call = terminal.start("resume", first)
    head = pass_by(world, terminal, first, 160, "effect")
    assert CAP_GWEI < max_fee_gwei(head) <= JAM_GWEI
    assert len(forwards(terminal, second, "mint")) == 1, "behind the head no price helps"
    cheaper_until_ended(world, call, terminal.calls[1])
    call.ended(0)
    terminal.calls[1].ended(0)
    assert is_final(world.devnet, "ethereum", head.data["tx"])


def test_a_head_that_no_price_moves_is_burnt_for_those_who_wait(
    world: World, terminal: Terminal
) -> None:
    first, second = two_mints_in_line(world, terminal)
    call = terminal.start("resume", first)
    # Above what an effect may cost, below what its burn may.
    pass_by(world, terminal, first, 190, "burn")
    cheaper_until_ended(world, call, terminal.calls[1])
    call.ended(10)
    terminal.calls[1].ended(0)
    assert terminal.records(second)[-1].data["state"] == "committed"
    attempts = forwards(terminal, first, "mint")
    assert len({tuple(map(tuple, r.data["claim"])) for r in attempts}) == 1


def cheaper_until_ended(world: World, *calls: Call) -> None:
    """Make blocks, each empty one cheaper than the one before, until the commands have ended."""
    world.release_blocks("ethereum")

    def ended() -> bool:
        world.mine("ethereum", 1)
        return all(call.process.poll() is not None for call in calls)

    wait_until(ended, what="the commands to end", timeout_s=PATIENCE_S)
