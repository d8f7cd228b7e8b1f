"""SPV proofs of a real bitcoind's blocks, taken with three calls and checked without it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from proofs.bitcoin import build_spv, verify_spv
from proofs.bitcoin_claim import check_claim
from proofs.bitcoin_headers import NETWORKS, Policy, parse_header, work_of
from proofs.bitcoin_tx import parse_tx, shown
from proofs.errors import Refused
from proofs.normal import BITCOIN, from_spv, verify

if TYPE_CHECKING:
    from adapters.bitcoin.devnode import BitcoinNode
    from tests.conftest import BitcoindFactory

REGTEST = "bip122:0f9188f13cb7b2c71f2a335e3a4fc328"
GENESIS = "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206"
PAYMENTS = 20


class Ledger:
    """A node with a wallet whose block 102 holds payments to every kind of address."""

    def __init__(self, node: BitcoinNode) -> None:
        self.node = node
        node.rpc("createwallet", "w")
        self.own = self.wallet("getnewaddress")
        node.mine(101, self.own)
        kinds = ["legacy", "p2sh-segwit", "bech32", "bech32m"]
        for n in range(PAYMENTS):
            to = self.wallet("getnewaddress", "", kinds[n % 4])
            self.wallet("sendtoaddress", to, f"0.1{n:02}")
        self.block = node.mine(1, self.own)[0]
        node.mine(5, self.own)
        self.txids = node.rpc("getblock", self.block, 1)["tx"]

    def wallet(self, method: str, *params: object) -> Any:
        return self.node.rpc(method, *params, wallet="w")

    def header(self, height: int) -> str:
        return str(self.node.rpc("getblockheader", self.node.rpc("getblockhash", height), False))

    def proof(self, index: int, *, first: int = 102, witness: bool = False) -> dict[str, Any]:
        raw = [self.node.rpc("getrawtransaction", self.txids[n]) for n in (index, 0)]
        whole = self.node.rpc("getblock", self.block, 2)["tx"] if witness else []
        return build_spv(
            chain=REGTEST,
            txids=self.txids,
            tx=raw[0],
            coinbase=raw[1],
            headers=[self.header(height) for height in range(first, 108)],
            at=102 - first,
            wtxids=[tx["hash"] for tx in whole] if witness else None,
        )

    def policy(self, **anchors: int) -> Policy:
        return Policy(REGTEST, NETWORKS[REGTEST], 12, 6, anchors or {self.block: 102})


@pytest.fixture(scope="module")
def ledger(module_bitcoind: BitcoindFactory) -> Ledger:
    return Ledger(module_bitcoind())


def test_every_transaction_of_a_block_is_proven_and_claims_are_bound(ledger: Ledger) -> None:
    assert len(ledger.txids) == PAYMENTS + 1
    for index in range(1, len(ledger.txids)):
        facts = verify_spv(ledger.proof(index), ledger.policy())
        node = ledger.node.rpc("getrawtransaction", ledger.txids[index], True)
        assert facts.txid == node["txid"]
        check_claim(
            facts,
            {
                "txid": node["txid"],
                "block": ledger.block,
                "height": 102,
                "outputs": [
                    {
                        "n": out["n"],
                        "value": str(round(out["value"] * 10**8)),
                        "script": out["scriptPubKey"]["hex"],
                    }
                    for out in node["vout"]
                ],
                "spends": [{"txid": spent["txid"], "n": spent["vout"]} for spent in node["vin"]],
            },
        )


def test_witnesses_are_proven_by_the_nodes_own_commitment(ledger: Ledger) -> None:
    proven = 0
    for index in range(1, len(ledger.txids)):
        proof = ledger.proof(index, witness=True)
        facts = verify_spv(proof, ledger.policy())
        node = ledger.node.rpc("getrawtransaction", ledger.txids[index], True)
        assert shown(facts.tx.wtxid) == node["hash"]
        proven += facts.witness_shown
        assert facts.witness_shown == (node["hash"] != node["txid"])
    assert proven > 0


def test_work_and_height_agree_with_the_node(ledger: Ledger) -> None:
    facts = verify_spv(ledger.proof(1, first=0), ledger.policy(**{GENESIS: 0}))
    works = [
        int(ledger.node.rpc("getblockheader", name)["chainwork"], 16)
        for name in (facts.tip, ledger.node.rpc("getblockhash", 101))
    ]

    assert facts.run.work == works[0] - works[1]
    assert facts.run.height == 102
    assert not facts.run.pinned
    assert facts.run.anchor == GENESIS


def test_a_proof_of_a_block_that_was_reorganised_is_stale_and_is_made_anew(
    bitcoind: BitcoindFactory,
) -> None:
    ledger = Ledger(bitcoind())
    stale = ledger.proof(1)
    before = verify_spv(stale, ledger.policy())
    ledger.node.rpc("invalidateblock", ledger.block)
    fresh_block = ledger.node.mine(7, ledger.wallet("getnewaddress"))[0]
    assert fresh_block != ledger.block
    known = ledger.policy(**{fresh_block: 102})

    with pytest.raises(Refused, match="anchor-missing"):
        verify_spv(stale, known)
    ledger.block = fresh_block
    ledger.txids = ledger.node.rpc("getblock", fresh_block, 1)["tx"]
    anew = ledger.proof(ledger.txids.index(before.txid))
    assert verify_spv(anew, known).txid == before.txid


def test_a_changed_transaction_of_a_real_block_is_refused(ledger: Ledger) -> None:
    proof = ledger.proof(1)
    raw = bytearray.fromhex(proof["tx"])
    raw[-6] ^= 1
    assert parse_tx(bytes(raw)).outputs != parse_tx(bytes.fromhex(proof["tx"])).outputs

    with pytest.raises(Refused, match="merkle-root"):
        verify_spv(proof | {"tx": raw.hex()}, ledger.policy())


def test_regtests_easy_headers_are_worth_nothing_on_mainnet(ledger: Ledger) -> None:
    chain = "bip122:000000000019d6689c085ae165831e93"
    mainnet = Policy(chain, NETWORKS[chain], 0, 1, {ledger.block: 102})

    with pytest.raises(Refused, match="header-limit"):
        verify_spv(ledger.proof(1) | {"chain": chain}, mainnet)


def test_the_tree_is_the_one_that_the_node_proves(ledger: Ledger) -> None:
    """gettxoutproof's partial tree begins with the same header and names the same transaction."""
    txid = ledger.txids[7]
    partial = ledger.node.rpc("gettxoutproof", [txid], ledger.block)
    proof = ledger.proof(7)

    assert partial.startswith(proof["headers"][0])
    assert ledger.node.rpc("verifytxoutproof", partial) == [txid]
    for node in proof["branch"]:
        assert node in partial


def test_a_real_proof_has_the_normal_form(ledger: Ledger) -> None:
    proof = ledger.proof(7)
    root = parse_header(bytes.fromhex(proof["headers"][0])).merkle_root
    proven = verify(from_spv(proof, root), scheme=BITCOIN, root=root, size=32)

    assert (proven.index, shown(parse_tx(proven.value).txid)) == (7, ledger.txids[7])
    assert work_of(NETWORKS[REGTEST].pow_limit) == 2
