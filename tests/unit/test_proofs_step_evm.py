"""Binding of a proven transaction to a step of a plan: each check is seen refusing."""

from dataclasses import replace
from typing import Any

import pytest

from proofs.caip2 import caip2
from proofs.errors import Refused
from tests.unit.evm_block_scene import log_of
from tests.unit.evm_step_scene import (
    ALZ,
    AMOUNT,
    CASES,
    CONTEXT,
    OTHER,
    PAYEE,
    SENDER,
    VAULT,
    action_of,
    burn,
    erc20_log,
    event_of,
    operation_log,
    refusal_of,
    sent,
    set_log,
    state_at,
    text,
)

LOCK = CASES["lock, forward"]
TRANSFER = CASES["transfer"]
OPERATIONS = {
    name: case for name, case in CASES.items() if case.action["kind"] in {"lock", "hold", "mint"}
}


@pytest.mark.parametrize("name", list(CASES))
def test_every_action_in_every_direction_is_shown_by_its_receipt(name: str) -> None:
    given = CASES[name].given()
    shown = given.check()

    (block,) = shown.blocks
    assert f"0x{block.hash}" == given.record["block"]
    assert (block.height, block.time_s, shown.state) == (100, 0x65000000, None)
    assert shown.text.endswith(", in block 100")


# ---------------------------------------------------------------- the record


@pytest.mark.parametrize(
    ("change", "check"),
    [
        ({"tx": "0x" + "11" * 32}, "step-tx"),
        ({"block": "0x" + "11" * 32}, "step-block"),
        ({"height": 101}, "step-block"),
        ({"outcome": "not_done"}, "step-effect"),
        ({"evidence": []}, "step-kinds"),
        ({"evidence": [{"kind": "evm.storage/v1"}]}, "step-kinds"),
        ({"evidence": [{"kind": "evm.receipt/v1"}, {"kind": "evm.storage/v1"}]}, "step-kinds"),
        ({"tx": "11" * 32}, "step-form"),
        ({"tx": "0x" + "AB" * 32}, "step-form"),
        ({"block": None}, "step-form"),
        ({"height": "100"}, "step-form"),
        ({"height": True}, "step-form"),
        ({"outcome": "perhaps"}, "step-form"),
        ({"evidence": {}}, "step-form"),
        ({"evidence": [{}] * 4}, "step-form"),
    ],
)
@pytest.mark.parametrize("name", ["transfer", "lock, forward"])
def test_a_record_that_says_other_than_its_proof_is_refused(
    name: str, change: dict[str, Any], check: str
) -> None:
    given = CASES[name].given()

    assert refusal_of(given, record={**given.record, **change}) == check


def test_the_proof_of_another_transaction_of_the_same_block_is_refused() -> None:
    one, other = TRANSFER.given(), sent(TRANSFER.action, "forward", TRANSFER.logs, nonce=1)

    assert refusal_of(one, proofs=other.proofs) == "step-tx"
    assert refusal_of(one, record=other.record) == "step-tx"


def test_a_proof_of_another_chain_is_refused() -> None:
    given = TRANSFER.given()

    for chain_id in (1, 31338):
        assert refusal_of(given, terms={"kind": "evm", "chain_id": chain_id}) == "step-chain"
    elsewhere = [{**given.proofs[0], "chain": "eip155:1"}]
    # It was signed for the chain that it is on, so its name can not be changed.
    assert refusal_of(given, proofs=elsewhere) == "evm-chain"


@pytest.mark.parametrize(
    "terms",
    [
        None,
        {},
        {"kind": "evm"},
        {"kind": "evm", "chain_id": 0},
        {"kind": "evm", "chain_id": True},
        {"kind": "evm", "chain_id": "31337"},
        {"kind": "evm", "chain_id": 10**18},
        {"kind": "bitcoin", "genesis": "00"},
        {"kind": "sim-nonce", "genesis": "00" * 32},
    ],
)
def test_terms_that_name_no_chain_are_refused(terms: Any) -> None:
    assert refusal_of(TRANSFER.given(), terms=terms) == "step-chain"
    with pytest.raises(Refused, match="step-chain"):
        caip2(terms)


def test_chains_have_their_names_of_caip_2() -> None:
    genesis = "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206"

    assert caip2({"kind": "evm", "chain_id": 137}) == "eip155:137"
    assert caip2({"kind": "bitcoin", "genesis": genesis}) == f"bip122:{genesis[:32]}"


# ---------------------------------------------------------------- kinds of evidence


def test_a_step_needs_its_receipt_first_and_nothing_beyond_what_its_action_can_show() -> None:
    action = LOCK.action
    block, storage, ancestor = state_at(action, 1, ancestor=(99, "0x" + "11" * 32))
    lock = sent(action, "forward", LOCK.logs, header={"stateRoot": block["stateRoot"]})
    receipt = lock.proofs[0]
    transfer = TRANSFER.given()

    for proofs in (
        [storage],
        [storage, receipt],
        [receipt, receipt],
        [receipt, storage, storage],
        [receipt, ancestor],
        [receipt, ancestor, storage],
        [receipt, {"kind": "btc.spv/v1"}],
        [receipt, {"kind": None}],
    ):
        evidence = [{"kind": each["kind"]} for each in proofs if each is not None]
        assert refusal_of(lock, proofs=proofs, record={**lock.record, "evidence": evidence}) == (
            "step-kinds"
        )
    surplus = [transfer.proofs[0], storage]
    evidence = [{"kind": each["kind"]} for each in surplus]
    assert refusal_of(
        transfer, proofs=surplus, record={**transfer.record, "evidence": evidence}
    ) == ("step-kinds")
    assert refusal_of(transfer, proofs=[]) == "step-kinds"
    assert refusal_of(transfer, proofs=None) == "step-kinds"
    assert refusal_of(transfer, proofs=[None]) == "step-kinds"


# ---------------------------------------------------------------- effects of transactions of ours


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("transfer", {"amount": str(AMOUNT + 1)}),
        ("transfer", {"amount": "0"}),
        ("transfer", {"to": text(OTHER)}),
        ("transfer", {"token": text(VAULT)}),
        ("transfer", {"token": None}),
        ("pay", {"to": text(OTHER)}),
        ("pay in coins", {"amount": "1"}),
        ("pay in coins", {"to": text(OTHER)}),
        ("pay in coins", {"token": text(ALZ)}),
        ("approve", {"spender": text(OTHER)}),
        ("approve", {"amount": "77"}),
        ("approve", {"token": text(VAULT)}),
        ("approve as before", {"spender": text(OTHER)}),
        ("call", {"contract": text(VAULT)}),
        ("call undone by its call", {"contract": text(VAULT)}),
    ],
)
def test_another_effect_than_the_declared_one_is_refused(name: str, change: dict[str, Any]) -> None:
    case = CASES[name]

    assert refusal_of(replace(case, action={**case.action, **change}).given()) == "step-effect"


@pytest.mark.parametrize(
    "logs",
    [
        (),
        (erc20_log("Transfer", PAYEE, SENDER, AMOUNT),),
        (erc20_log("Transfer", SENDER, OTHER, AMOUNT),),
        (erc20_log("Transfer", SENDER, PAYEE, AMOUNT - 1),),
        (erc20_log("Transfer", SENDER, PAYEE, AMOUNT, token=VAULT),),
        (erc20_log("Approval", SENDER, PAYEE, AMOUNT),),
    ],
    ids=["none", "backwards", "another receiver", "less", "another token", "an allowance"],
)
def test_the_right_transaction_with_another_event_is_refused(logs: tuple[Any, ...]) -> None:
    assert refusal_of(replace(TRANSFER, logs=logs).given()) == "step-effect"


def test_the_event_may_be_one_of_several() -> None:
    noise = erc20_log("Transfer", OTHER, PAYEE, 1)

    assert refusal_of(replace(TRANSFER, logs=(noise, *TRANSFER.logs, noise)).given()) is None


def test_topics_of_another_number_are_another_event() -> None:
    # An ERC-721 event has the same signature and the number as a fourth topic.
    (log,) = TRANSFER.logs
    whole = {**log, "topics": [*log["topics"], log["data"]], "data": "0x"}

    assert refusal_of(replace(TRANSFER, logs=(whole,)).given()) == "step-effect"


def test_the_declared_undo_call_is_bound_by_target_value_data_and_success() -> None:
    case = CASES["call undone by its call"]
    for change in (
        {"to": f"0x{OTHER.hex()}"},
        {"value": 1},
        {"data": case.transaction["data"] + "00"},
        {"data": case.transaction["data"][:-2] + "00"},
        {"to": None, "gas": 200_000},
    ):
        other = replace(case, transaction={**case.transaction, **change})
        assert refusal_of(other.given()) == "step-effect", change
    assert refusal_of(case.given(), saga_id32="56" * 32) == "step-effect"


@pytest.mark.parametrize(
    "logs",
    [
        (set_log(saga="56" * 32),),
        (set_log(words=("eight", 7)),),
        (set_log(words=("seven", 8)),),
        ({**set_log(), "data": "0x"},),
        ({**set_log(), "data": set_log()["data"][:66]},),
        ({**set_log(), "address": f"0x{OTHER.hex()}"},),
        ({**set_log(), "topics": set_log()["topics"][:1]},),
    ],
    ids=["saga", "text", "number", "no data", "cut data", "contract", "topics"],
)
def test_a_declared_event_is_bound_by_every_value_that_is_named(logs: tuple[Any, ...]) -> None:
    case = CASES["call"]

    assert refusal_of(replace(case, logs=logs).given()) == "step-effect"
    where = {"0": "@saga.id32"}
    event = {**case.action["event"], "where": where}
    free = replace(case, action={**case.action, "event": event}, logs=(set_log(words=("x", 1)),))
    assert refusal_of(free.given()) is None


def test_the_undo_of_an_allowance_restores_the_one_that_was_there() -> None:
    given = CASES["approve as before"].given()

    for forward in (None, {}, {"former_allowance": 77}, {"former_allowance": "-1"}):
        context = replace(CONTEXT, forward=forward)
        assert refusal_of(given, context=context) == "step-form"
    context = replace(CONTEXT, forward={"former_allowance": "78"})
    assert refusal_of(given, context=context) == "step-effect"


@pytest.mark.parametrize("name", [name for name in CASES if name not in OPERATIONS])
def test_a_transaction_counts_only_if_it_consumes_the_steps_claim(name: str) -> None:
    given = CASES[name].given()

    wrong: list[Any] = [
        (),
        ((text(OTHER), 0),),
        ((text(SENDER), 1),),
        ((text(SENDER), "0"),),
        (("x:0", 0), 7, ("y",), (None, 0)),
    ]
    for claims in wrong:
        assert refusal_of(given, context=replace(CONTEXT, claims=claims)) == "step-claim"
    assert refusal_of(given, context=replace(CONTEXT, claims=None)) is None


@pytest.mark.parametrize("name", ["transfer", "pay", "approve", "call"])
def test_an_equal_effect_in_a_transaction_of_another_account_is_another_payment(name: str) -> None:
    case = CASES[name]
    given = case.given()
    theirs = {**case.action, "account": text(OTHER)}
    context = replace(CONTEXT, claims=None)

    # For events the account is in them, too.
    assert refusal_of(given, step={"action": theirs}, context=context) in {
        "step-claim",
        "step-effect",
    }
    if name == "call":
        assert refusal_of(given, step={"action": theirs}, context=context) == "step-claim"


# ---------------------------------------------------------------- operations


@pytest.mark.parametrize("name", list(OPERATIONS))
def test_an_operation_counts_whoever_caused_it(name: str) -> None:
    case = OPERATIONS[name]
    action = {**case.action, "account": text(OTHER)}

    assert refusal_of(sent(action, case.direction, case.logs)) is None


@pytest.mark.parametrize(
    "change",
    [
        {"contract": OTHER},
        {"group": OTHER},
        {"op_id": b"\x45" * 32},
        {"status": 4},
        {"kind": 0},
        {"asset": OTHER},
        {"amount": AMOUNT + 1},
        {"params_hash": bytes(32)},
    ],
    ids=lambda change: next(iter(change)),
)
@pytest.mark.parametrize("name", list(OPERATIONS))
def test_an_operations_event_with_another_value_is_refused(
    name: str, change: dict[str, Any]
) -> None:
    case = OPERATIONS[name]
    status = {"forward": 1, "confirm": 2, "undo": 3}[case.direction]
    log = log_of(replace(event_of(case.action, status), **change))

    assert refusal_of(sent(case.action, case.direction, (log,))) == "step-effect"


@pytest.mark.parametrize("name", ["lock, forward", "hold, forward", "mint, forward"])
def test_an_operation_with_other_terms_than_the_steps_is_refused(name: str) -> None:
    given = OPERATIONS[name].given()
    changes: list[dict[str, Any]] = [
        {"amount": "1"},
        {"to": text(OTHER)},
        {"token": text(OTHER)},
        {"group": text(OTHER)},
        {"contract": text(OTHER)},
    ]
    for change in changes:
        step = {"action": {**given.action, **change}}
        assert refusal_of(given, step=step) == "step-effect", change
    assert refusal_of(given, op_id="45" * 32) == "step-effect"
    for direction in ("confirm", "undo"):
        assert refusal_of(given, direction=direction) == "step-effect"


def test_a_hold_is_bound_to_its_hashlock_and_its_expiry() -> None:
    given = CASES["hold, forward"].given()

    for change, check in (
        ({"hashlock": "67" * 32}, "step-effect"),
        ({"expiry": {"time": 1}}, "step-effect"),
        ({"hashlock": None}, "step-form"),
        ({"expiry": None}, "step-form"),
        ({"expiry": {"height": 7}}, "step-form"),
        ({"expiry": {"time": -1}}, "step-form"),
        ({"expiry": {"time": 2**64}}, "step-form"),
        ({"expiry": {"time": "1900000000"}}, "step-form"),
    ):
        assert refusal_of(given, context=replace(CONTEXT, **change)) == check
    # A lock has neither, so they make no difference to it.
    assert refusal_of(LOCK.given(), context=replace(CONTEXT, hashlock=None, expiry=None)) is None


# ---------------------------------------------------------------- directions


@pytest.mark.parametrize(
    ("kind", "direction"),
    [
        ("transfer", "confirm"),
        ("pay", "confirm"),
        ("pay", "undo"),
        ("approve", "confirm"),
        ("call", "confirm"),
        ("lock", "sideways"),
        ("transfer", "sideways"),
        ("transfer", None),
    ],
)
def test_an_action_has_only_its_own_directions(kind: str, direction: Any) -> None:
    case = CASES.get(kind) or LOCK

    assert refusal_of(case.given(), direction=direction) == "step-direction"


def test_after_the_pivot_an_effect_is_the_confirms_alone() -> None:
    given = CASES["transfer after the pivot"].given()

    for direction in ("forward", "undo"):
        assert refusal_of(given, direction=direction) == "step-direction"
    pivoted = {"action": {**LOCK.action, "after_pivot": True}}
    assert refusal_of(LOCK.given(), step=pivoted) == "step-direction"


def test_a_call_without_a_declared_undo_has_none() -> None:
    action = {**CASES["call"].action, "undo": None}

    assert refusal_of(CASES["call"].given(), step={"action": action}, direction="undo") == (
        "step-direction"
    )


# ---------------------------------------------------------------- not done


@pytest.mark.parametrize("name", list(CASES))
def test_a_reverted_transaction_is_never_done_and_is_evidence_that_it_was_not(name: str) -> None:
    case = CASES[name]
    reverted = sent(
        case.action, case.direction, (), outcome="not_done", status=0, **case.transaction
    )

    assert reverted.check().text == "reverted, in block 100"
    assert refusal_of(reverted, record={**reverted.record, "outcome": "done"}) == "step-effect"
    assert refusal_of(reverted, context=replace(CONTEXT, claims=())) == "step-claim"
    theirs = {"action": {**case.action, "account": text(OTHER), "to": text(OTHER)}}
    # The effort's payer changes with the account, except where an undo is paid by the receiver.
    assert refusal_of(reverted, step=theirs, context=replace(CONTEXT, claims=None)) == "step-claim"


@pytest.mark.parametrize("name", list(CASES))
def test_an_effect_that_was_made_is_never_not_done(name: str) -> None:
    given = CASES[name].given()

    assert refusal_of(given, record={**given.record, "outcome": "not_done"}) == "step-effect"


@pytest.mark.parametrize("name", list(CASES))
def test_a_burn_is_evidence_if_it_took_the_claim(name: str) -> None:
    case = CASES[name]
    burnt = burn(case.action, case.direction)

    assert burnt.check().text.startswith("burnt")
    assert refusal_of(burnt, record={**burnt.record, "outcome": "done"}) == "step-effect"
    for claims in ((), ((text(SENDER), 1),)):
        assert refusal_of(burnt, context=replace(CONTEXT, claims=claims)) == "step-claim"


def test_another_transaction_under_the_claim_is_evidence_too() -> None:
    other = burn(TRANSFER.action, "forward", to=f"0x{OTHER.hex()}", value=1)

    assert other.check().text.startswith("its nonce went to a transaction without the effect")


@pytest.mark.parametrize("kind", ["lock", "hold", "mint"])
@pytest.mark.parametrize(
    ("direction", "status", "words"),
    [
        ("forward", 4, "cancelled"),
        ("confirm", 3, "refunded"),
        ("confirm", 4, "cancelled"),
        ("undo", 2, "released"),
        ("undo", 4, "cancelled"),
    ],
)
def test_an_operation_that_went_elsewhere_is_evidence_whoever_sent_it(
    kind: str, direction: str, status: int, words: str
) -> None:
    action = action_of(kind, account=text(OTHER))
    given = sent(action, direction, (operation_log(action, status),), outcome="not_done")

    assert given.check().text == f"the operation was {words}, in block 100"
    assert refusal_of(given, record={**given.record, "outcome": "done"}) == "step-effect"
    # Nothing of another operation, and nothing that merely looks like it.
    assert refusal_of(given, op_id="45" * 32) == "step-claim"
    for change in ({"group": OTHER}, {"contract": OTHER}):
        log = operation_log(action, status, **change)
        other = sent(action, direction, (log,), outcome="not_done")
        assert refusal_of(other) == "step-claim"


def test_an_id_that_was_opened_with_other_terms_can_never_be_ours() -> None:
    action = action_of("lock", account=text(OTHER))
    foreign = operation_log(action, 1, amount=1, params_hash=b"\x01" * 32)
    given = sent(action, "forward", (foreign,), outcome="not_done")

    assert "with other terms" in given.check().text
    later = sent(action, "forward", (operation_log(action, 2),), outcome="not_done")
    # Released with our terms: it was opened, so it was done.
    assert refusal_of(later) == "step-effect"
    unclaimed = operation_log(action, 2, params_hash=b"\x01" * 32)
    assert refusal_of(sent(action, "forward", (unclaimed,), outcome="not_done")) == "step-claim"


def test_a_hold_that_was_opened_says_nothing_against_its_confirm() -> None:
    case = CASES["hold, forward"]
    given = sent({**case.action, "account": text(OTHER)}, "confirm", case.logs, outcome="not_done")

    assert refusal_of(given) == "step-claim"


# ---------------------------------------------------------------- forms


@pytest.mark.parametrize(
    "step",
    [None, 7, [], {}, {"action": None}, {"action": []}, {"action": {}}, {"action": {"kind": 1}}],
)
def test_a_step_that_is_none_is_refused(step: Any) -> None:
    assert refusal_of(LOCK.given(), step=step) == "step-form"


@pytest.mark.parametrize("name", list(CASES))
def test_an_action_of_another_form_is_refused(name: str) -> None:
    case = CASES[name]
    given = case.given()
    read = {"account", "amount", "kind", "after_pivot"}
    read |= {"contract", "group", "to"} if name in OPERATIONS else set()
    read -= {"amount"} if case.action["kind"] == "call" else set()
    read -= {"amount"} if name == "approve as before" else set()
    for key in read:
        # Digits of other scripts count for Python's int(), and are none here.
        texts = ["", "0x", "x" * 42, "1e3", "0x" + "zz" * 20, "\u0661"]
        for value in (None, 7, (), *texts):
            check = refusal_of(given, step={"action": {**case.action, key: value}})
            assert check == "step-form", (key, value)


@pytest.mark.parametrize(
    "change",
    [
        {"function": "set(bytes32,uint8)"},
        {"function": "(bytes32,uint256)"},
        {"function": "set"},
        {"function": None},
        {"types": None},
        {"types": ["bytes32"]},
        {"types": ["bytes32", "uint257"]},
        {"args": ["@saga.id32"]},
        {"args": ["@saga.id32", 7]},
        {"args": ["@saga.id32", "-1"]},
        {"args": ["0x12", "7"]},
        {"args": None},
        {"value": "x"},
        {"value": None},
        {"event": 7},
        {"event": {}},
    ],
)
def test_a_call_of_another_form_is_refused(change: dict[str, Any]) -> None:
    case = CASES["call"]

    assert refusal_of(case.given(), step={"action": {**case.action, **change}}) == "step-form"


def test_values_that_are_nested_without_end_are_refused() -> None:
    case, value = CASES["call"], ["7"]
    for _ in range(100_000):
        value = [value]  # type: ignore[list-item]
    for change in ({"args": value}, {"event": {**case.action["event"], "where": {"2": value}}}):
        step = {"action": {**case.action, **change}}
        assert refusal_of(case.given(), step=step) == "step-form"


@pytest.mark.parametrize("undo", [7, "clear", [], {}, {"function": "clear(bytes32)"}])
def test_a_declared_undo_of_another_form_is_refused(undo: Any) -> None:
    case = CASES["call undone by its call"]

    assert refusal_of(case.given(), step={"action": {**case.action, "undo": undo}}) == "step-form"


@pytest.mark.parametrize(
    "change",
    [
        {"signature": "Set(bytes32,uint256)"},
        {"signature": 7},
        {"types": ["bytes32", "string"]},
        {"types": 7},
        {"indexed": [True, False]},
        {"indexed": [1, 0, 0]},
        {"indexed": [True, True, False]},
        {"where": {"3": "7"}},
        {"where": {"2": 7}},
        {"where": {"2": None}},
        {"where": {"0": None}},
        {"where": {"1": "\ud800"}},
        {"where": [1]},
        {"where": None},
    ],
)
def test_a_declared_event_of_another_form_is_refused(change: dict[str, Any]) -> None:
    case = CASES["call"]
    event = {**case.action["event"], **change}

    assert refusal_of(case.given(), step={"action": {**case.action, "event": event}}) == (
        "step-form"
    )


@pytest.mark.parametrize("name", ["op_id", "saga_id32"])
@pytest.mark.parametrize("value", [None, 7, "", "44" * 31, "zz" * 32])
def test_ids_of_another_form_are_refused(name: str, value: Any) -> None:
    case = LOCK if name == "op_id" else CASES["call"]

    assert refusal_of(case.given(), **{name: value}) == "step-form"
