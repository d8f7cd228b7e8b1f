"""The follower of a Bitcoin chain: how far it goes back and on, what it drops and what it tells."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from adapters.bitcoin import follower as module
from adapters.bitcoin import nodes as nodes_module
from adapters.bitcoin.address import script_of_key
from adapters.bitcoin.chain import signed_by
from adapters.bitcoin.follower import Follower
from adapters.bitcoin.script import HoldScript, redeem_witness, refund_witness
from adapters.bitcoin.signing import LocalBitcoinSigner
from adapters.bitcoin.survey import BitcoinSurveyor
from adapters.bitcoin.transactions import TxInput
from adapters.errors import WrongChain
from proofs.bitcoin_tx import parse_tx, shown
from tests.unit.bitcoin_blocks import classic
from tests.unit.bitcoin_node_server import Bitcoind, Chain, Status, coin, nodes_on

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from adapters.bitcoin.nodes import Nodes

_KEY = LocalBitcoinSigner(b"\x01" * 32).public_key
_PAYEE = LocalBitcoinSigner(b"\x02" * 32).public_key
_SCRIPT = script_of_key(_KEY)


@asynccontextmanager
async def following(*servers: Bitcoind) -> AsyncIterator[tuple[Nodes, Follower]]:
    async with nodes_on(*servers) as nodes:
        follower = Follower(nodes, {_SCRIPT: "ours"}, {_KEY: "ours"}, poll_s=0.01, margin=2)
        await follower.open()
        yield nodes, follower


def three(chain: Chain, **options: Any) -> list[Bitcoind]:
    return [Bitcoind(chain, **options) for _ in range(3)]


def away(*_params: Any) -> Any:
    raise Status(500)


# ---------------------------------------------------------------- what a few nodes show


@pytest.mark.parametrize("height", [3000, 10**6, 2**62])
def test_a_height_that_one_node_makes_up_costs_no_question(height: int) -> None:
    chain = Chain(20)
    servers = three(chain)

    async def story() -> None:
        async with following(*servers) as (_, follower):
            for server in servers[1:]:
                server.says["getblockchaininfo"] = away
            servers[0].says["getblockchaininfo"] = {
                "chain": "regtest", "blocks": height, "bestblockhash": "ee" * 32, "mediantime": 1,
            }  # fmt: skip
            asked = servers[0].asked["getblockheader"]
            await follower.advance()
            assert servers[0].asked["getblockheader"] == asked
            assert follower.clock().height == 20

    asyncio.run(story())


def test_a_branch_that_one_node_shows_is_followed_down_to_our_newest_block_only() -> None:
    chain = Chain(100)
    servers = three(chain)

    async def story() -> None:
        async with following(*servers) as (_, follower):
            await follower.cover(3)
            for server in servers[1:]:
                server.says["getblockchaininfo"] = away
            servers[0].chain = chain.fork(10, "its own branch")
            servers[0].chain.grow(95)
            asked = servers[0].asked["getblockheader"]
            await follower.advance()
            assert servers[0].asked["getblockheader"] - asked <= 6
            assert follower.clock().height == 100
            assert follower.view.top is not None
            assert follower.view.top.hash == chain.name_at(100)

    asyncio.run(story())


def test_blocks_that_a_few_nodes_show_above_ours_are_read() -> None:
    chain = Chain(20)
    servers = three(chain)

    async def story() -> None:
        async with following(*servers) as (_, follower):
            for server in servers[1:]:
                server.says["getblockchaininfo"] = away
            chain.grow(7)
            await follower.advance()
            assert follower.view.top is not None
            assert follower.view.top.height == 27
            assert follower.clock().height == 20

    asyncio.run(story())


def test_a_node_that_fell_back_while_the_others_are_away_holds_up_nobody() -> None:
    chain = Chain(20)
    servers = three(chain)

    async def story() -> None:
        async with following(*servers) as (_, follower):
            await follower.cover(15)
            for server in servers[1:]:
                server.says["getblockchaininfo"] = server.says["getblockheader"] = away
            servers[0].chain = chain.fork(18, "no more")
            await follower.advance()
            assert follower.clock().height == 20
            assert follower.view.top is not None
            assert follower.view.top.height == 20

    asyncio.run(story())


# ---------------------------------------------------------------- chains that are exchanged


def test_a_single_node_that_serves_another_chain_by_now_takes_nothing_back() -> None:
    server = Bitcoind(Chain(20), coins=[coin(1, _SCRIPT)])

    async def story() -> None:
        async with following(server) as (_, follower):
            server.chain = Chain(30, "another chain")
            server.genesis = "22" * 32
            server.coins = []
            with pytest.raises(WrongChain):
                await follower.advance()
            assert follower.clock().height == 20
            assert follower.pool.balance("ours") == 100_000

    asyncio.run(story())


def test_a_chain_that_was_replaced_below_all_that_was_read_is_agreed_on_anew() -> None:
    chain = Chain(20)
    servers = three(chain)

    async def story() -> None:
        async with following(*servers) as (nodes, follower):
            await follower.cover(15)
            dropped = [chain.name_at(height) for height in (16, 18, 20)]
            for name in dropped:
                assert await nodes.agreed(name, 1)
            other = chain.fork(5, "another branch")
            other.grow(20)
            for server in servers:
                server.chain = other
            await follower.advance()
            assert follower.clock().height == 25
            for name in dropped:
                assert not await nodes.agreed(name, 1)

    asyncio.run(story())


# ---------------------------------------------------------------- what is kept


async def grow(chain: Chain, follower: Follower, blocks: int) -> None:
    """Let so many blocks come, each looked at."""
    for _ in range(blocks):
        chain.grow()
        await follower.advance()


def test_blocks_that_nobody_asked_for_in_weeks_are_dropped_and_read_again_when_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_KEPT_BLOCKS", 10)
    chain = Chain(20)
    server = Bitcoind(chain)
    spent = "cd" * 32 + ":3"
    waiting = "ab" * 32 + ":0"

    async def story() -> None:
        async with following(server) as (_, follower):
            await follower.cover(7)
            follower.watch([spent, waiting])
            chain.grow(1, classic(b"spends" + bytes(8), bytes.fromhex("cd" * 32)[::-1], n=3))
            await follower.advance()
            assert follower.view.low == 5
            await grow(chain, follower, 18)
            assert follower.view.low == 5, "it was asked for not long ago"
            await grow(chain, follower, 40)
            assert follower.view.low == 60
            assert follower._watched == {waiting}
            follower.want(40)
            await grow(chain, follower, 1)
            assert follower.view.low == 38
            found = await follower.spender(waiting)
            assert found is None
            await follower.cover(5)
            found = await follower.spender(spent)
            assert found is not None
            assert found.height == 21

    asyncio.run(story())


def test_blocks_below_the_oldest_saga_are_dropped_sooner_unless_they_are_wanted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_KEPT_BLOCKS_MIN", 10)
    chain = Chain(20)
    server = Bitcoind(chain)

    async def story() -> None:
        async with following(server) as (_, follower):
            await follower.cover(7)
            await grow(chain, follower, 30)
            assert follower.view.low == 5, "nobody has said that it may go"
            follower.keep_from(15)
            await grow(chain, follower, 50)
            assert follower.view.low == 13, "a saga that is open began two blocks above"
            follower.keep_from(70)
            follower.want(50)
            await grow(chain, follower, 17)
            assert follower.view.low <= 48, "it was wanted a moment ago"
            await grow(chain, follower, 50)
            assert follower.view.low == 68
            await follower.cover(15)
            assert follower.view.low == 13

    asyncio.run(story())


def test_a_saga_that_stays_open_for_long_does_not_keep_all_blocks_since_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_KEPT_BLOCKS", 20)
    chain = Chain(20)
    server = Bitcoind(chain)

    async def story() -> None:
        async with following(server) as (_, follower):
            await follower.cover(15)
            follower.keep_from(15)
            await grow(chain, follower, 200)
            assert 150 <= follower.view.low <= 180

    asyncio.run(story())


def test_agreement_on_old_blocks_is_forgotten_and_asked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(nodes_module, "_AGREED_KEPT", 2)
    chain = Chain(20)
    servers = three(chain)

    async def story() -> None:
        async with nodes_on(*servers) as nodes:
            for height in (1, 2, 3, 3, 2):
                assert await nodes.agreed(chain.name_at(height), 1)
            asked = servers[0].asked["getblockheader"]
            assert asked == 3
            assert await nodes.agreed(chain.name_at(1), 1)
            assert servers[0].asked["getblockheader"] == asked + 1

    asyncio.run(story())


# ---------------------------------------------------------------- what our keys signed


def test_the_key_that_signed_an_input_is_read_from_payments_and_refunds_only() -> None:
    script = HoldScript(b"\x07" * 32, _PAYEE, 500, _KEY).witness_script()
    other = b"\x51" + script

    def key_in(*witness: bytes) -> bytes:
        return signed_by(TxInput("ab" * 32 + ":0", witness))

    assert key_in(b"signature", _KEY) == _KEY
    assert key_in(*refund_witness(b"signature", script)) == _KEY
    assert key_in(*redeem_witness(b"signature", b"\x08" * 32, script)) == b""
    assert key_in(*refund_witness(b"signature", other)) == b""
    assert key_in() == key_in(b"one") == b""


# ---------------------------------------------------------------- surveys


def paying(n: int) -> bytes:
    """A transaction that pays us."""
    raw = classic(b"pays %d" % n + bytes(8))
    return raw[:-6] + bytes([len(_SCRIPT)]) + _SCRIPT + bytes(4)


def with_payments() -> tuple[Chain, dict[str, str]]:
    """A chain that pays us in blocks 21 and 22."""
    chain, raws = Chain(20), [paying(21), paying(22)]
    for raw in raws:
        chain.grow(1, raw)
    return chain, {shown(parse_tx(raw).txid): raw.hex() for raw in raws}


async def survey(nodes: Nodes, follower: Follower) -> list[tuple[int, bool]]:
    """Return height and finality of what concerns us from block 15 on."""
    surveyor = BitcoinSurveyor(nodes, {_SCRIPT: "ours"}, {_KEY: "ours"}, follower.pool, 2)
    found = await surveyor.survey(15)
    assert (found.since, found.height) == (15, 22)
    return [(movement.height, movement.final) for movement in found.movements]


def test_what_a_survey_finds_is_final_only_by_the_word_of_a_majority() -> None:
    chain, txs = with_payments()
    servers = three(chain, txs=txs)

    async def story() -> None:
        async with following(*servers) as (nodes, follower):
            assert await survey(nodes, follower) == [(21, True), (22, False)]
            for server in servers[1:]:
                server.says["getblockchaininfo"] = away
            assert await survey(nodes, follower) == [(21, False), (22, False)]

    asyncio.run(story())


def test_a_survey_reads_the_chain_that_a_majority_shares() -> None:
    chain, txs = with_payments()
    servers = three(chain, txs=txs)

    async def story() -> None:
        async with following(*servers) as (nodes, follower):
            servers[0].chain = chain.fork(18, "made up")
            servers[0].chain.grow(1, paying(19))
            servers[0].chain.grow(3)
            assert await survey(nodes, follower) == [(21, True), (22, False)]

    asyncio.run(story())
