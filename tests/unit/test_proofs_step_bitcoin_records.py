"""No change of a Bitcoin proof passes, no other step's does, and records are read strictly."""

from __future__ import annotations

import copy
import random
from dataclasses import replace
from typing import Any

import pytest

from proofs.errors import Refused
from proofs.step_bitcoin_context import context_of
from tests.unit.bitcoin_step_outcomes import GOOD
from tests.unit.bitcoin_step_scene import (
    COIN,
    HEIGHT,
    OTHER,
    bodies_of,
    burnt,
    payment,
    redeemed,
    returned,
)
from tests.unit.fuzzing import fuzz

# ------------------------------------------------------------ any change at all


def parts_of(form: dict[str, Any]) -> list[tuple[str, int | None]]:
    """Every hex text of a proof: its key, and its place where it is in a list."""
    found: list[tuple[str, int | None]] = []
    for key, value in form.items():
        if key in {"kind", "chain"}:
            continue
        if isinstance(value, str):
            found.append((key, None))
        elif isinstance(value, list):
            found += [(key, n) for n in range(len(value))]
    return found


@pytest.mark.parametrize("name", ["transfer", "redemption", "refund", "burnt hold"])
def test_no_byte_of_a_proof_can_be_changed(name: str) -> None:
    good, _ = GOOD[name]
    [form] = good.proofs
    # Regtest's headers cost nothing: who knows the last one of a run knows all of them.
    tip = good.check().spv.tip
    good = replace(good, policy=replace(good.policy, anchors={tip: HEIGHT + 1}))
    assert good.check().spv.tip == tip
    changes = 0
    for key, place in parts_of(form):
        text = form[key] if place is None else form[key][place]
        for at in range(0, len(text), 2):
            wrong = copy.deepcopy(form)
            byte = int(text[at : at + 2], 16) ^ (1 << at // 2 % 8)
            edited = f"{text[:at]}{byte:02x}{text[at + 2 :]}"
            if place is None:
                wrong[key] = edited
            else:
                wrong[key][place] = edited
            with pytest.raises(Refused):
                good.check(proofs=[wrong])
            changes += 1
    assert changes > 400


@pytest.mark.parametrize("name", ["transfer", "redemption"])
def test_no_element_of_a_proof_can_be_dropped_repeated_or_moved(name: str) -> None:
    good, _ = GOOD[name]
    [form] = good.proofs
    for key, value in form.items():
        wrongs: list[Any] = []
        if isinstance(value, list):
            for n in range(len(value)):
                wrongs.append([*value[:n], *value[n + 1 :]])
                wrongs.append([*value[: n + 1], *value[n:]])
            wrongs.append(value[::-1])
        elif isinstance(value, int):
            wrongs += [value + 1, value - 1, value ^ 2, str(value)]
        for wrong in wrongs:
            if wrong != value:
                # A shorter run is no lie, but not as deep as the plan asks.
                assert good.refused(proofs=[form | {key: wrong}])
        assert good.refused(proofs=[{k: v for k, v in form.items() if k != key}])
    assert good.refused(proofs=[form | {"more": 1}]) == "spv-form"


def test_the_proof_of_one_step_is_none_of_any_other() -> None:
    accepted = []
    for name, (good, _) in GOOD.items():
        for other, (stranger, _) in GOOD.items():
            if stranger.record["tx"] == good.record["tx"]:
                continue
            anchors = {**good.policy.anchors, **stranger.policy.anchors}
            policy = replace(good.policy, anchors=anchors)
            assert good.refused(proofs=stranger.proofs, policy=policy)
            if good.record["outcome"] != "done":
                continue  # whatever consumed the claim shows that the effect can not come
            place = {key: stranger.record[key] for key in ("tx", "block", "height")}
            try:
                good.check(proofs=stranger.proofs, policy=policy, record=good.record | place)
            except Refused:
                continue
            accepted.append((name, other))
    # A split of the same coins brings everything home, as a consolidation does.
    assert accepted == [("consolidation", "split")]


# ------------------------------------------------------------ the records


def test_the_context_is_what_the_records_say() -> None:
    for good, words in GOOD.values():
        context = context_of(bodies_of(good), good.record)
        assert context == good.context
        assert words in good.check(context=context).text


def test_a_claim_counts_before_its_outcome_and_in_its_generation() -> None:
    good = payment()
    bodies = bodies_of(good)
    started, intent, outcome = bodies
    assert context_of([started, outcome, intent], good.record).claims == frozenset()

    ended = burnt(gen=2)
    early = bodies_of(ended)
    early[-2]["data"]["gen"] = 1
    assert context_of(early, ended.record).claims == frozenset()
    done = replace(ended, record=ended.record | {"outcome": "done"})
    early[-1]["kind"] = "done"  # an effect counts whichever generation's claim it spends
    assert context_of(early, done.record).claims == frozenset({COIN})


def test_claims_of_other_steps_and_directions_do_not_count() -> None:
    good = returned()
    bodies = bodies_of(good)
    for change in ({"step": "another"}, {"dir": "forward"}):
        other = copy.deepcopy(bodies)
        other[-2]["data"] |= change
        assert context_of(other, good.record).claims == frozenset()


def test_the_newest_forward_and_the_newest_cap_count() -> None:
    good = returned()
    bodies = bodies_of(good)
    again = copy.deepcopy(bodies[1])
    again["data"]["facts"] = {"outpoint": OTHER}
    caps = [
        {
            "kind": "verdict",
            "data": {"step": step, "verdict": verdict, "args": {"pct": str(pct)}},
        }
        for step, verdict, pct in (
            ("step", "cap", 150), ("step", "cap", 300), ("other", "cap", 900), ("step", "burn", 7),
        )
    ]  # fmt: skip
    context = context_of([*bodies[:2], again, *caps, *bodies[2:]], good.record)
    assert context.forward == {"outpoint": OTHER}
    assert context.cap_pct == 300


def test_records_that_name_no_such_outcome_or_two_hashlocks_are_refused() -> None:
    good = redeemed()
    bodies = bodies_of(good)

    def refusal(records: Any, proved: Any) -> str:
        with pytest.raises(Refused) as error:
            context_of(records, proved)
        return error.value.check

    for key in ("tx", "block", "height", "gen", "dir", "step"):
        assert refusal(bodies, good.record | {key: "another"}) == "step-records"
    assert refusal(bodies, good.record | {"outcome": "not_done"}) == "step-records"
    assert refusal(bodies[1:], good.record) == "step-records"
    two = copy.deepcopy(bodies)
    two[1]["data"]["facts"]["hashlock"] = "33" * 32
    assert refusal(two, good.record) == "step-records"
    wrong: Any
    for wrong in ([{}], [None], [{"kind": "started", "data": None}], [{"kind": "done"}]):
        assert refusal(wrong, good.record) == "step-records"
    assert refusal(bodies, {}) == "step-records"


ODD: tuple[Any, ...] = (
    None,
    True,
    -1,
    2**53,
    10**30,
    1.5,
    "",
    "0",
    "x" * 99,
    "é",
    "ab" * 32,
    [],
    [[]],
    {},
    {"": 0},
)


def test_nothing_that_is_read_ends_in_another_error() -> None:
    cases = [good for good, _ in GOOD.values()]

    def attempt(chance: random.Random) -> object:
        good = copy.deepcopy(chance.choice(cases))
        bodies = bodies_of(good)
        for _ in range(chance.randint(1, 3)):
            damage(chance.choice([good.step, good.terms, good.record, good.proofs, bodies]), chance)
        return good.check(context=context_of(bodies, good.record))

    fuzz("test_nothing_that_is_read_ends_in_another_error", attempt)


def damage(at: Any, chance: random.Random) -> None:
    """Replace or drop one thing somewhere inside."""
    while at:
        key = chance.choice(list(at) if isinstance(at, dict) else range(len(at)))
        if isinstance(at[key], dict | list) and chance.random() < 0.85:
            at = at[key]
        elif chance.random() < 0.15:
            del at[key]
            return
        else:
            at[key] = copy.deepcopy(chance.choice(ODD))
            return
