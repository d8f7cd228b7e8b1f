"""Binding of storage and ancestor proofs to a step, and hostile input: only refusals come."""

import copy
import random
from dataclasses import replace
from typing import Any

import pytest

from proofs import canonical
from proofs.errors import Refused
from proofs.evm_storage import LAYOUTS
from proofs.step_evm import check_step
from tests.unit.evm_step_scene import (
    CASES,
    CONTEXT,
    OTHER,
    Given,
    action_of,
    burn,
    refusal_of,
    sent,
    state_at,
    text,
)
from tests.unit.fuzzing import damaged, fuzz

_STATUS = {"forward": 1, "confirm": 2, "undo": 3}
_WORDS = ("unused", "open", "released", "refunded", "cancelled")
_OPERATIONS = [f"{kind}, {end}" for kind in ("lock", "hold", "mint") for end in _STATUS]


def with_state(name: str, status: int, *, terms: bool = False, **state: Any) -> Given:
    """A case with the operation's state at the end of the same block."""
    case = CASES[name]
    block, storage, _ = state_at(case.action, status, terms=terms, **state)
    root = {"stateRoot": block["stateRoot"]}
    return sent(case.action, case.direction, case.logs, header=root, more=[storage])


def with_later_state(
    name: str, status: int = 1, *, height: int = 108, tied: bool = True, ancestor: str = ""
) -> Given:
    """A case with the state of a later block, and the proof that ties the two."""
    case = CASES[name]
    receipt = case.given()
    place = (receipt.record["height"], ancestor or receipt.record["block"])
    _, storage, tie = state_at(case.action, status, ancestor=place, number=hex(height))
    proofs = [receipt.proofs[0], storage, *([tie] if tied and tie is not None else [])]
    record = {**receipt.record, "evidence": [{"kind": proof["kind"]} for proof in proofs]}
    return replace(receipt, proofs=proofs, record=record)


# ---------------------------------------------------------------- the state


@pytest.mark.parametrize("shown_terms", ["head", "head and terms"])
@pytest.mark.parametrize("name", _OPERATIONS)
def test_the_state_at_the_end_of_the_block_is_shown_beside_the_event(
    name: str, shown_terms: str
) -> None:
    status = _STATUS[CASES[name].direction]
    given = with_state(name, status, terms=shown_terms == "head and terms")
    shown = given.check()

    assert shown.state == _WORDS[status]
    assert [f"0x{block.hash}" for block in shown.blocks] == [given.record["block"]]
    assert shown.text.endswith(f"its state there: {_WORDS[status]}")


@pytest.mark.parametrize("name", _OPERATIONS)
@pytest.mark.parametrize("status", range(5))
def test_a_state_that_does_not_fit_the_effect_is_refused(name: str, status: int) -> None:
    direction = CASES[name].direction
    # What was opened may have been settled in the same block, or before its state was read.
    fits = {"forward": {1, 2, 3}, "confirm": {2}, "undo": {3}}[direction]

    assert refusal_of(with_state(name, status)) == (None if status in fits else "step-state")


@pytest.mark.parametrize("kind", ["lock", "hold", "mint"])
@pytest.mark.parametrize("direction", list(_STATUS))
@pytest.mark.parametrize("status", range(5))
def test_a_state_that_shows_the_effect_contradicts_that_it_was_not_done(
    kind: str, direction: str, status: int
) -> None:
    action = action_of(kind)
    block, storage, _ = state_at(action, status)
    root = {"stateRoot": block["stateRoot"]}
    own: dict[str, Any] = {"to": action["account"], "value": 0, "data": "0x"}
    given = sent(action, direction, (), outcome="not_done", header=root, more=[storage], **own)

    made = {"forward": {1, 2, 3}, "confirm": {2}, "undo": {3}}[direction]
    assert refusal_of(given) == ("step-state" if status in made else None)


@pytest.mark.parametrize("kind", ["lock", "mint"])
def test_an_id_opened_with_other_terms_is_not_done_if_the_terms_show_it(kind: str) -> None:
    action = action_of(kind)
    own: dict[str, Any] = {"to": action["account"], "value": 0, "data": "0x"}
    checks = {}
    for terms in (True, False):
        block, storage, _ = state_at(action, 1, amount=7, terms=terms)
        root = {"stateRoot": block["stateRoot"]}
        given = sent(action, "forward", (), outcome="not_done", header=root, more=[storage], **own)
        checks[terms] = refusal_of(given)

    assert checks == {True: None, False: "step-state"}


def test_storage_of_another_operation_group_contract_code_or_amount_is_refused() -> None:
    other_action = action_of("lock", contract=text(OTHER))
    code = bytes(reversed(next(iter(LAYOUTS))))
    lock = CASES["lock, forward"]
    block, elsewhere, _ = state_at(other_action, 1)
    moved = sent(
        lock.action,
        "forward",
        lock.logs,
        header={"stateRoot": block["stateRoot"]},
        more=[elsewhere],
    )
    unpinned = {"action": {**lock.action, "code": {}}}
    repinned = {"action": {**lock.action, "code": {lock.action["contract"]: f"0x{code.hex()}"}}}
    good = with_state("lock, forward", 1)

    assert refusal_of(with_state("lock, forward", 1, op_id="45" * 32)) == "step-state"
    assert refusal_of(with_state("lock, forward", 1, group=OTHER)) == "step-state"
    assert refusal_of(with_state("lock, forward", 1, terms=True, amount=7)) == "step-state"
    assert refusal_of(moved) == "step-state"
    assert refusal_of(good, step=unpinned) == "step-state"
    assert refusal_of(good, step=repinned) == "step-state"
    assert refusal_of(with_state("lock, forward", 1, code=code)) == "evm-code"
    assert refusal_of(good) is None


def test_storage_of_an_operation_of_another_kind_is_refused() -> None:
    # The hold's head under the lock's id: written by no contract of ours, refused all the same.
    lock = CASES["lock, forward"]
    block, storage, _ = state_at(action_of("hold"), 1)
    given = sent(
        lock.action, "forward", lock.logs, header={"stateRoot": block["stateRoot"]}, more=[storage]
    )

    assert refusal_of(given) == "step-state"


# ---------------------------------------------------------------- two blocks


def test_a_later_state_is_tied_to_the_block_by_the_chains_own_history() -> None:
    given = with_later_state("lock, forward", 2)
    shown = given.check()

    (block,) = shown.blocks
    assert (block.height, f"0x{block.hash}" != given.record["block"]) == (108, True)
    assert (shown.state, shown.text.endswith("its state in block 108: released")) == (
        "released",
        True,
    )


def test_without_a_tie_both_blocks_have_to_be_trusted() -> None:
    given = with_later_state("lock, forward", tied=False)

    assert [block.height for block in given.check().blocks] == [100, 108]


def test_a_tie_to_another_block_is_refused() -> None:
    other_hash = with_later_state("lock, forward", ancestor="0x" + "11" * 32)
    one, two = (with_later_state("lock, forward", height=height) for height in (108, 109))
    mixed = [*one.proofs[:2], two.proofs[2]]
    case = CASES["lock, forward"]
    receipt = case.given()
    _, storage, tie = state_at(
        case.action, 1, ancestor=(99, receipt.record["block"]), number=hex(108)
    )

    assert refusal_of(other_hash) == "step-ancestor"
    assert refusal_of(one) is None
    assert refusal_of(one, proofs=mixed) == "step-ancestor"
    assert refusal_of(one, proofs=[one.proofs[0], storage, tie]) == "step-ancestor"
    renamed = [*one.proofs[:2], {**one.proofs[2], "chain": "eip155:1"}]
    assert refusal_of(one, proofs=renamed) == "step-chain"
    renamed = [one.proofs[0], {**one.proofs[1], "chain": "eip155:1"}, one.proofs[2]]
    assert refusal_of(one, proofs=renamed) == "step-chain"


def test_a_state_from_before_the_effect_is_refused() -> None:
    for height in (99, 100):
        case = CASES["lock, forward"]
        receipt = case.given()
        _, storage, _ = state_at(case.action, 1, number=hex(height))
        proofs = [*receipt.proofs, storage]
        record = {**receipt.record, "evidence": [{"kind": each["kind"]} for each in proofs]}
        assert refusal_of(receipt, proofs=proofs, record=record) == "step-state"


def test_a_tie_within_one_block_is_surplus() -> None:
    case = CASES["lock, forward"]
    block, storage, tie = state_at(case.action, 1, ancestor=(99, "0x" + "11" * 32))
    assert tie is not None
    root = {"stateRoot": block["stateRoot"]}
    given = sent(case.action, "forward", case.logs, header=root, more=[storage, tie])

    assert refusal_of(given) == "step-kinds"


# ---------------------------------------------------------------- hostile input


@pytest.fixture(scope="module")
def tied() -> Given:
    return with_later_state("hold, forward")


def test_every_flipped_digit_of_a_proof_is_refused(tied: Given) -> None:
    for at, proof in enumerate(tied.proofs):
        for path, value in _texts(proof):
            # Every digit of short texts, some of long ones.
            step = max(1, len(value) // 40)
            for digit in range(0, len(value), step):
                other = "0" if value[digit] != "0" else "1"
                changed = copy.deepcopy(tied.proofs)
                _put(changed[at], path, value[:digit] + other + value[digit + 1 :])
                assert refusal_of(tied, proofs=changed) is not None, (at, path, digit)


def test_every_dropped_repeated_or_reordered_node_is_refused(tied: Given) -> None:
    for at, proof in enumerate(tied.proofs):
        for name, value in proof.items():
            paths = [value] if isinstance(value, list) and name != "terms" else []
            for path in paths:
                changes = [path[:-1], path[1:], [*path, path[-1]], [path[0], *path], path[::-1]]
                for change in changes:
                    if change == path:
                        continue
                    changed = copy.deepcopy(tied.proofs)
                    changed[at][name] = change
                    assert refusal_of(tied, proofs=changed) is not None, (at, name)


def test_any_damage_to_the_bytes_of_the_evidence_is_refused(tied: Given) -> None:
    bodies = [canonical.encode(proof) for proof in tied.proofs]

    def attempt(chance: random.Random) -> None:
        at = chance.randrange(len(bodies))
        raw = damaged(bodies[at], chance)
        proofs = list(tied.proofs)
        proofs[at] = canonical.parse(raw)
        if raw != bodies[at]:
            with pytest.raises(Refused):
                tied.check(proofs=proofs)

    fuzz("test_any_damage_to_the_bytes_of_the_evidence_is_refused", attempt)


def test_whatever_a_plan_a_record_or_a_context_holds_only_refusals_come() -> None:
    """No claim is made of the verdict here: only that no other error ever leaves."""
    cases = [case.given() for case in CASES.values()] + [burn(action_of("lock"), "forward")]
    odd: list[Any] = [
        None, True, 0, -1, 2**60, 1.5, "", "0x", "@saga.id32", "0x" + "11" * 20, [], [[]], {},
        {"a": 1}, "(" * 900, "uint256" + "[]" * 500, ["@saga.id32"] * 3, "\ud800", b"x",
    ]  # fmt: skip

    def attempt(chance: random.Random) -> None:
        given = chance.choice(cases)
        whole: dict[str, Any] = {
            "step": {"action": copy.deepcopy(given.action)},
            "terms": copy.deepcopy(given.terms),
            "direction": chance.choice((given.direction, given.direction, "undo", None)),
            "op_id": given.op_id,
            "saga_id32": given.saga,
            "record": copy.deepcopy(given.record),
            "proofs": given.proofs,
        }
        for _ in range(chance.randint(1, 3)):
            _spoil(whole, chance, odd)
        context = CONTEXT
        if chance.random() < 0.3:
            name = chance.choice(("expiry", "forward", "hashlock", "claims"))
            values = [[], [[]], [7, None, ["x", 1], ("0x", 0)]] if name == "claims" else odd
            context = replace(CONTEXT, **{name: chance.choice(values)})
        check_step(context=context, **whole)

    fuzz("test_whatever_a_plan_a_record_or_a_context_holds_only_refusals_come", attempt)


def _spoil(whole: Any, chance: random.Random, odd: list[Any]) -> None:
    """Put something odd at a random place."""
    at = whole
    while True:
        keys: list[Any] = list(at) if isinstance(at, dict) else list(range(len(at)))
        if not keys:
            return
        key = chance.choice(keys)
        if isinstance(at[key], (dict, list)) and at[key] and chance.random() < 0.7:
            inner = copy.copy(at[key])
            at[key] = inner
            at = inner
            continue
        at[key] = chance.choice(odd)
        return


def _texts(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[tuple[Any, ...], str]]:
    if isinstance(value, str):
        return [(path, value)]
    if not isinstance(value, (dict, list)):
        return []
    items = value.items() if isinstance(value, dict) else enumerate(value)
    return [found for key, item in items for found in _texts(item, (*path, key))]


def _put(value: Any, path: tuple[Any, ...], text: str) -> None:
    for key in path[:-1]:
        value = value[key]
    value[path[-1]] = text


def test_evidence_of_one_operation_is_refused_for_another(tied: Given) -> None:
    other = with_later_state("lock, forward")

    assert refusal_of(tied, op_id="45" * 32) == "step-effect"
    mixed = [tied.proofs[0], *other.proofs[1:]]
    assert refusal_of(tied, proofs=mixed) == "step-state"
