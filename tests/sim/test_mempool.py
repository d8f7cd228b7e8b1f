"""The simulated pools keep the rules that real ones keep."""

import pytest

from tests.sim.chain import SimChain, SimClock
from tests.sim.plans import build_chains
from tests.sim.tx import decode, encode


def chain_of(name: str) -> SimChain:
    return build_chains(SimClock())[name]


def send(chain: SimChain, nonce: int, fee: int, tip: int | None = None, by: str = "ops") -> str:
    """Send a self-spend; return the pool's refusal, empty when it was taken."""
    return chain.submit(*encode(chain.name, by, nonce, (), fee, "self", {}, tip))[0]


def spend(chain: SimChain, coins: list[str], fee: int) -> str:
    return chain.submit(*encode(chain.name, "ops", -1, coins, fee, "self", {}))[0]


def waiting(chain: SimChain) -> list[int]:
    return sorted(tx.fee for tx in chain.mempool.values())


def test_nonces_land_in_order_and_a_gap_holds_the_rest_up() -> None:
    chain = chain_of("eth")
    assert [send(chain, nonce, 10) for nonce in (2, 0)] == ["", ""]
    chain.mine()
    assert chain.ledger.nonces["ops"] == 1
    send(chain, 1, 10)
    chain.mine()
    assert chain.ledger.nonces["ops"] == 3
    assert send(chain, 1, 99) == "nonce too low"


@pytest.mark.parametrize(
    ("fee", "tip", "taken"),
    [(110, 11, True), (109, 11, False), (110, 10, False), (200, 10, False), (500, 11, True)],
)
def test_a_replacement_on_accounts_is_a_tenth_dearer_in_both_fields(
    fee: int, tip: int, *, taken: bool
) -> None:
    chain = chain_of("eth")
    assert not send(chain, 0, 100, 10)
    refusal = send(chain, 0, fee, tip)
    assert refusal == ("" if taken else "replacement transaction underpriced")
    assert waiting(chain) == [fee if taken else 100]


def test_a_replacement_on_coins_pays_for_all_that_it_replaces_and_its_own_relay() -> None:
    chain = chain_of("bit")
    one, two = list(chain.ledger.wallets["ops"])[:2]
    assert not spend(chain, [one], 10)
    assert not spend(chain, [two], 15)
    assert spend(chain, [one, two], 25)
    assert waiting(chain) == [10, 15]
    assert not spend(chain, [one, two], 26)
    assert waiting(chain) == [26]


def test_what_pays_less_than_a_block_costs_waits_and_the_rest_of_its_line_with_it() -> None:
    chain = chain_of("eth")
    chain.trouble.base_fee = 50
    assert not send(chain, 0, 49)
    assert not send(chain, 1, 99, 3)
    chain.mine()
    assert chain.ledger.nonces["ops"] == 0
    chain.trouble.base_fee = 40
    chain.mine()
    first, second = chain.tip.receipts
    assert (first.paid, second.paid) == (49, 43), "the least of the cap, and base fee with tip"


def test_a_pool_takes_nothing_below_its_minimum_and_a_full_one_puts_its_cheapest_out() -> None:
    chain = chain_of("eth")
    chain.trouble.relay_fee = 20
    assert send(chain, 0, 19) == "min relay fee not met"
    chain.trouble.room = 2
    for by, fee in (("ops", 30), ("store", 20), ("spare", 25)):
        assert not send(chain, 0, fee, by=by)
    assert waiting(chain) == [25, 30]


def test_a_miner_may_take_what_was_replaced() -> None:
    chain = chain_of("eth")
    chain.trouble.old_wins = True
    send(chain, 0, 10)
    send(chain, 0, 20)
    send(chain, 0, 40)
    chain.mine()
    assert [receipt.tx.fee for receipt in chain.tip.receipts] == [10]
    assert not chain.mempool


def test_a_stranger_with_our_key_takes_the_place_of_what_waits() -> None:
    chain = chain_of("bit")
    coin = next(iter(chain.ledger.wallets["ops"]))
    spend(chain, [coin], 10)
    chain.consume("ops")
    chain.mine()
    (receipt,) = chain.tip.receipts
    assert receipt.tx.args == {"by": "a stranger"}
    assert receipt.tx.inputs == (coin,)


def test_bytes_say_their_tip_only_where_it_is_not_all_of_the_fee() -> None:
    plain, capped = (encode("eth", "ops", 0, (), 10, "self", {}, tip)[1] for tip in (10, 3))
    assert plain == encode("eth", "ops", 0, (), 10, "self", {})[1]
    assert (decode(plain).tip, decode(capped).tip) == (10, 3)
