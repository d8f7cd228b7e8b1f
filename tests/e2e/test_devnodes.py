"""The development nodes themselves: what every other test on real nodes relies on."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from adapters.bitcoin.devnode import BitcoinNode
from adapters.devnode import rpc
from adapters.devnode.binaries import BinaryMissing
from adapters.devnode.process import NodeFailed, ProcessIdentity
from adapters.evm.devnode import AnvilNode, AnvilOptions
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import AnvilFactory, BitcoindFactory

# The example of BIP-173 in its regtest form; nobody is known to have its key.
ADDRESS = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"


def test_two_anvils_with_their_own_chain_ids_run_side_by_side(anvil: AnvilFactory) -> None:
    polygon, ethereum = anvil(chain_id=31337), anvil(chain_id=31338)

    assert polygon.rpc("eth_chainId") == hex(31337)
    assert ethereum.rpc("eth_chainId") == hex(31338)
    assert polygon.url != ethereum.url


def test_an_anvil_with_a_fixed_genesis_time_has_the_same_genesis_hash_each_time(
    anvil: AnvilFactory,
) -> None:
    def genesis(genesis_time_s: int) -> object:
        return anvil(genesis_time_s=genesis_time_s).rpc("eth_getBlockByNumber", "0x0", False)[
            "hash"
        ]

    assert genesis(1_700_000_000) == genesis(1_700_000_000)
    assert genesis(1_700_000_000) != genesis(1_700_000_001)


def test_an_anvil_told_not_to_mine_keeps_a_transaction_waiting(anvil: AnvilFactory) -> None:
    node = anvil(mining=False)
    sender, receiver = node.rpc("eth_accounts")[:2]
    transfer = {"from": sender, "to": receiver, "value": "0x1"}
    transaction = node.rpc("eth_sendTransaction", transfer)

    assert node.rpc("eth_getTransactionReceipt", transaction) is None
    node.mine()
    assert node.rpc("eth_getTransactionReceipt", transaction)["status"] == "0x1"


def test_an_anvil_with_a_block_time_mines_by_itself(anvil: AnvilFactory) -> None:
    node = anvil(block_time_s=0.1)

    wait_until(lambda: int(node.rpc("eth_blockNumber"), 16) >= 2, what="two blocks")


def test_a_stopped_anvil_comes_back_at_the_same_url_with_its_stored_state(
    anvil: AnvilFactory, tmp_path: Path
) -> None:
    node = anvil(state_path=tmp_path / "state.json", genesis_time_s=1_700_000_000)
    node.mine(3)
    url = node.url
    node.stop()
    node.restart()

    assert node.url == url
    assert int(node.rpc("eth_blockNumber"), 16) == 3


def test_a_suspended_anvil_hangs_until_it_is_resumed(anvil: AnvilFactory) -> None:
    node = anvil()
    node.suspend()
    with pytest.raises(rpc.NodeUnreachable):
        rpc.call(node.url, "eth_chainId", timeout_s=0.3)

    node.resume()
    assert node.rpc("eth_chainId") == hex(31337)


def test_an_anvil_that_logs_no_requests_keeps_its_log_short(anvil: AnvilFactory) -> None:
    node = anvil(log_requests=False)
    log = node.folder / "anvil.log"
    size = log.stat().st_size
    for _ in range(20):
        node.rpc("eth_chainId")

    assert log.stat().st_size == size


def test_a_bitcoind_mines_and_keeps_its_chain_over_a_good_end(bitcoind: BitcoindFactory) -> None:
    node = bitcoind()
    hashes = node.mine(3, ADDRESS)
    node.stop()
    node.restart()

    assert node.rpc("getblockcount") == 3
    assert node.rpc("getbestblockhash") == hashes[-1]


def test_a_bitcoind_changes_its_cookie_at_each_start(bitcoind: BitcoindFactory) -> None:
    node = bitcoind()
    before = node.cookie_path.read_text()
    node.kill()
    node.restart()

    assert node.cookie_path.read_text() != before
    assert node.rpc("getblockcount") == 0


def test_a_bitcoind_keeps_to_mainnets_policy_and_indexes_transactions(
    bitcoind: BitcoindFactory,
) -> None:
    node = bitcoind()
    policy = node.rpc("getmempoolinfo")

    assert "txindex" in node.rpc("getindexinfo")
    assert policy["fullrbf"] is True
    assert policy.get("minrelaytxfee", 1) <= 0.00001
    assert node.rpc("getnetworkinfo")["connections"] == 0


def test_a_refused_call_carries_the_nodes_code(bitcoind: BitcoindFactory) -> None:
    with pytest.raises(rpc.NodeRefused) as refusal:
        bitcoind().rpc("getblockhash", 99)

    assert refusal.value.code == -8


def test_nodes_end_with_the_process_that_started_them_however_it_ends(tmp_path: Path) -> None:
    with started_by_another_process(tmp_path, detached=False) as nodes:
        assert all(node.is_running() for node in nodes)

    wait_until(lambda: not any(node.is_running() for node in nodes), what="the nodes' end")


def test_a_detached_node_survives_its_starter_and_is_ended_by_its_identity(tmp_path: Path) -> None:
    with started_by_another_process(tmp_path, detached=True) as nodes:
        pass
    survived = [node.is_running() for node in nodes]
    for node in nodes:
        node.end()

    assert survived == [True, True]
    assert not any(node.is_running() for node in nodes)


def test_another_process_under_a_reused_pid_is_not_taken_for_the_node() -> None:
    ours = ProcessIdentity.of(os.getpid())
    reused = ProcessIdentity(ours.pid, start_mark=ours.start_mark + "0")
    reused.end()

    assert ours.is_running()
    assert not reused.is_running()


def test_a_node_that_cannot_start_says_what_it_printed(tmp_path: Path) -> None:
    with pytest.raises(NodeFailed, match="word `not` is invalid"):
        AnvilNode.start(tmp_path, AnvilOptions(mnemonic="not twelve words"))


def test_a_missing_binary_is_named_with_the_way_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BITCOIND", str(tmp_path / "absent"))
    with pytest.raises(BinaryMissing, match="BITCOIND"):
        BitcoinNode.start(tmp_path)


_STARTER = """
import signal, sys
from pathlib import Path
from adapters.bitcoin.devnode import BitcoinNode
from adapters.evm.devnode import AnvilNode

folder, detached = Path(sys.argv[1]), sys.argv[2] == "True"
nodes = [
    AnvilNode.start(folder / "anvil", detached=detached),
    BitcoinNode.start(folder / "bitcoind", detached=detached),
]
print(*(f"{node.identity().pid}:{node.identity().start_mark}" for node in nodes), flush=True)
signal.pause()
"""


@contextmanager
def started_by_another_process(folder: Path, *, detached: bool) -> Iterator[list[ProcessIdentity]]:
    """Start an anvil and a bitcoind in a process that is killed at the end of the block."""
    command = [sys.executable, "-c", _STARTER, str(folder), str(detached)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        pairs = [word.split(":") for word in starter.stdout.readline().split()]
        try:
            yield [ProcessIdentity(int(pid), mark) for pid, mark in pairs]
        finally:
            starter.kill()
