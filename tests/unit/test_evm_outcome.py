"""What blocks say about an effort: the effect first, then what became of the attempts."""

from dataclasses import replace
from typing import Any

import pytest

from adapters.base import Attempt, Direction, Observation, Purpose, Task
from adapters.evm.blocks import Block, Header, Landed, Log, Operation
from adapters.evm.effects import (
    TRANSFER,
    Effect,
    EventMatch,
    OperationEffect,
    TransactionEffect,
)
from adapters.evm.index import Index
from adapters.evm.outcome import observe

_ACCOUNT, _OTHER, _TOKEN, _VAULT = (f"0x{digit * 40}" for digit in "1234")
_OP = "ab" * 32
_EFFECT = OperationEffect(_VAULT, _ACCOUNT, _OP, 1, 1, _TOKEN, 5, "cd" * 32)


def header(height: int) -> Header:
    return Header(height, f"0x{height:064x}", f"0x{height - 1:064x}", 1000 + height, 7)


def landed(height: int, tx_id: str = "0xaa", **changes: Any) -> Landed:
    fields: dict[str, Any] = {
        "tx_id": tx_id, "account": _ACCOUNT, "nonce": 3, "to": _VAULT, "value_wei": 0,
        "data": "0x", "succeeded": True, "gas": 100, "gas_used": 60, "fee_wei": 600, "logs": (),
        "header": header(height),
    }  # fmt: skip
    return Landed(**{**fields, **changes})


def operation(height: int, status: int, tx_id: str = "0xaa", **changes: Any) -> Operation:
    plain = Operation(
        _VAULT, _ACCOUNT, _OP, status, 1, _TOKEN, 5, "cd" * 32, tx_id, 600, header(height)
    )
    return replace(plain, **changes)


def attempt(tx_id: str, purpose: Purpose = "effect", nonce: int = 3, gen: int = 1) -> Attempt:
    return Attempt(tx_id, purpose, ((_ACCOUNT, nonce),), 0, {}, {"gen": gen})


def task(direction: Direction = "forward", generation: int = 1) -> Task:
    return Task("saga", "step", direction, generation, {}, _OP, "00" * 32, 0)


def seen(
    *items: Landed | Operation,
    attempts: tuple[Attempt, ...] = (attempt("0xaa"),),
    effect: Effect = _EFFECT,
    about: Task | None = None,
    final_height: int = 10,
) -> Observation:
    """Observe after ten blocks that hold ``items``."""
    index = Index(100)
    index.start(header(0))
    for height in range(1, 11):
        here = [item for item in items if item.header.height == height]
        index.extend(
            Block(
                header(height),
                tuple(item for item in here if isinstance(item, Landed)),
                tuple(item for item in here if isinstance(item, Operation)),
            )
        )
    return observe(index, about or task(), attempts, effect, final_height)


def test_silence_says_nothing() -> None:
    assert seen() == Observation(10)


def test_an_effect_counts_whoever_caused_it() -> None:
    found = seen(operation(5, 1, tx_id="0xbb", fee_wei=0), attempts=()).found
    assert found is not None
    assert (found.tx_id, found.final, found.facts["fee"]) == ("0xbb", True, "0")


@pytest.mark.parametrize(
    "changes",
    [
        {"group": _OTHER}, {"kind": 2}, {"asset": _OTHER}, {"amount": 6}, {"contract": _OTHER},
        {"params_hash": "ee" * 32}, {"status": 3},
    ],
    ids=lambda changes: next(iter(changes)),
)  # fmt: skip
def test_an_event_that_differs_in_anything_is_not_the_effect(changes: dict[str, Any]) -> None:
    assert seen(replace(operation(5, 1), **changes)).found is None


def test_an_effect_is_final_at_its_height_and_not_below() -> None:
    for final_height, final in ((5, True), (4, False)):
        found = seen(operation(5, 1), final_height=final_height).found
        assert found is not None
        assert found.final is final


@pytest.mark.parametrize(
    ("tx", "attempts", "reason"),
    [
        (landed(4, succeeded=False), (attempt("0xaa"),), "reverted"),
        (landed(4), (attempt("0xaa"),), "no_effect"),
        (landed(4, "0xbb"), (attempt("0xaa"), attempt("0xbb", "burn")), "burnt"),
        (landed(4, "0xcc"), (attempt("0xaa"),), "foreign"),
    ],
)
def test_a_claim_is_consumed_by_whoever_took_it(
    tx: Landed, attempts: tuple[Attempt, ...], reason: str
) -> None:
    observation = seen(tx, attempts=attempts)
    assert observation.found is None
    assert observation.consumed is not None
    assert (observation.consumed.reason, observation.consumed.claim_open) == (reason, False)
    assert observation.consumed.facts["fee"] == "600"


def test_all_gas_used_is_told_as_such() -> None:
    consumed = seen(landed(4, succeeded=False, gas_used=100)).consumed
    assert consumed is not None
    assert "out of gas" in consumed.facts["detail"]


def test_an_older_generations_claim_says_nothing_about_the_present_one() -> None:
    attempts = (attempt("0xaa", nonce=3), attempt("0xbb", nonce=4, gen=2))
    assert seen(landed(4), attempts=attempts, about=task("undo", 2)).consumed is None


def test_a_tombstone_leaves_the_claim_open_until_that_is_final_too() -> None:
    tomb = operation(4, 4, tx_id="0xdd", kind=0, amount=0, params_hash="00" * 32)
    attempts = (attempt("0xaa"), attempt("0xdd", "tombstone", nonce=9))
    consumed = seen(tomb, attempts=attempts).consumed
    assert consumed is not None
    assert (consumed.reason, consumed.claim_open) == ("tombstone", True)
    buried, late = landed(4, "0xdd", nonce=9), landed(8, succeeded=False, fee_wei=70)
    for final_height, reason in ((7, "tombstone"), (8, "reverted")):
        consumed = seen(tomb, buried, late, attempts=attempts, final_height=final_height).consumed
        assert consumed is not None
        assert (consumed.reason, consumed.final) == (reason, True)
        assert consumed.claim_open is (reason == "tombstone")
        # Both were paid by us, the second one once it is final.
        assert consumed.facts["fee"] == ("600" if consumed.claim_open else "670")


def test_what_landed_beside_the_effect_is_paid_for_too_but_no_other_generations() -> None:
    attempts = (
        attempt("0xee", nonce=2, gen=1),
        attempt("0xaa", nonce=3, gen=2),
        attempt("0xdd", "tombstone", nonce=9, gen=2),
    )
    blocks = (
        landed(3, "0xee", nonce=2, fee_wei=7), landed(5), operation(5, 1),
        landed(6, "0xdd", nonce=9, fee_wei=70, succeeded=False),
    )  # fmt: skip
    found = seen(*blocks, attempts=attempts, about=task(generation=2)).found
    assert found is not None
    assert (found.tx_id, found.facts["fee"]) == ("0xaa", "670")


def test_an_id_that_was_opened_with_other_terms_is_lost_to_this_step() -> None:
    consumed = seen(operation(4, 1, params_hash="ee" * 32)).consumed
    assert consumed is not None
    assert (consumed.reason, consumed.claim_open) == ("foreign", True)


@pytest.mark.parametrize(
    ("direction", "status", "reason"),
    [("undo", 2, "redeemed"), ("confirm", 3, "refunded"), ("undo", 4, "tombstone")],
)
def test_an_operation_that_went_elsewhere_ends_the_effort(
    direction: Direction, status: int, reason: str
) -> None:
    effect = replace(_EFFECT, status=3 if direction == "undo" else 2)
    consumed = seen(
        operation(4, status), about=task(direction), effect=effect, attempts=()
    ).consumed
    assert consumed is not None
    assert (consumed.reason, consumed.claim_open) == (reason, False)


def _transfer_log(amount: int, to: str = _OTHER, address: str = _TOKEN) -> Log:
    topics = (TRANSFER.topic, f"0x{_ACCOUNT[2:]:0>64}", f"0x{to[2:]:0>64}")
    return Log(address, topics, f"0x{amount:064x}")


_TRANSFER = TransactionEffect(
    _TOKEN, 0, None, EventMatch(_TOKEN, TRANSFER, {0: _ACCOUNT, 1: _OTHER, 2: "5"})
)


@pytest.mark.parametrize(
    ("log", "carried"),
    [
        (_transfer_log(5), True),
        (_transfer_log(6), False),
        (_transfer_log(5, to=_ACCOUNT), False),
        (_transfer_log(5, address=_VAULT), False),
        (Log(_TOKEN, (), "0x"), False),
    ],
    ids=["equal", "another amount", "another receiver", "another token", "no topics"],
)
def test_a_token_moved_only_if_its_own_log_says_so(log: Log, carried: bool) -> None:  # noqa: FBT001
    observation = seen(landed(4, logs=(log,)), effect=_TRANSFER)
    assert (observation.found is not None) is carried
    if not carried:
        assert observation.consumed is not None
        assert observation.consumed.reason == "no_effect"


def test_coins_moved_only_with_the_right_value_to_the_right_account() -> None:
    effect = TransactionEffect(_OTHER, 5, None, None)
    for to, value_wei, carried in ((_OTHER, 5, True), (_OTHER, 4, False), (_VAULT, 5, False)):
        found = seen(landed(4, to=to, value_wei=value_wei), effect=effect).found
        assert (found is not None) is carried


def test_a_call_without_an_event_must_be_the_very_call() -> None:
    effect = TransactionEffect(_VAULT, 0, "0x1234", None)
    assert seen(landed(4, data="0x1234"), effect=effect).found is not None
    assert seen(landed(4, data="0x1235"), effect=effect).found is None


def test_a_cut_takes_back_what_was_above_it_and_nothing_else() -> None:
    index = Index(100)
    index.start(header(0))
    index.extend(Block(header(1), (landed(1),), ()))
    index.extend(Block(header(2), (), (operation(2, 1),)))
    touched = index.cut(1)
    assert touched == {f"op:{_VAULT}:{_OP}"}
    assert index.landed(_ACCOUNT, 3) is not None
    assert index.operations(_VAULT, _OP) == ()
    assert index.head == header(1)


def test_what_is_forgotten_below_a_height_is_not_claimed_to_be_known() -> None:
    index = Index(100)
    index.start(header(0))
    for height in range(1, 6):
        index.extend(Block(header(height), (landed(height, nonce=height),), ()))
    index.forget_below(4)
    assert index.low == 4
    assert index.landed(_ACCOUNT, 3) is None
    assert index.landed(_ACCOUNT, 4) is not None
