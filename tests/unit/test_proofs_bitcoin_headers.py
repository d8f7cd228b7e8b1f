"""Header runs under a verifier's policy, and the runs that are refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofs.bitcoin_headers import (
    MAX_HEADERS,
    NETWORKS,
    Policy,
    bits_of,
    parse_header,
    read_policy,
    target_of,
    verify_run,
    work_of,
)
from proofs.bitcoin_tx import sha256d, shown
from proofs.errors import Refused
from tests.unit.bitcoin_blocks import MAINNET, REGTEST, VECTORS, mined, vector

TABLE = json.loads((VECTORS / "mainnet-headers.json").read_text())
FIRST = [bytes.fromhex(header) for header in TABLE["genesis_on"]]
RETARGET = [bytes.fromhex(header) for header in TABLE["retarget_32255_32256"]]
GENESIS = "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f"


def policy(raws: list[bytes], height: int = 0, *, chain: str = MAINNET, at: int = 0) -> Policy:
    return Policy(chain, NETWORKS[chain], 0, 1, {shown(sha256d(raws[at])): height + at})


def check(raws: list[bytes], at: int, trusted: Policy) -> str:
    with pytest.raises(Refused) as error:
        verify_run(raws, at, trusted)
    return error.value.check


def regtest_run(count: int, bits: int = 0x207FFFFF, root: bytes = b"\x05" * 32) -> list[bytes]:
    raws = [mined(bytes(32), root, bits)]
    while len(raws) < count:
        raws.append(mined(sha256d(raws[-1]), root, bits, time_s=len(raws)))
    return raws


def test_the_first_blocks_are_a_run_from_the_genesis_block() -> None:
    run = verify_run(FIRST, 1, Policy(MAINNET, NETWORKS[MAINNET], 3 * 4295032833, 3, {GENESIS: 0}))

    assert (run.height, run.confirmations, run.work) == (1, 3, 3 * 4295032833)
    assert run.anchor == GENESIS
    assert not run.pinned
    assert shown(run.block.hash).startswith("00000000839a8e68")


def test_the_first_change_of_the_target_is_accepted_at_its_boundary_only() -> None:
    run = verify_run(RETARGET, 0, policy(RETARGET, 32255))
    assert (run.block.bits, run.tip.bits) == (0x1D00FFFF, 0x1D00D86A)

    assert check(RETARGET, 0, policy(RETARGET, 32254)) == "header-difficulty"


def test_work_agrees_with_the_published_difficulty_of_block_100000() -> None:
    header = parse_header(vector("mainnet-100000").headers[0])

    assert header.bits == 0x1B04864C
    difficulty_one = work_of(NETWORKS[MAINNET].pow_limit >> 208 << 208)
    assert difficulty_one == 4295032833
    assert work_of(header.target) / difficulty_one == pytest.approx(14484.1623612254, abs=1e-6)


@pytest.mark.parametrize(
    ("bits", "target"),
    [
        (0x1D00FFFF, 0xFFFF << 208),
        (0x207FFFFF, 0x7FFFFF << 232),
        (0x1E0377AE, 0x377AE << 216),
        (0x03123456, 0x123456),
        (0x02123400, 0x1234),
        (0x01120000, 0x12),
        (0x2200FFFF, None),
        (0x2100FFFF, 0xFFFF << 240),
    ],
)
def test_compact_targets_have_known_values(bits: int, target: int | None) -> None:
    if target is None:
        with pytest.raises(Refused, match="header-bits"):
            target_of(bits)
    else:
        assert target_of(bits) == target
        assert bits_of(target) == bits


@pytest.mark.parametrize(
    "bits",
    [
        0x1D80FFFF,  # negative
        0x04923456,  # negative in Core's own tests
        0x00000000,
        0x01003456,  # zero
        0x1D000000,
        0xFF123456,  # beyond 256 bits
        0x21010000,
        0x23000001,
        0x1E0000FF,  # longer than need be
        0x05009234 + 0x01000000 * 0x20,
    ],
)
def test_negative_zero_overflowing_and_long_targets_are_refused(bits: int) -> None:
    with pytest.raises(Refused, match="header-bits"):
        target_of(bits)


def test_each_fault_of_a_target_is_named() -> None:
    for bits, why in [(0x1D80FFFF, "negative"), (0, "zero"), (0x1E0000FF, "shortest")]:
        with pytest.raises(Refused, match=why):
            target_of(bits)


@given(st.integers(1, (1 << 256) - 1))
def test_a_compact_target_is_the_largest_one_below(target: int) -> None:
    shortened = target_of(bits_of(target))

    assert shortened <= target
    assert target - shortened < max(1, target >> 15)


@given(st.integers(0, 2**32 - 1))
def test_any_bits_are_a_target_or_refused(bits: int) -> None:
    try:
        target = target_of(bits)
    except Refused:
        return
    assert 0 < target < 1 << 256


def test_a_gap_is_refused() -> None:
    assert check([FIRST[0], FIRST[2]], 0, policy(FIRST)) == "header-link"
    assert check([FIRST[0], FIRST[2], FIRST[1]], 0, policy(FIRST)) == "header-link"
    assert check([FIRST[0], FIRST[0]], 0, policy(FIRST)) == "header-link"


def test_an_edited_nonce_is_refused() -> None:
    edited = [FIRST[0], FIRST[1][:-1] + b"\x9a", *FIRST[2:]]

    assert check(edited, 1, policy(FIRST)) == "header-work"


def test_a_run_without_a_known_block_is_refused() -> None:
    stranger = Policy(MAINNET, NETWORKS[MAINNET], 0, 1, {"00" * 32: 0})

    assert check(FIRST, 0, stranger) == "anchor-missing"


def test_known_blocks_that_contradict_each_other_are_refused() -> None:
    anchors = {shown(sha256d(FIRST[0])): 0, shown(sha256d(FIRST[2])): 3}

    assert check(FIRST, 0, Policy(MAINNET, NETWORKS[MAINNET], 0, 1, anchors)) == "anchor-height"
    late = Policy(MAINNET, NETWORKS[MAINNET], 0, 1, {shown(sha256d(FIRST[2])): 1})
    assert check(FIRST, 0, late) == "anchor-height"


def test_too_few_confirmations_are_refused() -> None:
    six = Policy(MAINNET, NETWORKS[MAINNET], 0, 4, {GENESIS: 0})

    assert check(FIRST, 1, six) == "confirmations"
    assert verify_run(FIRST, 0, six).confirmations == 4


def test_too_little_work_is_refused_and_headers_before_the_block_do_not_count() -> None:
    three = Policy(MAINNET, NETWORKS[MAINNET], 3 * 4295032833, 1, {GENESIS: 0})

    assert verify_run(FIRST, 1, three).work == 3 * 4295032833
    assert check(FIRST, 2, three) == "min-work"


def test_headers_of_another_network_are_refused() -> None:
    easy = regtest_run(3)

    verify_run(easy, 0, policy(easy, 100, chain=REGTEST))
    assert check(easy, 0, policy(easy, 100)) == "header-limit"


def test_a_target_that_changes_is_refused_where_it_may_not() -> None:
    run = regtest_run(2)
    harder = [*run, mined(sha256d(run[-1]), bytes(32), 0x203FFFFF)]

    assert check(harder, 0, policy(harder, 2014, chain=REGTEST)) == "header-difficulty"


def test_a_target_may_not_change_more_than_fourfold_at_a_boundary() -> None:
    network = NETWORKS[REGTEST].__class__((1 << 255) - 1, "retarget", 1)
    for bits, accepted in [(0x203FFFFF, True), (0x201FFFFF, True), (0x200FFFFF, False)]:
        for pair in ((0x207FFFFF, bits), (bits, 0x207FFFFF)):
            first = mined(bytes(32), bytes(32), pair[0])
            run = [first, mined(sha256d(first), bytes(32), pair[1])]
            trusted = Policy(REGTEST, network, 0, 1, {shown(sha256d(first)): 2015})
            # 0x7fffff is 3 more than four times 0x1fffff: easing is bounded exactly.
            if accepted and not (bits == 0x201FFFFF and pair[0] == bits):
                assert verify_run(run, 0, trusted).height == 2015
            else:
                assert check(run, 0, trusted) == "header-difficulty"


@pytest.mark.parametrize(("count", "at"), [(0, 0), (2, 2), (2, -1), (MAX_HEADERS + 1, 0)])
def test_a_run_of_another_length_is_refused_before_it_is_read(count: int, at: int) -> None:
    assert check([b""] * count, at, policy(FIRST)) == "header-count"


def test_a_header_of_another_length_is_refused() -> None:
    assert check([FIRST[0][:-1]], 0, policy(FIRST)) == "header-form"


def test_a_policy_is_read_from_a_trust_file() -> None:
    table: dict[str, Any] = {
        "chain": MAINNET,
        "min_work": "0",
        "confirmations": 6,
        "anchors": {GENESIS: 0},
    }
    read = read_policy(table)
    assert (read.confirmations, read.anchors, read.network) == (6, {GENESIS: 0}, NETWORKS[MAINNET])

    changes: list[dict[str, Any]] = [
        {"chain": "eip155:1"},
        {"min_work": 0},
        {"min_work": "-1"},
        {"min_work": "٣"},
        {"min_work": "9" * 79},
        {"confirmations": -1},
        {"anchors": {}},
        {"anchors": [GENESIS]},
        {"anchors": {GENESIS.upper(): 0}},
        {"anchors": {GENESIS: "0"}},
        {"pow_limit": 1},
    ]
    for change in changes:
        with pytest.raises(Refused, match="policy-form"):
            read_policy(table | change)
