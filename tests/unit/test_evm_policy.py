"""The last look before a signature on an EVM chain: what the plan says, to the byte."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from adapters.base import Resolved, StepSpec, Task
from adapters.errors import Rejected
from adapters.evm.actions import Call, call_of, tombstone_of
from adapters.evm.adapter import EvmAdapter
from adapters.evm.policy import (
    require_burn,
    require_effect,
    require_expressible,
    require_tombstone,
)
from adapters.evm.signing import Eip1559, read_payload
from tests.unit.evm_step_scene import CASES, CONTEXT, OP_ID, SAGA, Case, text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CHAIN_ID = 137
PREIMAGE = "ab" * 32
#: Wei per gas: what a forward may cost, and what everything else may.
CAPS = {"forward": {"max_fee": "100", "tip": "10"}, "full": {"max_fee": "110", "tip": "11"}}
GAS = {"forward": "60000", "confirm": "50000", "undo": "40000", "burn": "21000",
       "tombstone": "30000"}  # fmt: skip
FORWARD = [name for name, case in CASES.items() if case.direction == "forward"]
ELSEWHERE = text(b"\x99" * 20)


def task_of(case: Case, **changes: Any) -> Task:
    fields: dict[str, Any] = {
        "saga": "saga",
        "step": "step",
        "direction": case.direction,
        "generation": 1,
        "action": {"undo": None, **case.action, "caps": CAPS, "gas": GAS, "tip": "1"},
        "op_id": OP_ID,
        "saga_id32": SAGA,
        "deadline_s": CONTEXT.deadline_s,
        "expiry": CONTEXT.expiry,
        "forward": CONTEXT.forward,
        "hashlock": CONTEXT.hashlock,
        "preimage": PREIMAGE if case.direction == "confirm" else None,
        "terms": {"chain_id": CHAIN_ID},
    }
    return Task(**{**fields, **changes})


def built(call: Call, **changes: Any) -> Eip1559:
    tx = Eip1559(CHAIN_ID, 3, 9, 90, call.gas, call.to, call.value_wei, call.data)
    return replace(tx, **changes)


def mismatch(check: Callable[[], None], words: str) -> None:
    with pytest.raises(Rejected, match=words) as caught:
        check()
    assert caught.value.code == "mismatch"
    assert "Nothing was signed and nothing was sent" in str(caught.value)


@pytest.mark.parametrize("name", CASES)
def test_what_the_adapter_builds_for_every_action_and_direction_passes(name: str) -> None:
    task = task_of(CASES[name])
    call = call_of(task)
    require_effect(task, built(call).payload(), call.sender, CHAIN_ID)
    assert read_payload(built(call).payload()) == replace(built(call), to=call.to.lower())


@pytest.mark.parametrize("name", CASES)
def test_another_destination_value_data_payer_or_chain_is_never_signed(name: str) -> None:
    task = task_of(CASES[name])
    call = call_of(task)
    tx = built(call)

    def refuses(words: str, sender: str = call.sender, **changes: Any) -> None:
        payload = replace(tx, **changes).payload()
        mismatch(lambda: require_effect(task, payload, sender, CHAIN_ID), words)

    refuses("the destination is", to=ELSEWHERE)
    refuses("the value is", value_wei=tx.value_wei + 1)
    refuses("chain id 1, configured 137, planned 137", chain_id=1)
    refuses(f"the payer is {ELSEWHERE}", sender=ELSEWHERE)
    refuses("its data has" if tx.data else "it calls function", data=tx.data + b"\0")
    for at in range(len(tx.data)):
        flipped = bytearray(tx.data)
        flipped[at] ^= 1
        refuses("it calls function" if at < 4 else rf"parameter word {(at - 4) // 32} of its call",
                data=bytes(flipped))  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_plan_for_another_chain_is_never_signed(name: str) -> None:
    task = task_of(CASES[name], terms={"chain_id": 1})
    call = call_of(task)
    payload = built(call).payload()
    mismatch(lambda: require_effect(task, payload, call.sender, CHAIN_ID), "planned 1")
    lost = replace(task, terms={})
    mismatch(lambda: require_effect(lost, payload, call.sender, CHAIN_ID), "planned None")


@pytest.mark.parametrize("name", [name for name in FORWARD if CASES[name].action["kind"] in
                                  {"lock", "hold", "mint"}])  # fmt: skip
@pytest.mark.parametrize(
    "other",
    [{"op_id": "99" * 32}, {"deadline_s": CONTEXT.deadline_s + 1}],
    ids=["operation id", "deadline"],
)
def test_another_operation_or_a_later_deadline_is_never_signed(
    name: str, other: dict[str, Any]
) -> None:
    task = task_of(CASES[name])
    call = call_of(replace(task, **other))
    check = built(call).payload()
    mismatch(lambda: require_effect(task, check, call.sender, CHAIN_ID), "parameter word")


def test_a_hold_with_another_hashlock_or_expiry_is_never_signed() -> None:
    name = next(name for name in FORWARD if CASES[name].action["kind"] == "hold")
    task = task_of(CASES[name])
    for other in ({"hashlock": "77" * 32}, {"expiry": {"time": 1_800_000_000}}):
        call = call_of(replace(task, **other))
        payload = built(call).payload()
        mismatch(lambda: require_effect(task, payload, call.sender, CHAIN_ID), "parameter word")  # noqa: B023


@pytest.mark.parametrize("name", FORWARD)
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"max_fee_wei": 101}, "it may cost 101 wei per gas"),
        ({"max_priority_fee_wei": 11}, "a tip of 11"),
        ({"gas": 60_001}, "its gas limit is 60001, the plan's is 60000"),
    ],
)
def test_a_forward_beyond_its_cap_is_never_signed(
    name: str, changes: dict[str, int], words: str
) -> None:
    task = task_of(CASES[name])
    call = call_of(task)
    payload = built(call, **changes).payload()
    mismatch(lambda: require_effect(task, payload, call.sender, CHAIN_ID), words)


@pytest.mark.parametrize("name", [name for name in CASES if name not in FORWARD])
def test_no_limit_stands_in_the_way_of_confirm_and_undo(name: str) -> None:
    task = task_of(CASES[name])
    call = call_of(task)
    dear = built(call, max_fee_wei=10**12, max_priority_fee_wei=10**11, gas=10**6)
    require_effect(task, dear.payload(), call.sender, CHAIN_ID)


def test_a_raised_cap_counts() -> None:
    task = task_of(CASES["transfer"], cap_pct=200)
    call = call_of(task)
    require_effect(task, built(call, max_fee_wei=200).payload(), call.sender, CHAIN_ID)
    beyond = built(call, max_fee_wei=201).payload()
    mismatch(lambda: require_effect(task, beyond, call.sender, CHAIN_ID), "the caps are 200")


def test_a_burn_pays_nothing_to_oneself_and_may_cost_anything() -> None:
    task = task_of(CASES["transfer"])
    own = call_of(task).sender
    tx = Eip1559(CHAIN_ID, 3, 10**9, 10**12, 10**6, own, 0)
    for whose in (task, None):
        require_burn(whose, tx.payload(), own, CHAIN_ID)
        for change in ({"to": ELSEWHERE}, {"value_wei": 1}, {"data": b"\0"}, {"chain_id": 1}):
            payload = replace(tx, **change).payload()
            mismatch(lambda: require_burn(whose, payload, own, CHAIN_ID), "is not what")  # noqa: B023


def test_a_tombstone_cancels_just_this_operation() -> None:
    name = next(name for name in FORWARD if CASES[name].action["kind"] == "lock")
    task = task_of(CASES[name])
    call = tombstone_of(task, ELSEWHERE)
    require_tombstone(task, built(call).payload(), ELSEWHERE, CHAIN_ID)
    other = tombstone_of(replace(task, op_id="99" * 32), ELSEWHERE)
    for wrong in (built(other), built(call, to=ELSEWHERE), built(call, value_wei=1)):
        payload = wrong.payload()
        mismatch(lambda: require_tombstone(task, payload, ELSEWHERE, CHAIN_ID), "a tombstone")  # noqa: B023


@given(payload=st.binary(max_size=120))
def test_bytes_that_are_no_transaction_are_never_signed(payload: bytes) -> None:
    task = task_of(CASES["transfer"])
    mismatch(lambda: require_effect(task, payload, call_of(task).sender, CHAIN_ID), "is not what")


@given(at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_one_flipped_bit_changes_nonce_or_price_or_is_refused(at: int, bit: int) -> None:
    task = task_of(CASES["lock, forward"])
    call = call_of(task)
    payload = bytearray(built(call).payload())
    payload[at % len(payload)] ^= 1 << bit
    try:
        require_effect(task, bytes(payload), call.sender, CHAIN_ID)
    except Rejected:
        return
    tx = replace(read_payload(bytes(payload)), nonce=3, max_fee_wei=90, max_priority_fee_wei=9)
    assert replace(tx, gas=call.gas) == replace(built(call), to=call.to.lower())


def test_a_call_that_could_not_be_compared_later_is_refused_with_the_plan() -> None:
    good = task_of(CASES["call undone by its call"])
    require_expressible(good)
    strange = {"function": "set(fixed128x18)", "types": ["fixed128x18"], "args": ["7"]}
    for action in (
        {**good.action, **strange},
        {**good.action, "undo": {**good.action["undo"], **strange}},
    ):
        with pytest.raises(Rejected, match="can not be held against the plan"):
            require_expressible(replace(good, action=action))
        with pytest.raises(Rejected, match="can not be held against the plan"):
            _resolved(action)
    assert _resolved(good.action).action is good.action


def _resolved(action: Mapping[str, Any]) -> Resolved:
    """What an adapter makes of a step that its reader resolved to ``action``."""

    class Reader:
        async def resolve(self, _spec: StepSpec) -> Resolved:
            return Resolved(action, "undoable", "call", "POL")

    adapter = object.__new__(EvmAdapter)
    adapter._resolver = Reader()  # type: ignore[assignment]
    return asyncio.run(adapter.resolve(StepSpec("step", "polygon", "call", {})))


def test_a_malformed_action_is_never_signed() -> None:
    task = task_of(CASES["transfer"])
    call = call_of(task)
    for wrong in ({"amount": "-1"}, {"amount": None}, {"to": "nobody"}, {"token": 7}):
        broken = replace(task, action={**task.action, **wrong})
        payload = built(call).payload()
        mismatch(
            lambda: require_effect(broken, payload, call.sender, CHAIN_ID),  # noqa: B023
            "the step's action can not be read|the plan's",
        )
    undo = task_of(CASES["approve as before"])
    payload, sender = built(call_of(undo)).payload(), call_of(undo).sender
    forgotten = replace(undo, forward=None)
    mismatch(lambda: require_effect(forgotten, payload, sender, CHAIN_ID), "can not be read")
