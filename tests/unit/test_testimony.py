"""Trust files from what nodes say: what is kept, and what no file may hold at once."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapters.statement import BlockSeen, NodeAsked
from coordinator.families import statements_of
from coordinator.testimony import Heard, Untold, extended, new_trust
from proofs.trust import read_trust

CHAIN = "eip155:1"
NODE = NodeAsked("http://user:secret@node.test:8545/key", 2)
BITCOIN = "bip122:0f9188f13cb7b2c71f2a335e3a4fc328"


def heard(*seen: BlockSeen, node: NodeAsked = NODE, chain: str = CHAIN) -> Heard:
    return Heard(chain, node, seen)


def keep(value: dict[str, Any], *answers: Heard, needed: int | None = None) -> dict[str, Any]:
    raw = extended(value, answers, statements_of, needed=needed, at_s=5)
    found: dict[str, Any] = json.loads(raw)
    return found


def final(block: str, height: int = 7) -> BlockSeen:
    return BlockSeen(block * 32, height, "final")


def test_only_final_blocks_are_stated_and_a_node_is_named_by_host_and_port() -> None:
    waiting = BlockSeen("cd" * 32, 8, "waiting")
    absent = BlockSeen("ef" * 32, 9, "absent")
    value = keep(new_trust(), heard(final("ab"), waiting, absent))
    statements = value["chains"][CHAIN]["statements"]

    assert statements == [{"node": "node.test:8545", "block": "ab" * 32, "height": 7, "at_s": 5}]
    assert "secret" not in json.dumps(value)
    trust = read_trust(json.dumps(value).encode())
    assert trust.chains[CHAIN].believes("ab" * 32, 7) == "statement of node.test:8545"


def test_what_a_person_wrote_into_the_file_stays() -> None:
    value = new_trust()
    value["chains"][CHAIN] = {
        "schemes": ["evm.receipt/v1"], "blocks": {"11" * 32: 3}, "needed": 2, "statements": [],
    }  # fmt: skip
    kept = keep(value, heard(final("ab")))["chains"][CHAIN]

    assert (kept["schemes"], kept["blocks"]) == (["evm.receipt/v1"], {"11" * 32: 3})
    assert kept["needed"] == 2
    assert keep(value, heard(final("ab")), needed=3)["chains"][CHAIN]["needed"] == 3


def test_a_node_asked_again_has_one_statement_and_two_nodes_have_two() -> None:
    other = NodeAsked("http://other.test", 2)
    value = keep(new_trust(), heard(final("ab")), heard(final("ab")))
    value = keep(value, heard(final("ab"), node=other))

    named = [said["node"] for said in value["chains"][CHAIN]["statements"]]
    assert named == ["node.test:8545", "other.test"]


@pytest.mark.parametrize(
    "now", [final("cd"), BlockSeen("ab" * 32, 7, "other", "it has 0xcd there")]
)
def test_a_node_that_says_otherwise_than_before_changes_no_file(now: BlockSeen) -> None:
    value = keep(new_trust(), heard(final("ab")))

    with pytest.raises(Untold, match="Nothing was written"):
        keep(value, heard(now))


def test_bitcoins_entry_demands_the_depth_that_was_asked_for() -> None:
    node = NodeAsked("http://node.test", 6)
    value = keep(new_trust(), heard(final("ab"), node=node, chain=BITCOIN))

    policy = read_trust(json.dumps(value).encode()).chains[BITCOIN].policy
    assert policy is not None
    assert (policy.confirmations, policy.anchors) == (6, {"ab" * 32: 7})
