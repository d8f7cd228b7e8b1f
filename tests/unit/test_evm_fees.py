"""Prices: what an attempt opens with, and how it beats what it replaces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.base import Task
from adapters.errors import Rejected
from adapters.evm.fees import Price, beat, caps_of, effect_caps, opening

_PRICES = st.integers(11, 10**13)


@given(base=st.integers(0, 10**13), tip=st.integers(0, 10**12), cap=_PRICES, tip_cap=_PRICES)
def test_an_opening_price_stays_within_its_caps(
    base: int, tip: int, cap: int, tip_cap: int
) -> None:
    price = opening(base, tip, Price(cap, min(cap, tip_cap)))
    assert price.max_fee_wei <= cap
    assert price.tip_wei <= min(price.max_fee_wei, tip_cap)
    assert price.max_fee_wei == min(cap, 2 * base + price.tip_wei) or price.tip_wei < tip


@given(cap=_PRICES, tip_cap=_PRICES)
def test_a_burn_always_beats_a_forward_attempt_at_its_caps(cap: int, tip_cap: int) -> None:
    full = Price(cap, min(cap, tip_cap))
    forward = effect_caps(full)
    burn = beat([forward], Price(0, 0), full)
    assert burn.max_fee_wei * 10 >= forward.max_fee_wei * 11
    assert burn.tip_wei * 10 >= forward.tip_wei * 11
    assert burn.max_fee_wei > forward.max_fee_wei
    assert burn.tip_wei > forward.tip_wei


@given(cap=_PRICES, tip_cap=_PRICES, pct=st.integers(100, 100_000))
def test_a_burn_beats_a_forward_attempt_whatever_cap_an_operator_allows(
    cap: int, tip_cap: int, pct: int
) -> None:
    full = Price(cap, min(cap, tip_cap))
    caps = {"full": full.json(), "forward": effect_caps(full).json()}
    task = Task("s", "a", "forward", 1, {"caps": caps}, "", "", 0, cap_pct=pct)
    forward, burn = caps_of(task, "effect"), caps_of(task, "burn")
    assert beat([forward], Price(0, 0), burn).max_fee_wei <= burn.max_fee_wei
    assert forward.max_fee_wei >= caps_of(task, "burn").max_fee_wei * 10 // 11 - pct // 100 - 1


def test_the_highest_of_all_former_prices_is_beaten_by_an_eighth() -> None:
    former = [Price(800, 80), Price(1600, 40)]
    assert beat(former, Price(1, 1), Price(10_000, 10_000)) == Price(1800, 90)


def test_near_the_cap_a_tenth_is_enough() -> None:
    assert beat([Price(1000, 100)], Price(0, 0), Price(1100, 110)) == Price(1100, 110)


@pytest.mark.parametrize("caps", [Price(1099, 1000), Price(2000, 109)])
def test_beyond_the_cap_nothing_is_built(caps: Price) -> None:
    with pytest.raises(Rejected, match="nothing was sent") as refused:
        beat([Price(1000, 100)], Price(0, 0), caps)
    assert refused.value.code == "policy"


def test_a_price_survives_its_json() -> None:
    price = Price(2**70, 3)
    assert Price.of(price.json()) == price
