"""Coin selection, fees of replacements, the pool and the view under reorganisations."""

from __future__ import annotations

from array import array

import hypothesis.strategies as st
import pytest
from hypothesis import given

from adapters.base import Attempt
from adapters.bitcoin.chain import BlockNote, ChainView, fingerprint, note_of
from adapters.bitcoin.coins import Coin, CoinPool, select
from adapters.bitcoin.fees import fee_at, payment_vsize, replaced, replacement_fee
from adapters.bitcoin.node import sat
from adapters.bitcoin.transactions import Block, Tx, TxInput, TxOutput
from adapters.errors import Transient

DUST = 294


def coin(n: int, value_sat: int, height: int = 1, *, coinbase: bool = False) -> Coin:
    return Coin(f"{n:064x}:0", value_sat, "ours", height, coinbase)


def fee(inputs: int, change: bool) -> int:  # noqa: FBT001 - as `select` asks
    return payment_vsize(inputs, [22, 22] if change else [22])


values = st.lists(st.integers(1, 10**6), max_size=12)


@given(values=values, target=st.integers(DUST, 2 * 10**6), order=st.randoms())
def test_a_selection_pays_target_and_fee_and_is_the_same_in_any_order(
    values: list[int], target: int, order: object
) -> None:
    coins = [coin(n, value) for n, value in enumerate(values)]
    chosen = select(coins, target, fee_sat=fee, dust_sat=DUST, max_inputs=5)
    order.shuffle(coins)  # type: ignore[attr-defined]
    assert select(coins, target, fee_sat=fee, dust_sat=DUST, max_inputs=5) == chosen
    if chosen is None:
        best = sorted(values, reverse=True)[:5]
        assert all(sum(best[:n]) < target + fee(n, False) for n in range(1, len(best) + 1))
        return
    total = sum(item.value_sat for item in chosen.coins)
    assert total == target + chosen.fee_sat + chosen.change_sat
    assert len(set(chosen.coins)) == len(chosen.coins) <= 5
    assert chosen.change_sat == 0 or chosen.change_sat >= DUST
    least = fee(len(chosen.coins), chosen.change_sat > 0)
    assert least <= chosen.fee_sat < least + DUST + payment_vsize(1, [22, 22])


def test_the_smallest_coin_that_suffices_is_taken() -> None:
    coins = [coin(1, 1000), coin(2, 50_000), coin(3, 90_000)]
    chosen = select(coins, 20_000, fee_sat=fee, dust_sat=DUST, max_inputs=5)
    assert chosen is not None
    assert chosen.coins == (coins[1],)


def test_change_that_would_be_dust_goes_into_the_fee() -> None:
    exact = 20_000 + fee(1, True) + DUST
    for value, change in ((exact - 1, 0), (exact, DUST)):
        chosen = select([coin(1, value)], 20_000, fee_sat=fee, dust_sat=DUST, max_inputs=5)
        assert chosen is not None
        assert chosen.change_sat == change


def test_a_coin_that_must_be_spent_is_spent_even_if_another_would_do() -> None:
    heir = coin(9, 400)
    chosen = select(
        [coin(1, 10**6)], 20_000, fee_sat=fee, dust_sat=DUST, max_inputs=5, must=(heir,)
    )
    assert chosen is not None
    assert chosen.coins == (heir, coin(1, 10**6))


def attempt(fee_sat: int, vsize: int) -> Attempt:
    facts = {"fee_sat": str(fee_sat), "rate_sat_kvb": fee_sat * 1000 // vsize, "cap_sat": "99999"}
    return Attempt("00" * 32, "effect", (("c", 0),), 0, facts, {})


@given(
    formers=st.lists(
        st.tuples(st.integers(100, 10**6), st.integers(100, 1000)), min_size=1, max_size=4
    ),
    vsize=st.integers(100, 1000),
    incremental=st.integers(100, 5000),
)
def test_a_replacement_satisfies_bip_125(
    formers: list[tuple[int, int]], vsize: int, incremental: int
) -> None:
    beaten = replaced([attempt(*former) for former in formers])
    assert beaten is not None
    new = replacement_fee(beaten, vsize, incremental)
    for fee_sat, size in formers:
        assert new >= fee_sat + fee_at(incremental, vsize)  # rules 3 and 4
        assert new * size > fee_sat * vsize or new * 1000 // vsize > fee_sat * 1000 // size


def test_a_burn_may_beat_the_dearest_effect_that_an_operator_allowed_and_no_burn_of_itself() -> (
    None
):
    caps = {"effect": ("100", "400"), "burn": ("900",)}
    formers = [
        Attempt(
            "00" * 32, purpose, (("c", 0),), 0,  # type: ignore[arg-type]
            {"fee_sat": "50", "rate_sat_kvb": 500, "cap_sat": cap}, {},
        )
        for purpose, found in caps.items()
        for cap in found
    ]  # fmt: skip
    beaten = replaced(formers)
    assert beaten is not None
    assert beaten.cap_sat == 400


@pytest.mark.parametrize(
    ("given_value", "expected"),
    [
        (0.1, 10_000_000),
        (20_999_999.9769, 2_099_999_997_690_000),
        (1e-8, 1),
        ("0.00001", 1000),
        (50, 5_000_000_000),
    ],
)
def test_amounts_of_a_node_become_exact_satoshi(given_value: object, expected: int) -> None:
    assert sat(given_value) == expected


@given(st.integers(0, 21 * 10**14))
def test_every_amount_survives_json(amount_sat: int) -> None:
    assert sat(float(f"{amount_sat // 10**8}.{amount_sat % 10**8:08}")) == amount_sat


@pytest.mark.parametrize("value", [None, True, -1, 1e-9, 21_000_001, float("inf"), [], "x"])
def test_what_is_no_amount_is_refused(value: object) -> None:
    with pytest.raises(Transient):
        sat(value)


# ------------------------------------------------------------ pool and view


def tx(n: int, spends: list[str], values: list[int]) -> Tx:
    inputs = tuple(TxInput(outpoint, ()) for outpoint in spends)
    return Tx(f"{n:064x}", inputs, tuple(TxOutput(value, b"ours") for value in values), 100)


def test_the_pool_forgets_what_a_reorganisation_takes_back() -> None:
    pool = CoinPool({b"ours": "ours"})
    pool.reset(10, [coin(1, 1000, height=5)])
    before = pool.coins("ours", 1)
    touched = pool.connect(11, [tx(2, [coin(1, 0).outpoint], [400, 500])])
    assert touched == {"ours"}
    # Made and spent in the same block as well.
    pool.connect(12, [tx(3, [f"{2:064x}:0"], [300]), tx(4, [f"{3:064x}:0"], [200])])
    assert pool.balance("ours") == 700
    assert not pool.knows(10)

    assert pool.disconnect(12) == {"ours"}
    assert pool.balance("ours") == 900
    assert pool.disconnect(11) == {"ours"}
    assert pool.coins("ours", 1) == before
    assert pool.height == 10


def test_a_coin_of_a_block_that_was_taken_back_does_not_return_with_the_blocks_after_it() -> None:
    pool = CoinPool({b"ours": "ours"})
    pool.reset(10, [coin(1, 1000, height=5)])
    pool.connect(11, [tx(2, [coin(1, 0).outpoint], [400, 500])])
    pool.disconnect(11)
    pool.connect(11, [])
    pool.connect(12, [])

    assert [item.value_sat for item in pool.coins("ours", 1)] == [1000]


def test_coins_count_when_they_are_deep_enough_and_coinbases_when_they_are_mature() -> None:
    pool = CoinPool({b"ours": "ours"})
    pool.reset(100, [coin(1, 1, height=100), coin(2, 2, height=99), coin(3, 4, height=1)])
    assert {c.value_sat for c in pool.coins("ours", 2)} == {2, 4}
    pool.reset(100, [coin(1, 1, height=2, coinbase=True), coin(2, 2, height=1, coinbase=True)])
    assert {c.value_sat for c in pool.coins("ours", 2)} == {2}
    assert pool.balance("ours") == 2


def note(height: int, name: str, parent: str, spends: list[str]) -> BlockNote:
    block = Block(name, parent, 0, (tx(height, spends, []),))
    return note_of(block, height, set(), set())


def test_the_view_finds_the_block_that_spends_an_outpoint_until_it_is_taken_back() -> None:
    view = ChainView()
    one, two = "01" * 32 + ":0", "02" * 32 + ":3"
    view.connect(note(5, "a", "-", [one]))
    view.connect(note(6, "b", "a", [two]))
    view.extend_down(note(4, "-", "x", []))
    assert [found.height for found in view.spenders(two)] == [6]
    assert list(view.spenders("03" * 32 + ":0")) == []
    assert view.confirmations(5) == 2

    assert view.disconnect().hash == "b"
    assert list(view.spenders(two)) == []
    assert [found.height for found in view.spenders(one)] == [5]
    assert view.low == 4


def test_a_fingerprint_that_collides_is_only_a_reason_to_look_again() -> None:
    first, twin = "ab" * 8 + "00" * 24 + ":0", "ab" * 8 + "11" * 24 + ":0"
    assert fingerprint(first) == fingerprint(twin)
    block = BlockNote("a", "-", 1, 0, array("Q", [fingerprint(first)]))
    assert block.may_spend(twin)
    assert block.spender(twin) is None


def test_a_block_keeps_what_our_keys_signed_though_nobody_asked_yet() -> None:
    ours, theirs = b"\x02" * 33, b"\x03" * 33
    inputs = [TxInput(f"{n:064x}:0", (b"signature", key)) for n, key in ((1, ours), (2, theirs))]
    txs = tuple(Tx(f"{n:064x}", (spent,), (), 100) for n, spent in enumerate(inputs))
    kept = note_of(Block("a", "-", 0, txs), 7, set(), set(), {ours})
    assert kept.spender(inputs[0].outpoint) == txs[0]
    assert kept.spender(inputs[1].outpoint) is None
    assert kept.may_spend(inputs[1].outpoint)


def test_a_selection_asks_of_no_more_coins_than_it_has_to() -> None:
    asked: list[int] = []

    def is_free(item: Coin) -> bool:
        asked.append(item.value_sat)
        return item.value_sat != 5000

    coins = [coin(n, value) for n, value in enumerate((9000, 100, 5000, 7000, 200))]
    chosen = select(coins, 4000, fee_sat=fee, dust_sat=DUST, max_inputs=5, is_free=is_free)
    assert chosen is not None
    assert [item.value_sat for item in chosen.coins] == [7000]
    assert asked == [5000, 7000]
    none = select(coins, 4000, fee_sat=fee, dust_sat=DUST, max_inputs=5, is_free=lambda _: False)
    assert none is None
    two = select(
        coins, 12_000, fee_sat=fee, dust_sat=DUST, max_inputs=5, is_free=lambda c: c.value_sat > 200
    )
    assert two is not None
    assert [item.value_sat for item in two.coins] == [9000, 7000]


def test_coins_come_the_smallest_first_and_as_of_the_newest_block() -> None:
    pool = CoinPool({b"ours": "ours"})
    pool.reset(10, [coin(1, 900, height=9), coin(2, 300, height=9), coin(3, 600, height=9)])
    assert [item.value_sat for item in pool.coins("ours", 1)] == [300, 600, 900]
    pool.connect(11, [tx(4, [coin(3, 0).outpoint], [400])])
    assert [item.value_sat for item in pool.coins("ours", 1)] == [300, 400, 900]
    assert [item.value_sat for item in pool.coins("ours", 2)] == [300, 900]
    made = next(item for item in pool.coins("ours", 1) if item.value_sat == 400)
    assert made.parents == (coin(3, 0).outpoint,)
    pool.disconnect(11)
    assert [item.value_sat for item in pool.coins("ours", 1)] == [300, 600, 900]
