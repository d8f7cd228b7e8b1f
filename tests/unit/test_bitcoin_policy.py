"""The last look before a signature on Bitcoin: every output is the declared effect, or ours."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as changed

from adapters.base import Task
from adapters.bitcoin.address import own_address, script_of_key
from adapters.bitcoin.effects import declared_outputs, hold_of
from adapters.bitcoin.networks import NETWORKS
from adapters.bitcoin.policy import require_planned
from adapters.bitcoin.script import refund_witness
from adapters.bitcoin.transactions import Draft, Spend, TxOutput
from adapters.errors import Rejected
from tests.unit.test_bitcoin_settings import NOBODY, PAYEE, SIGNERS, TREASURY, amount, resolve

if TYPE_CHECKING:
    from adapters.base import Purpose

REGTEST = NETWORKS["regtest"]
TERMS = {"network": "regtest", "genesis": REGTEST.genesis}
OWN = script_of_key(SIGNERS["treasury"].public_key)
COLD = script_of_key(SIGNERS["cold"].public_key)
ELSEWHERE = b"\x00\x14" + b"\x09" * 20
HASHLOCK = "66" * 32
SAT = 50_000_000

SPECS: dict[str, tuple[str, dict[str, Any]]] = {
    "transfer": ("transfer", {"amount": amount(), "to": "cold"}),
    "pay": ("pay", {"amount": amount(), "to": NOBODY}),
    "hold": ("hold", {"amount": amount(), "payee": PAYEE, "refund_after_blocks": 10}),
    "split": ("split", {"amount": amount("0.1"), "count": 5}),
    "consolidate": ("consolidate", {}),
}
#: Those that make outputs which a stranger could be given.
PAYING = ["transfer", "pay", "hold", "split"]


def task_of(name: str, direction: Any = "forward", **changes: Any) -> Task:
    action, params = SPECS[name]
    fields: dict[str, Any] = {
        "saga": "saga", "step": "step", "direction": direction, "generation": 1,
        "action": resolve(action, **params).action, "op_id": "44" * 32, "saga_id32": "55" * 32,
        "deadline_s": 0, "expiry": {"height": 210}, "hashlock": HASHLOCK, "terms": TERMS,
    }  # fmt: skip
    return Task(**{**fields, **changes})


def spend(n: int = 1, value_sat: int = 60_000_000, key: str = "treasury") -> Spend:
    public = SIGNERS[key].public_key
    code = b"\x76\xa9" + script_of_key(public)[1:] + b"\x88\xac"
    return Spend(
        f"{n:064x}:{n}", value_sat, code, own_address(public, REGTEST), lambda made: (made, public)
    )


def forward(task: Task, fee_sat: int = 1000) -> Draft:
    """The effect as the adapter builds it: the declared outputs, then change."""
    declared = declared_outputs(task)
    left = 60_000_000 - sum(output.value_sat for output in declared) - fee_sat
    outputs = (*declared, TxOutput(left, OWN))
    return Draft((spend(),), outputs, version=int(task.action.get("version", 2)))


def require(task: Task, draft: Draft, purpose: Purpose = "effect", **more: Any) -> None:
    given = {"network": "regtest", "genesis": REGTEST.genesis, **more}
    spends = given.pop("spends", draft.spends)
    require_planned(task, purpose, draft.unsigned(), spends, **given)


def mismatch(
    task: Task, draft: Draft, words: str, purpose: Purpose = "effect", **more: Any
) -> None:
    with pytest.raises(Rejected, match=words) as caught:
        require(task, draft, purpose, **more)
    assert caught.value.code == "mismatch"
    assert "Nothing was signed and nothing was sent" in str(caught.value)


@pytest.mark.parametrize("name", SPECS)
def test_what_the_plan_says_is_signed(name: str) -> None:
    task = task_of(name)
    require(task, forward(task))
    require(changed(task, terms=None), forward(task))


@pytest.mark.parametrize("name", PAYING)
def test_another_payee_or_amount_is_never_signed(name: str) -> None:
    task = task_of(name)
    draft = forward(task)
    first, *rest = draft.outputs
    words = "output 0 pays"
    for wrong in (replace(first, script=ELSEWHERE), replace(first, value_sat=first.value_sat + 1),
                  replace(first, value_sat=first.value_sat - 1)):  # fmt: skip
        mismatch(task, replace(draft, outputs=(wrong, *rest)), words)
    mismatch(task, replace(draft, outputs=(rest[-1], first, *rest[:-1])), words)
    mismatch(task, replace(draft, outputs=(rest[-1],)), words)


@pytest.mark.parametrize("name", SPECS)
def test_an_output_to_nobody_of_the_plan_is_never_signed(name: str) -> None:
    task = task_of(name)
    draft = forward(task)
    *declared, change = draft.outputs
    mismatch(
        task, replace(draft, outputs=(*declared, replace(change, script=ELSEWHERE))),
        "which is nobody of the plan",
    )  # fmt: skip
    half = replace(change, value_sat=change.value_sat // 2)
    stolen = replace(half, script=ELSEWHERE)
    mismatch(task, replace(draft, outputs=(*declared, half, stolen)), "nobody of the plan")
    if name in PAYING:
        twice = replace(draft, outputs=(*declared, half, half))
        mismatch(task, twice, "2 outputs beside the")


def test_a_hold_is_its_own_script_to_the_last_parameter() -> None:
    task = task_of("hold")
    for other in ({"hashlock": "77" * 32}, {"expiry": {"height": 211}},
                  {"action": {**task.action, "payee": "02" + "11" * 32}},
                  {"action": {**task.action, "payer_key": "02" + "11" * 32}}):  # fmt: skip
        mismatch(task, forward(changed(task, **other)), "output 0 pays")


@pytest.mark.parametrize("name", SPECS)
def test_inputs_are_those_of_the_payer_and_those_that_were_claimed(name: str) -> None:
    task = task_of(name)
    draft = forward(task)
    mismatch(task, draft, "not those that were claimed", spends=(spend(2),))
    mismatch(task, draft, "not those that were claimed", spends=(spend(), spend(2)))
    foreign = replace(draft, spends=(spend(key="cold"),))
    mismatch(task, foreign, f"is no coin of {TREASURY}")
    # A value that is not the coin's makes an invalid signature, and another fee than is looked at.
    mismatch(task, draft, "its fee is", spends=(spend(value_sat=70_000_000),))
    mismatch(task, draft, "its fee is", spends=(spend(value_sat=59_999_000),))


def test_a_payment_spends_just_the_coins_that_the_start_reserved() -> None:
    task = task_of("pay", coins=(spend().outpoint,))
    require(task, forward(task))
    other = changed(task, coins=(spend(2).outpoint,))
    mismatch(other, forward(other), "the coins that the saga's start reserved")


@pytest.mark.parametrize("name", SPECS)
def test_a_fee_beyond_the_cap_is_never_signed(name: str) -> None:
    task = task_of(name)
    cap = int(task.action["fee"]["max_sat_vb"])
    draft = forward(task)
    dear = cap * (draft.vsize + 200) + 1_000
    mismatch(task, forward(task, dear), f"its fee is {dear} satoshi, the cap is")
    require(task, forward(task, cap * draft.vsize))
    # What replaces an attempt that a person allowed more may cost that much.
    require(task, forward(task, dear), recorded_cap_sat=dear)


@pytest.mark.parametrize("name", SPECS)
def test_another_network_lock_time_or_version_is_never_signed(name: str) -> None:
    task = task_of(name)
    draft = forward(task)
    mainnet: dict[str, Any] = {"network": "mainnet", "genesis": NETWORKS["mainnet"].genesis}
    mismatch(changed(task, terms=mainnet), draft, "planned was")
    mismatch(changed(task, terms={**TERMS, "genesis": "00" * 32}), draft, "planned was")
    mismatch(task, draft, "of another network|planned was", **mainnet)
    mismatch(task, replace(draft, locktime=9), "its lock time is 9")
    mismatch(task, replace(draft, version=1), "its version is 1")


def test_an_address_that_is_not_the_script_beside_it_is_never_signed() -> None:
    task = task_of("pay")
    for key in ("script", "source_script"):
        wrong = changed(task, action={**task.action, key: ELSEWHERE.hex()})
        mismatch(wrong, forward(wrong), "is not what its")


@pytest.mark.parametrize("name", ["transfer", "pay", "hold", "split"])
def test_a_burn_brings_everything_home_and_may_cost_anything(name: str) -> None:
    task = task_of(name)
    home = Draft((spend(),), (TxOutput(1_000, OWN),))
    require(task, home, "burn")
    away = replace(home, outputs=(TxOutput(1_000, ELSEWHERE),))
    mismatch(task, away, "nobody of the plan", "burn")
    mismatch(task, forward(task) if name != "split" else away, "nobody of the plan", "burn")


def test_the_return_of_a_transfer_goes_to_its_source_at_any_fee() -> None:
    task = task_of("transfer", "undo", forward={"outpoint": "x", "value_sat": str(SAT)})
    back = Draft((spend(key="cold"),), (TxOutput(1_000, OWN),))
    require(task, back)
    require(task, replace(back, outputs=(*back.outputs, TxOutput(500, COLD))))
    for wrong, words in (
        ((TxOutput(1_000, ELSEWHERE),), "nobody of the plan"),
        ((TxOutput(1_000, COLD),), "1 outputs beside the 0"),
        ((*back.outputs, TxOutput(1, ELSEWHERE)), "nobody of the plan"),
    ):
        mismatch(task, replace(back, outputs=wrong), words)


def test_a_refund_goes_home_when_its_height_has_come() -> None:
    task = task_of("hold", "undo")
    script = hold_of(task).witness_script()
    lock = Spend(f"{7:064x}:0", SAT, script, TREASURY, lambda made: refund_witness(made, script))
    refund = Draft((lock,), (TxOutput(1_000, OWN),), 210)
    require(task, refund)
    mismatch(task, replace(refund, locktime=0), "its lock time is 0, the plan's is 210")
    mismatch(task, replace(refund, outputs=(TxOutput(1_000, ELSEWHERE),)), "nobody of the plan")


@given(at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_one_flipped_bit_of_the_bytes_is_refused(at: int, bit: int) -> None:
    task = task_of("pay")
    draft = forward(task)
    unsigned = bytearray(draft.unsigned())
    place = at % len(unsigned)
    unsigned[place] ^= 1 << bit
    change = draft.outputs[-1].value_sat.to_bytes(8, "little")
    if place in range(at_of(draft, change), at_of(draft, change) + 3):
        return  # the change's lowest bytes are the fee, within its cap
    with pytest.raises(Rejected, match="is not what the saga's first record says"):
        require_planned(
            task, "effect", bytes(unsigned), draft.spends,
            network="regtest", genesis=REGTEST.genesis,
        )  # fmt: skip


def at_of(draft: Draft, part: bytes) -> int:
    return draft.unsigned().index(part)
