"""No damage to a bundle, however small or large, ever verifies or ends in an error of its own."""

import copy
import json
import random
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proofs import canonical
from proofs.bundle import verify_bundle
from proofs.bundle_form import read_bundle
from proofs.bundle_parts import expanded, gathered
from proofs.errors import CanonicalError, Refused
from proofs.trust import Trust, read_trust
from tests.unit.bundle_scene import Story, committed, lock_of, rolled_back
from tests.unit.fuzzing import damaged, fuzz, ways_into

STORIES = {"committed": committed, "rolled back": rolled_back}
QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@cache
def made(name: str) -> tuple[bytes, Trust]:
    story = STORIES[name]()
    return story.bundle(), read_trust(json.dumps(story.trust()).encode())


def survives(raw: bytes, trust: Trust) -> bool:
    """Whether it is still valid; a verifier that fails by itself is an error here."""
    report = verify_bundle(raw, trust)
    assert all(check.name != "form.internal" for check in report.checks), report.checks
    return report.verdict == "valid"


@QUICK
@given(st.sampled_from(sorted(STORIES)), st.data())
def test_a_flipped_byte_anywhere_is_never_valid(name: str, data: st.DataObject) -> None:
    raw, trust = made(name)
    at = data.draw(st.integers(0, len(raw) - 1))
    bit = data.draw(st.integers(0, 7))
    other = bytearray(raw)
    other[at] ^= 1 << bit

    assert not survives(bytes(other), trust)


@pytest.mark.parametrize("name", sorted(STORIES))
@pytest.mark.parametrize("member", ["records", "parts", "signatures", "nodes", "positions"])
def test_nothing_in_a_list_can_be_dropped_repeated_or_moved(name: str, member: str) -> None:
    raw, trust = made(name)

    def place(form: Any) -> list[Any]:
        listed: list[Any] = form["log"][member] if member in form["log"] else form[member]
        return listed

    count = len(place(json.loads(raw)))
    for at in range(count):
        for change in ("drop", "repeat", "move"):
            form = json.loads(raw)
            listed = place(form)
            if change == "drop":
                del listed[at]
            elif change == "repeat":
                listed.insert(at, listed[at])
            elif at + 1 < count:
                listed.insert(at, listed.pop(at + 1))
            else:
                continue
            assert not survives(canonical.encode(form), trust), (change, at)


@pytest.mark.parametrize("name", sorted(STORIES))
def test_no_proof_can_be_dropped_renamed_or_exchanged(name: str) -> None:
    raw, trust = made(name)
    names = sorted(json.loads(raw)["evidence"])
    for at, digest in enumerate(names):
        for change in ("drop", "rename", "exchange"):
            form = json.loads(raw)
            proofs = form["evidence"]
            if change == "exchange":
                other = names[at - 1]
                proofs[digest], proofs[other] = proofs[other], proofs[digest]
            else:
                proof = proofs.pop(digest)
                if change == "rename":
                    proofs["00" * 32] = proof
            assert not survives(canonical.encode(form), trust), (change, at)


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 2**53 - 1), st.just(""), st.just([]), st.just({}),
    st.text(max_size=6), st.sampled_from(["@0", "@99999", "00" * 32, "AAAA", "committed"]),
)  # fmt: skip


@QUICK
@given(st.sampled_from(sorted(STORIES)), VALUES, st.data())
def test_no_member_can_have_another_value(name: str, value: Any, data: st.DataObject) -> None:
    raw, trust = made(name)
    form = json.loads(raw)
    *way, last = data.draw(st.sampled_from(ways_into(form)))
    place = form
    for key in way:
        place = place[key]
    if place[last] == value and type(place[last]) is type(value):
        return
    place[last] = value
    try:
        other = canonical.encode(form)
    except CanonicalError:
        return  # it has no canonical form to be refused in

    assert not survives(other, trust), (way, last, value)


@QUICK
@given(st.sampled_from(sorted(STORIES)), st.data())
def test_no_member_can_be_left_out_or_added(name: str, data: st.DataObject) -> None:
    raw, trust = made(name)
    form = json.loads(raw)
    way = data.draw(st.sampled_from(ways_into(form)))
    place = form
    for key in way[:-1]:
        place = place[key]
    if isinstance(place, dict) and data.draw(st.booleans()):
        place["zz"] = 1
    else:
        del place[way[-1]]

    assert not survives(canonical.encode(form), trust), way


@cache
def small() -> tuple[bytes, Trust]:
    """A saga of one step that has not ended, so that ten thousand cases are quick."""
    story = Story(lock_of(participants={}))
    story.lock["steps"], story.lock["confirm_order"] = story.lock["steps"][:1], ["lock"]
    story.start()
    where: dict[str, Any] = {"tx": f"0x{'ab' * 32}", "block": f"0x{'cd' * 32}", "height": 51}
    story.intent("lock", "forward", where["tx"], [["0xOurs", 1]])
    story.outcome("lock", "forward", where, ())
    return story.bundle(), read_trust(json.dumps(story.trust()).encode())


def test_damaged_bundles_end_in_our_errors_only() -> None:
    raw, trust = small()

    def attempt(chance: random.Random) -> object:
        return survives(damaged(raw, chance), trust)

    fuzz("test_damaged_bundles_end_in_our_errors_only", attempt)


@pytest.mark.timeout(300)  # 30 s of one core
def test_bundles_of_damaged_members_end_in_our_errors_only() -> None:
    """Damage behind the first line of defence: canonical JSON with members of other values."""
    raw, trust = small()
    ways = ways_into(json.loads(raw))
    values: list[Any] = [
        None, True, 0, -1, 2**53 - 1, "", "x", "@0", [], {}, [[]], {"a": {}}, "00" * 32, "\x00",
    ]  # fmt: skip

    def attempt(chance: random.Random) -> object:
        form = json.loads(raw)
        for _ in range(chance.randint(1, 3)):
            *way, last = chance.choice(ways)
            place = form
            try:
                for key in way:
                    place = place[key]
                place[last] = copy.copy(chance.choice(values))
            except (KeyError, IndexError, TypeError):
                continue  # an earlier change took the place away
        return survives(canonical.encode(form), trust)

    fuzz("test_bundles_of_damaged_members_end_in_our_errors_only", attempt)


HEX = st.integers(0, 6).flatmap(lambda n: st.binary(min_size=n * 9, max_size=n * 9)).map(bytes.hex)
FORMS = st.dictionaries(
    st.sampled_from("abcd"), st.one_of(HEX, st.lists(HEX, max_size=4), st.integers(0, 9)),
    min_size=1,
)  # fmt: skip


@QUICK
@given(st.lists(FORMS, max_size=4))
def test_parts_put_back_give_what_they_were_gathered_from(forms: list[dict[str, Any]]) -> None:
    evidence = {canonical.digest(form): form for form in forms}
    parts, replaced = gathered(evidence)

    assert expanded(parts, replaced) == evidence
    assert len(canonical.encode([parts, replaced])) <= len(canonical.encode([[], evidence]))


@pytest.mark.parametrize(
    ("parts", "form"),
    [
        (["AAAA"], {"a": "@1"}), (["AAAA"], {"a": "@-1"}), (["AAAA"], {"a": "@00"}),
        (["AAAA"], {"a": "@"}), (["AAAA"], {"a": "@٠"}), (["AAAA", "AAAB"], {"a": ["@1", "@0"]}),
        (["AAAA", "AAAA"], {"a": ["@0", "@1"]}), (["AAAA"], {"@0": 1}), (["AAA"], {"a": "@0"}),
        (["AAB="], {"a": "@0"}), (["AA=="], {"a": 1}), ([""], {"a": "@0"}), ([1], {"a": "@0"}),
        (["ΑΑΑΑ"], {"a": "@0"}), (["AA\nAA"], {"a": "@0"}),
    ],
)  # fmt: skip
def test_parts_have_one_form_only(parts: list[Any], form: dict[str, Any]) -> None:
    with pytest.raises(Refused) as error:
        expanded(parts, {"x": form})
    assert error.value.check == "bundle-parts"


def test_reading_is_quick_for_the_largest_file_of_nonsense() -> None:
    raw = b'{"a":"' + b"[" * (8 << 20)
    with pytest.raises(Refused):
        read_bundle(raw)
