"""What the adapter makes of answers of several bitcoinds that lack data, are busy, or lie."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from adapters.bitcoin import node as node_module
from adapters.bitcoin import statement
from adapters.bitcoin.address import script_of_key
from adapters.bitcoin.coins import Coin, CoinPool
from adapters.bitcoin.signing import LocalBitcoinSigner
from adapters.bitcoin.wallet import Wallet
from adapters.errors import Busy, Rejected, Transient, WrongChain
from adapters.standing import State
from adapters.statement import BlockAsked
from proofs.bitcoin_tx import parse_tx, shown
from tests.unit.bitcoin_blocks import classic
from tests.unit.bitcoin_node_server import Bitcoind, Chain, Refusal, Status, coin, nodes_on, serving

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from adapters.bitcoin.nodes import Nodes

_SCRIPT = script_of_key(LocalBitcoinSigner(b"\x01" * 32).public_key)
_RAW = classic(b"a transaction" + bytes(8))
_TX_ID = shown(parse_tx(_RAW).txid)


class Clock:
    """Monotonic seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def ask(
    story: Callable[[Nodes], Awaitable[Any]], *servers: Bitcoind, clock: Clock | None = None
) -> Any:
    async def whole() -> Any:
        async with nodes_on(*servers, clock=clock) as nodes:
            return await story(nodes)

    return asyncio.run(whole())


def refuse(code: int, message: str) -> Callable[..., Any]:
    def refusing(*_params: Any) -> Any:
        raise Refusal(code, message)

    return refusing


def three(**options: Any) -> list[Bitcoind]:
    chain = Chain(20)
    return [Bitcoind(chain, **options) for _ in range(3)]


_PRUNED = refuse(-1, "Block not available (pruned data)")


# ---------------------------------------------------------------- what a node lacks


def test_what_a_pruned_node_lacks_another_is_asked_for() -> None:
    servers = three(txs={_TX_ID: _RAW.hex()})
    for method in ("getrawtransaction", "getblock"):
        servers[0].says[method] = _PRUNED

    async def story(nodes: Nodes) -> None:
        found = await nodes.transaction(_TX_ID, 10)
        assert found is not None
        assert found.tx_id == _TX_ID
        block = await nodes.block(servers[0].chain.name_at(5))
        assert block.hash == servers[0].chain.name_at(5)
        assert nodes.in_turn()[0].label in servers[0].url.replace("user:word@", "")
        assert not nodes.roster.troubles(), "it does what it can, and is blamed for nothing"

    ask(story, *servers)
    assert servers[0].asked["getrawtransaction"] == servers[0].asked["getblock"] == 1


def test_what_one_node_does_not_know_the_others_may() -> None:
    servers = three(txs={_TX_ID: _RAW.hex()})
    servers[0].chain = Chain(20, "its own branch")
    servers[0].txs = {}
    found = ask(lambda nodes: nodes.transaction(_TX_ID, 10), *servers)
    assert found is not None


@pytest.mark.parametrize("count", [1, 3])
def test_a_transaction_that_nobody_has_is_not_there(count: int) -> None:
    servers = three()[:count]
    servers[0].says["getrawtransaction"] = _PRUNED
    assert ask(lambda nodes: nodes.transaction(_TX_ID, 10), *servers) is None
    assert ask(lambda nodes: nodes.transaction(_TX_ID, 10_000), *servers) is None


@pytest.mark.parametrize("count", [1, 3])
def test_a_node_that_fails_at_it_does_not_say_that_it_is_not_there(count: int) -> None:
    servers = three()[:count]
    for server in servers:
        server.says["getrawtransaction"] = refuse(-32603, "internal error")
    with pytest.raises(Transient, match="internal error"):
        ask(lambda nodes: nodes.transaction(_TX_ID, 10), *servers)


def test_a_coin_that_its_own_transaction_does_not_have_is_a_lie() -> None:
    servers = three(txs={_TX_ID: _RAW.hex()})
    signer = LocalBitcoinSigner(b"\x01" * 32)

    async def story(nodes: Nodes) -> None:
        wallet = Wallet(nodes, CoinPool({_SCRIPT: "ours"}), {"ours": signer}, 1)
        with pytest.raises(Rejected, match="lied about coin"):
            await wallet.parents([Coin(f"{_TX_ID}:7", 1, "ours", 10)])

    ask(story, *servers)


_READS: dict[str, Callable[[Nodes], Awaitable[Any]]] = {
    "newest": lambda nodes: nodes.newest(),
    "holds": lambda nodes: nodes.holds("11" * 32),
    "parent": lambda nodes: nodes.parent("11" * 32, nodes.roster.seats),
    "block_hash": lambda nodes: nodes.block_hash(3),
    "block": lambda nodes: nodes.block("11" * 32),
    "transaction": lambda nodes: nodes.transaction("11" * 32, 3),
    "mined": lambda nodes: nodes.mined("11" * 32, "22" * 32),
    "scan": lambda nodes: nodes.holdings.scan([_SCRIPT]),
    "confirmed_scan": lambda nodes: nodes.holdings.confirmed_scan([_SCRIPT]),
    "unspent": lambda nodes: nodes.holdings.unspent("11" * 32 + ":0"),
    "refusal": lambda nodes: nodes.relay.refusal(b"trial"),
    "still_ours": lambda nodes: nodes.still_ours(nodes.roster.seats),
}


@pytest.mark.parametrize("read", _READS)
@pytest.mark.parametrize("count", [1, 3])
def test_a_refused_read_is_never_more_than_trouble_that_passes(count: int, read: str) -> None:
    servers = three()[:count]

    async def story(nodes: Nodes) -> None:
        for server in servers:
            methods = [name for name in dir(server) if name.startswith("_get")]
            methods += ["_scantxoutset", "_testmempoolaccept"]
            for method in methods:
                server.says[method.removeprefix("_")] = refuse(-32603, "internal error")
        with pytest.raises(Transient):
            await _READS[read](nodes)

    ask(story, *servers)


@pytest.mark.parametrize("count", [1, 3])
def test_fees_are_guessed_where_no_node_tells_them(count: int) -> None:
    servers = three()[:count]
    for server in servers:
        server.says["estimatesmartfee"] = refuse(-32603, "internal error")
    assert ask(lambda nodes: nodes.relay.estimate_sat_kvb(2), *servers) is None


# ---------------------------------------------------------------- answers of another shape


@pytest.mark.parametrize(
    "info",
    [
        {"blocks": float("inf"), "bestblockhash": "11" * 32, "mediantime": 1},
        {"blocks": 3, "bestblockhash": "11" * 32, "mediantime": float("inf")},
        {"blocks": float("nan"), "bestblockhash": "11" * 32, "mediantime": 1},
        {"blocks": 3, "bestblockhash": ["11" * 32], "mediantime": 1},
        [],
        None,
    ],
)
def test_a_malformed_newest_block_is_trouble_of_that_node_only(info: Any) -> None:
    servers = three()

    async def story(nodes: Nodes) -> None:
        if isinstance(info, dict):
            servers[0].says["getblockchaininfo"] = {"chain": "regtest", **info}
        else:
            servers[0].says["getblockchaininfo"] = info
        newest = await nodes.newest(all_of_them=True)
        assert newest.head.hash == servers[1].chain.name_at(20)
        assert "another shape" in nodes.roster.troubles()

    ask(story, *servers)


@pytest.mark.parametrize("amount", ["1e999999", float("inf"), "sNaN", "1e9999999999999999999"])
def test_a_malformed_amount_is_trouble_of_that_node_only(amount: Any) -> None:
    servers = three(coins=[coin(1, _SCRIPT)])
    servers[0].coins = [{**servers[1].coins[0], "amount": amount}]

    async def story(nodes: Nodes) -> None:
        scan = await nodes.holdings.confirmed_scan([_SCRIPT])
        assert [item.value_sat for item in scan.unspent] == [100_000]
        assert nodes.roster.seats[0].standing.state is State.AWAY

    ask(story, *servers)


@pytest.mark.parametrize("height", [float("inf"), float("nan"), None, "x", []])
def test_a_malformed_header_is_no_statement(height: Any) -> None:
    server = Bitcoind(Chain(3))
    server.says["getblockheader"] = {"height": height, "confirmations": 1}

    async def whole() -> None:
        async with serving(server):
            node = statement.node_at(server.url, None)
            chain = f"bip122:{server.genesis[:32]}"
            with pytest.raises(Transient, match="no header"):
                await statement.look(node, chain, [BlockAsked("11" * 32, 3)])

    asyncio.run(whole())


# ---------------------------------------------------------------- the coins that a majority shows


def limited(server: Bitcoind, calls: int) -> None:
    """Let a node answer so many questions of one kind, then none for a second."""
    left, closed_until_s = calls, 0.0

    def answer(tx_id: str, index: int, pool: bool) -> Any:  # noqa: FBT001 - as it is asked
        nonlocal left, closed_until_s
        if left == 0:
            left, closed_until_s = calls, time.monotonic() + 1
        if time.monotonic() < closed_until_s:
            raise Status(429, Retry_After="1")
        left -= 1
        return server._gettxout(tx_id, index, pool)

    server.says["gettxout"] = answer


def test_a_limit_of_requests_takes_no_coin_away() -> None:
    servers = three(coins=[coin(n, _SCRIPT) for n in range(60)])
    for server in servers:
        limited(server, calls=20)
    scan = ask(lambda nodes: nodes.holdings.confirmed_scan([_SCRIPT]), *servers)
    assert len(scan.unspent) == 60
    assert sum(server.asked["scantxoutset"] for server in servers) == 1


def test_where_too_few_nodes_tell_of_a_coin_nothing_is_known_of_it() -> None:
    servers = three(coins=[coin(1, _SCRIPT)])
    clock = Clock()

    async def story(nodes: Nodes) -> None:
        servers[1].says["gettxout"] = refuse(-32603, "internal error")
        servers[2].says["gettxout"] = None
        with pytest.raises(Transient, match="1 of 3 show it, 1 do not, 2 would have to"):
            await nodes.holdings.confirmed_scan([_SCRIPT])
        assert nodes.roster.seats[0].standing.state is State.WELL, "the node that listed them"
        clock.now_s += 60  # the one that failed has rested
        servers[1].says["gettxout"] = None
        assert (await nodes.holdings.confirmed_scan([_SCRIPT])).unspent == ()
        del servers[1].says["gettxout"], servers[2].says["gettxout"]
        assert len((await nodes.holdings.confirmed_scan([_SCRIPT])).unspent) == 1

    ask(story, *servers, clock=clock)


def test_nodes_that_want_a_pause_are_asked_again_after_it() -> None:
    servers = three(coins=[coin(1, _SCRIPT)])
    for server in servers[1:]:
        server.says["gettxout"] = answer_busy

    async def story(nodes: Nodes) -> None:
        with pytest.raises(Busy) as busy:
            await nodes.holdings.confirmed_scan([_SCRIPT])
        assert busy.value.wait_s == pytest.approx(60, abs=1)

    ask(story, *servers)


def answer_busy(*_params: Any) -> Any:
    raise Status(429, Retry_After="60")


def test_coins_of_a_block_that_only_one_node_has_are_listed_by_another() -> None:
    servers = three(coins=[coin(1, _SCRIPT)])
    ahead = servers[0].chain.fork(20, "ahead")
    ahead.grow()
    servers[0].says["scantxoutset"] = {
        "bestblock": ahead.name_at(21), "height": 21, "unspents": [coin(9, _SCRIPT)]
    }  # fmt: skip
    scan = ask(lambda nodes: nodes.holdings.confirmed_scan([_SCRIPT]), *servers)
    assert [item.outpoint for item in scan.unspent] == [f"{1:064x}:0"]


def test_a_block_that_nobody_could_be_asked_about_is_not_gone() -> None:
    servers = three()
    there = servers[0].chain.name_at(20)

    async def story(nodes: Nodes) -> None:
        assert await nodes.holds(there)
        assert not await nodes.holds("11" * 32)
        for server in servers[1:]:
            server.says["getblockheader"] = refuse(-32603, "internal error")
        assert await nodes.holds(there)
        with pytest.raises(Transient, match="too few nodes tell whether block"):
            await nodes.holds("11" * 32)

    ask(story, *servers)


# ---------------------------------------------------------------- scans that do not end


@pytest.fixture
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at scans often, and give them up soon."""
    monkeypatch.setattr(node_module, "_SCAN_LOOK_S", 0.02)
    monkeypatch.setattr(node_module, "_SCAN_STALL_S", 0.2)


@pytest.mark.usefixtures("_hasty")
@pytest.mark.parametrize("done", [42, None])
def test_a_scan_that_does_not_get_on_is_left_to_another_node(done: int | None) -> None:
    servers = three(coins=[coin(1, _SCRIPT)])
    asked: list[str] = []

    async def answer(action: str, *_descriptors: Any) -> Any:
        asked.append(action)
        if action == "start":
            await asyncio.Event().wait()
        return {"progress": done} if action == "status" and done is not None else None

    servers[0].says["scantxoutset"] = answer

    async def story(nodes: Nodes) -> None:
        async with asyncio.timeout(5):
            scan = await nodes.holdings.confirmed_scan([_SCRIPT])
        assert len(scan.unspent) == 1
        assert "does not get on with listing our coins" in nodes.roster.troubles()

    ask(story, *servers)
    assert asked.count("start") == 1
    assert asked.count("abort") == (done is not None)


@pytest.mark.usefixtures("_hasty")
def test_a_scan_that_gets_on_is_waited_for() -> None:
    (server,) = three(coins=[coin(1, _SCRIPT)])[:1]
    progress = iter(range(1, 21))
    through = asyncio.Event()
    asked: list[str] = []

    async def answer(action: str, *descriptors: Any) -> Any:
        asked.append(action)
        if action == "status":
            done = next(progress, 20)
            if done == 20:
                through.set()
            return {"progress": done}
        await through.wait()
        return server._scantxoutset(action, *descriptors)

    server.says["scantxoutset"] = answer
    scan = ask(lambda nodes: nodes.holdings.confirmed_scan([_SCRIPT]), server)
    assert len(scan.unspent) == 1
    assert asked.count("start") == 1
    assert "abort" not in asked


def test_a_scan_of_a_former_process_is_named_and_another_node_is_asked() -> None:
    servers = three(coins=[coin(1, _SCRIPT)])

    def busy(action: str, *_descriptors: Any) -> Any:
        if action == "status":
            return {"progress": 40}
        raise Refusal(-8, 'Scan already in progress, use action "abort" or "status"')

    servers[0].says["scantxoutset"] = busy

    async def story(nodes: Nodes) -> None:
        assert len((await nodes.holdings.confirmed_scan([_SCRIPT])).unspent) == 1
        for server in servers[1:]:
            server.says["scantxoutset"] = busy
        with pytest.raises(Transient, match="busy with another scan for coins, 40 % done"):
            await nodes.holdings.confirmed_scan([_SCRIPT])

    ask(story, *servers)


# ---------------------------------------------------------------- which chain a node serves


def test_a_node_that_is_exchanged_without_a_word_is_found_out_in_seconds() -> None:
    (server,) = three()[:1]
    clock = Clock()

    async def story(nodes: Nodes) -> None:
        await nodes.newest()
        asked = server.asked["getblockhash"]
        server.genesis = "22" * 32
        clock.now_s += 9
        await nodes.newest()
        assert server.asked["getblockhash"] == asked, "not at every question"
        clock.now_s += 2
        with pytest.raises(WrongChain, match="serves Bitcoin regtest from genesis 2222"):
            await nodes.newest()

    ask(story, server, clock=clock)


def test_many_questions_at_once_check_a_node_once() -> None:
    (server,) = three()[:1]
    clock = Clock()

    async def story(nodes: Nodes) -> None:
        clock.now_s += 60
        before = server.asked["getblockchaininfo"]
        await asyncio.gather(*(nodes.holdings.unspent(f"{n:064x}:0") for n in range(20)))
        assert server.asked["getblockchaininfo"] == before + 1

    ask(story, server, clock=clock)


def test_nodes_that_serve_another_chain_by_now_are_told_from_those_that_serve_ours() -> None:
    servers = three()

    async def story(nodes: Nodes) -> None:
        seats = nodes.roster.seats
        assert await nodes.still_ours(seats)
        for server in servers[:2]:
            server.genesis = "22" * 32
        assert not await nodes.still_ours(seats)
        assert await nodes.still_ours(seats[2:])
        states = [seat.standing.state for seat in seats]
        assert states == [State.FOREIGN, State.FOREIGN, State.WELL]
        servers[2].network = "main"
        with pytest.raises(WrongChain):
            await nodes.still_ours(seats)

    ask(story, *servers)
