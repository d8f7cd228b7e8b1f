"""A Bitcoin proof bound to a step: what is accepted, and which check refuses what else."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest

from adapters.bitcoin.effects import undo_fee_cap_sat
from proofs.bitcoin_hold import HoldOutput
from tests.unit.bitcoin_step_outcomes import GOOD
from tests.unit.bitcoin_step_scene import (
    AMOUNT,
    CAP,
    CHANGE,
    COIN,
    COLD,
    FORWARD,
    HASHLOCK,
    HEIGHT,
    HELD,
    HOLD,
    HOME,
    LOCKTIME,
    OTHER,
    OUTSIDE,
    PARENT,
    PAYEE,
    PAYER,
    PREIMAGE,
    THERE,
    Case,
    action,
    burnt,
    case,
    conflicting,
    held,
    joined,
    payment,
    raw_tx,
    redeemed,
    refunded,
    returned,
    script,
    spend,
)

SCRIPT = HOLD.witness_script()


@pytest.mark.parametrize("name", GOOD)
def test_an_outcome_is_shown_and_said_in_words(name: str) -> None:
    good, words = GOOD[name]
    evidence = good.check()

    assert words in evidence.text
    assert f"(block {HEIGHT}, 2 deep in the proof)" in evidence.text
    assert evidence.spv.txid == good.record["tx"]


# ------------------------------------------------------------ the effect


OTHER_HOLDS = {
    "hashlock": HoldOutput(b"\x07" * 32, PAYEE, LOCKTIME, PAYER),
    "payee": HoldOutput(HOLD.hashlock, PAYER, LOCKTIME, PAYER),
    "expiry": HoldOutput(HOLD.hashlock, PAYEE, LOCKTIME + 1, PAYER),
    "payer": HoldOutput(HOLD.hashlock, PAYEE, LOCKTIME, PAYEE),
}


def paying(*outputs: tuple[int, bytes], kind: str = "transfer", **more: Any) -> Case:
    return case(action(kind), raw_tx([spend(COIN)], [*outputs]), **more)


@pytest.mark.parametrize(
    "wrong",
    [
        paying((AMOUNT - 1, script(COLD))),
        paying((AMOUNT + 1, script(COLD))),
        paying((AMOUNT, script(OUTSIDE))),
        paying(CHANGE),
        paying((AMOUNT, script(COLD)), kind="pay"),
        paying(*[(AMOUNT, script(HOME))] * 2, kind="split"),
        paying((9, script(HOME)), (9, script(COLD)), kind="consolidate"),
        *(
            paying((AMOUNT, other.output_script()), kind="hold", **HELD)
            for other in OTHER_HOLDS.values()
        ),
        paying((AMOUNT - 1, HOLD.output_script()), kind="hold", **HELD),
        returned(AMOUNT - CAP - 1),
        refunded(outputs=[(AMOUNT - CAP - 1, script(HOME))]),
        refunded(outputs=[(AMOUNT, script(COLD))]),
    ],
    ids=[
        "less", "more", "another script", "no such output", "the address of another step",
        "parts missing", "not all home", *(f"another {name}" for name in OTHER_HOLDS),
        "less held", "less returned than the fee's cap allows", "less refunded",
        "refunded to somebody else",
    ],
)  # fmt: skip
def test_another_effect_is_refused(wrong: Case) -> None:
    assert wrong.refused() == "step-effect"


def test_the_records_may_not_name_another_hold() -> None:
    assert held().knowing(hashlock="33" * 32).refused() == "step-effect"
    assert held().knowing(expiry={"height": 91}).refused() == "step-effect"
    assert redeemed().knowing(hashlock="33" * 32).refused() == "step-path"
    assert refunded().knowing(expiry={"height": 89}).refused() == "step-path"
    assert held().with_action(payee=PAYER.hex()).refused() == "step-effect"
    assert refunded().with_action(payer_key=PAYEE.hex()).refused() == "step-path"


def test_a_fee_cap_that_a_person_raised_lets_less_return() -> None:
    short = returned(AMOUNT - 2 * CAP)
    assert short.refused() == "step-effect"
    assert short.knowing(cap_pct=200).check().spv.outputs[0].value_sat == AMOUNT - 2 * CAP
    assert short.knowing(cap_pct=199).refused() == "step-effect"
    assert undo_fee_cap_sat(action("transfer")) > CAP  # a real plan's cap is above that of here


def test_a_redemption_is_no_refund_and_a_refund_no_redemption() -> None:
    assert redeemed(direction="undo").refused() == "step-effect"
    assert redeemed(direction="undo", payee=HOME).refused() == "step-effect"
    assert refunded(direction="confirm").refused() == "step-effect"
    assert redeemed(outcome="not_done").refused() == "step-outcome"
    assert refunded(outcome="not_done").refused() == "step-outcome"


@pytest.mark.parametrize("name", [name for name in GOOD if "burnt" not in name])
def test_what_is_there_is_not_shown_to_be_absent_nor_the_other_way_round(name: str) -> None:
    good, _ = GOOD[name]
    other = "not_done" if good.record["outcome"] == "done" else "done"
    assert good.refused(record=good.record | {"outcome": other}) in {
        "step-outcome", "step-effect", "step-claim",
    }  # fmt: skip


def test_a_burn_is_no_effect() -> None:
    for kind in ("transfer", "pay", "hold", "split"):
        good = burnt(kind)
        assert good.refused(record=good.record | {"outcome": "done"}) == "step-effect"


# ------------------------------------------------------------ how a hold was spent


@pytest.mark.parametrize(
    "witness",
    [
        (b"sig", PREIMAGE[::-1], b"\x01", SCRIPT),
        (b"sig", PREIMAGE[:31], b"\x01", SCRIPT),
        (b"sig", PREIMAGE, b"\x01", OTHER_HOLDS["payee"].witness_script()),
        (b"sig", PREIMAGE, b"\x01", b""),
        (b"sig", PREIMAGE, b"\x80", SCRIPT),
        (b"sig", PREIMAGE, b"", SCRIPT),
        (b"sig", b"more", PREIMAGE, b"\x01", SCRIPT),
        (PREIMAGE, b"\x01", SCRIPT),
        (SCRIPT,),
    ],
)
def test_a_redemption_shows_the_preimage_in_the_holds_own_script(
    witness: tuple[bytes, ...],
) -> None:
    assert redeemed(*witness).refused() == "step-path"


def test_a_short_preimage_that_hashes_to_the_lock_is_none() -> None:
    short = b"sixteen bytes!!!"
    lock = HoldOutput(hashlib.sha256(short).digest(), PAYEE, LOCKTIME, PAYER)
    wrong = redeemed(b"sig", short, b"\x01", lock.witness_script())
    assert wrong.knowing(hashlock=lock.hashlock.hex()).refused() == "step-path"


@pytest.mark.parametrize(
    "wrong",
    [
        refunded(lock_time=LOCKTIME - 1),
        refunded(lock_time=0),
        refunded(lock_time=500_000_000),
        refunded(sequence=0xFFFFFFFF),
        refunded(b"sig", b"\x01", SCRIPT),
        refunded(b"sig", b"", OTHER_HOLDS["expiry"].witness_script()),
        refunded(b"", SCRIPT),
    ],
)
def test_a_refund_goes_through_the_lock_time(wrong: Case) -> None:
    assert wrong.refused() == "step-path"


@pytest.mark.parametrize("height", [LOCKTIME - 1, LOCKTIME])
def test_a_refund_is_in_no_block_before_the_expiry(height: int) -> None:
    assert refunded(height=height).refused() == "step-expiry"
    assert refunded(height=LOCKTIME + 1).check().spv.run.height == LOCKTIME + 1
    early = refunded(height=height, direction="confirm", outcome="not_done")
    assert early.refused() == "step-expiry"


def test_witnesses_are_shown_where_a_hold_is_spent_and_nowhere_else() -> None:
    assert redeemed(witness=False).refused() == "step-witness"
    assert refunded(witness=False).refused() == "step-witness"
    raw = raw_tx([spend(COIN, b"signature", PAYER)], [(AMOUNT, script(COLD))])
    assert case(action("transfer"), raw, witness=True).refused() == "step-witness"
    burn = raw_tx([spend(COIN, b"signature", PAYER)], [CHANGE])
    shown = case(action("transfer"), burn, witness=True, outcome="not_done")
    assert shown.refused() == "step-witness"
    parent = raw_tx([spend(PARENT, b"signature", PAYER)], [CHANGE])
    known: dict[str, Any] = {
        "claims": frozenset({FORWARD}),
        "parents": {FORWARD: [PARENT]},
        "forward": THERE,
    }
    conflict = case(
        action("transfer"), parent, witness=True, outcome="not_done", direction="undo", **known
    )
    assert conflict.refused() == "step-witness"
    assert case(action("transfer"), raw).check().spv.tx.inputs[0].witness == ()


# ------------------------------------------------------------ what it is bound to


def test_an_equal_payment_of_another_step_is_not_the_effect() -> None:
    for good in (payment(), payment("pay"), payment("split"), joined(), held()):
        assert good.knowing(claims=frozenset({FORWARD})).refused() == "step-claim"
        assert good.knowing(claims=frozenset()).refused() == "step-claim"


def test_the_spend_of_another_hold_says_nothing() -> None:
    other = {"outpoint": f"{'e' * 64}:2", "value_sat": str(AMOUNT)}
    for good in (redeemed(), refunded()):
        assert good.knowing(forward=other).refused() == "step-claim"
        gone = good.knowing(forward=other, claims=frozenset({COIN}))
        assert gone.refused(record=good.record | {"outcome": "not_done"}) == "step-claim"


def test_a_return_spends_the_transfers_own_output() -> None:
    other = {"outpoint": OTHER, "value_sat": str(AMOUNT)}
    assert returned().knowing(forward=other).refused() == "step-claim"
    later = returned(gen=2).knowing(forward=other)  # of a new generation: what it claimed itself
    assert later.check().spv.spends[0].n == 2
    assert later.knowing(claims=frozenset({COIN})).refused() == "step-claim"


def test_only_what_a_claimed_coin_depends_on_rules_it_out() -> None:
    assert conflicting(OTHER).refused() == "step-claim"
    assert conflicting().knowing(parents={COIN: [PARENT]}).refused() == "step-claim"
    assert conflicting().knowing(parents={FORWARD: [OTHER]}).refused() == "step-claim"
    assert conflicting().knowing(parents={}).refused() == "step-claim"


def test_the_parent_itself_is_no_conflict() -> None:
    good = conflicting()
    own = f"{good.record['tx']}:0"
    itself = good.knowing(claims=frozenset({own}), parents={own: [PARENT]})
    assert itself.refused() == "step-claim"


def test_a_not_done_needs_a_transaction_that_touches_the_claim() -> None:
    assert burnt().knowing(claims=frozenset({FORWARD})).refused() == "step-claim"


# ------------------------------------------------------------ the record


@pytest.mark.parametrize(
    ("change", "check"),
    [
        ({"tx": "ab" * 32}, "step-tx"),
        ({"tx": None}, "step-tx"),
        ({"block": "ab" * 32}, "step-block"),
        ({"height": HEIGHT + 1}, "step-block"),
        ({"height": HEIGHT - 1}, "step-block"),
        ({"height": str(HEIGHT)}, "step-form"),
        ({"height": True}, "step-form"),
        ({"step": "another"}, "step-form"),
        ({"dir": "undo"}, "step-form"),
        ({"gen": "1"}, "step-form"),
        ({"outcome": "perhaps"}, "step-form"),
    ],
)
def test_the_record_names_the_transaction_and_its_place(change: dict[str, Any], check: str) -> None:
    good = payment()
    assert good.refused(record=good.record | change) == check


def test_the_block_is_one_that_the_verifier_knows_at_its_height() -> None:
    good = payment()
    other = replace(good.policy, anchors={"ab" * 32: HEIGHT})
    assert good.refused(policy=other) == "anchor-missing"
    moved = replace(good.policy, anchors={good.record["block"]: HEIGHT + 1})
    assert good.refused(policy=moved) == "coinbase-height"
    assert payment(height=101).refused(record=good.record) in {"step-tx", "step-block"}


def test_there_is_exactly_one_proof_of_the_kind() -> None:
    good = payment()
    [proof] = good.proofs
    wrong: list[list[Any]] = [
        [],
        [proof, proof],
        [proof | {"kind": "evm.receipt/v1"}],
        [None],
        [[]],
    ]
    for proofs in wrong:
        assert good.refused(proofs=proofs) == "step-kinds"


def test_the_chain_is_the_plans_and_the_policys() -> None:
    good = payment()
    mainnet = "bip122:000000000019d6689c085ae165831e93"
    for terms in ({"genesis": "00" * 32}, {"genesis": None}, {"kind": "evm"}, {"kind": "sim"}):
        assert good.refused(terms=good.terms | terms) == "step-chain"
    assert good.refused(policy=replace(good.policy, chain=mainnet)) == "step-chain"
    assert good.refused(proofs=[good.proofs[0] | {"chain": mainnet}]) == "spv-chain"


def test_the_proof_is_as_deep_as_the_plan_calls_final() -> None:
    good = payment()
    assert good.refused(terms=good.terms | {"finality_blocks": 3}) == "step-confirmations"
    deeper = payment(confirmations=3)
    assert deeper.check(terms=good.terms | {"finality_blocks": 3}).spv.run.confirmations == 3
    for wrong in (None, "2", -1, True):
        assert good.refused(terms=good.terms | {"finality_blocks": wrong}) == "step-form"


@pytest.mark.parametrize(
    ("kind", "direction"),
    [
        ("pay", "undo"), ("split", "undo"), ("split", "confirm"),
        ("consolidate", "undo"), ("consolidate", "confirm"),
    ],
)  # fmt: skip
def test_an_action_has_its_own_directions(kind: str, direction: str) -> None:
    good = joined() if kind == "consolidate" else payment(kind)
    record = good.record | {"dir": direction}
    assert good.refused(direction=direction, record=record) == "step-direction"
    assert good.refused(direction="sideways", record=record | {"dir": "sideways"}) == "step-form"


@pytest.mark.parametrize(
    ("change", "check"),
    [
        ({"to": OUTSIDE}, "step-script"),
        ({"script": script(OUTSIDE).hex()}, "step-script"),
        ({"from": COLD}, "step-script"),
        ({"source_script": script(COLD).hex()}, "step-script"),
        ({"to": COLD.upper()}, "step-script"),
        ({"to": COLD.replace("bcrt1", "tb1")}, "step-script"),
        ({"to": COLD[:-1] + "q"}, "step-script"),
        ({"to": ""}, "step-script"),
        ({"to": 7}, "step-form"),
        ({"script": None}, "step-form"),
        ({"kind": "steal"}, "step-form"),
        ({"kind": "split", "count": 1}, "step-form"),
        ({"kind": "split", "count": 101}, "step-form"),
        ({"kind": "hold"}, "step-form"),
        ({"kind": "hold", "payee": "04" * 33, "payer_key": PAYER.hex()}, "step-form"),
        ({"amount": AMOUNT}, "step-form"),
        ({"amount": f"0{AMOUNT}"}, "step-form"),
        ({"amount": "-1"}, "step-form"),
        ({"amount": "1.5"}, "step-form"),
        ({"amount": "²"}, "step-form"),
        ({"amount": "2100000000000001"}, "step-form"),
    ],
)  # fmt: skip
def test_a_lock_is_read_strictly(change: dict[str, Any], check: str) -> None:
    assert payment().with_action(**change).refused() == check


@pytest.mark.parametrize(
    "change",
    [
        {"expiry": None},
        {"expiry": {}},
        {"expiry": {"time": 90}},
        {"expiry": {"height": 0}},
        {"expiry": {"height": 500_000_000}},
        {"hashlock": None},
        {"hashlock": HASHLOCK[:-2]},
        {"hashlock": HASHLOCK.upper()},
        {"claims": frozenset({"coin"})},
        {"claims": frozenset({f"{'a' * 64}:01"})},
        {"claims": frozenset({f"{'a' * 64}:4294967296"})},
        {"claims": frozenset({f"{'A' * 64}:0"})},
        {"claims": frozenset(f"{'a' * 64}:{n}" for n in range(1001))},
        {"parents": {COIN: "abc"}},
        {"parents": {COIN: [7]}},
        {"cap_pct": -1},
        {"cap_pct": "100"},
    ],
)
def test_what_the_records_say_is_read_strictly(change: dict[str, Any]) -> None:
    assert held().knowing(**change).refused() == "step-form"


@pytest.mark.parametrize("key", ["04" * 33, "02" * 32, "", None, PAYEE.hex().upper() + "AA"])
def test_keys_of_a_hold_are_compressed(key: Any) -> None:
    assert held().with_action(payee=key).refused() == "step-form"
    assert held().with_action(payer_key=key).refused() == "step-form"


@pytest.mark.parametrize("forward", [None, {}, {"outpoint": None}, {"outpoint": "x:0"}])
def test_a_confirm_and_an_undo_need_the_forwards_outpoint(forward: Any) -> None:
    for good in (redeemed(), refunded(), returned()):
        assert good.knowing(forward=forward).refused() == "step-form"


# ------------------------------------------------------------ facts beside the proof


def test_facts_of_the_record_are_what_the_transaction_shows() -> None:
    good = held()
    tx = good.record["tx"]
    facts = {
        "fee": "900", "time": 1, "outpoint": f"{tx}:0", "value_sat": str(AMOUNT), "spent": [COIN],
        "claim": [COIN], "witness_script": SCRIPT.hex(), "locktime": LOCKTIME, "hashlock": HASHLOCK,
    }  # fmt: skip
    assert good.knowing(facts=facts).check().spv.txid == tx
    for name, wrong in (
        ("time", 2), ("time", "1"), ("time", True), ("outpoint", f"{tx}:1"),
        ("outpoint", f"{'b' * 64}:0"), ("value_sat", str(AMOUNT + 1)), ("value_sat", AMOUNT),
        ("spent", []), ("spent", [COIN, OTHER]), ("claim", [OTHER]), ("claim", [7]),
        ("claim", COIN),
        ("witness_script", ""), ("locktime", 91), ("hashlock", "33" * 32),
    ):  # fmt: skip
        assert good.knowing(facts=facts | {name: wrong}).refused() == "step-facts"
    assert good.knowing(facts=None).refused() == "step-facts"


def test_the_heirs_of_a_claim_are_outputs_of_what_took_it() -> None:
    good = burnt()
    tx = good.record["tx"]
    assert good.knowing(facts={"outpoints": [[f"{tx}:0", "9", HOME]]}).check().spv.txid == tx
    wrong: Any
    for wrong in (
        [f"{tx}:1", "9", HOME], [f"{tx}:0", "8", HOME], [f"{tx}:0", "9", COLD], [f"{tx}:0", "9"],
        [f"{tx}:0", 9, HOME], ["", "9", HOME], [f"{tx}:0", "9", "nowhere"], {}, None,
    ):  # fmt: skip
        assert good.knowing(facts={"outpoints": [wrong]}).refused() == "step-facts"
