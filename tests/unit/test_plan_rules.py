"""Each rule of the checker: a lock that breaks this rule alone is found, the sound one is not."""

from typing import Any

import pytest

from coordinator.plan import PlanRefused, check_lock, require_valid
from coordinator.plan.timing import (
    confirm_order,
    earliest_expiry_ms,
    forward_ms,
    latest_expiry_ms,
    rollback_ms,
    undo_ends_ms,
)
from tests.unit.plan_locks import (
    chain,
    codes,
    hold,
    issue,
    lock,
    pay,
    retriable,
    transfer,
    vault,
)

INCOMING = [{"asset": "BTC", "amount": "1", "source": "outside", "target": "escrow"}]
# name → (a lock that breaks one rule, the only code it may get, a part of the message)
BROKEN: dict[str, tuple[dict[str, Any], str, str]] = {
    "two steps of one id": (lock(vault(), vault()), "E06", "two steps have this id"),
    "a chain without terms": (lock(vault(where="north")), "E07", "'north' has no terms"),
    "an asset without decimals": (
        lock(vault(fee_asset="OIL")), "E09", "asset 'OIL' has no decimals",
    ),
    "a moved asset without decimals": (
        lock(vault(moves=[{"asset": "X", "amount": "1", "source": "a", "target": "b"}])),
        "E09", "asset 'X'",
    ),
    "a reserved asset without decimals": (
        lock(vault(reserve=[["ours", "Y", "1"], ["ours", "GAS", "36"]])), "E09", "asset 'Y'",
    ),
    "a retriable step without a pivot": (
        lock(vault(), retriable(moves=[])), "E10", "only after a point of no return",
    ),
    "two pivots": (lock(pay(), pay("again")), "E11", "second effect that cannot be undone"),
    "an undoable step after the pivot": (lock(pay(), vault()), "E12", "may fail after 'pay'"),
    "a hold after the pivot": (lock(pay(), hold()), "E12", "may fail after 'pay'"),
    "a pivot with an undo": (lock(pay(undo=True, unique_by="claim",
        moves=[{"asset": "BTC", "amount": "1", "source": "ours", "target": "ours-too"}])),
        "E13", "claims an undo that cannot exist"),
    "a pivot with a confirm": (lock(pay(confirm=True)), "E13", "must not have a confirm"),
    "a hold without a confirm": (lock(hold(confirm=False)), "E13", "lacks its confirm"),
    "a retriable without a confirm": (
        lock(pay(), retriable(confirm=False)), "E13", "lacks its confirm",
    ),
    "a retriable that expires": (
        lock(pay(), retriable(expiry={"seconds": 600})), "E13", "must not expire",
    ),
    "a refund that may open before the deadline has passed": (
        lock(hold(blocks=20)), "E14", "its refund may open 20 s after the start",
    ),
    "a refund that leaves no time to confirm": (
        lock(hold(blocks=24)), "E14", "until after 24 s",
    ),
    "a refund in seconds that leaves no time to confirm": (
        lock(hold(expiry={"seconds": 24})), "E14", "refund after at least 25 seconds",
    ),
    "a refund too early for another step's slow confirm": (
        lock(hold(blocks=30), vault(confirm_ms=11_000)), "E14", "until after 31 s",
    ),
    "a refund too early for the pivot": (
        lock(hold(blocks=30), pay()), "E14", "until after 30 s",
    ),
    "a refund too early after an outage": (
        lock(hold(blocks=25), chains={"west": chain(outage_s=1)}), "E14", "until after 25 s",
    ),
    "a refund too early for skewed clocks": (
        lock(hold(blocks=26), chains={"west": chain(skew_s=3)}), "E14", "until after 27 s",
    ),
    "an undo that ends before it may be needed": (
        lock(vault(action={"undo_until_s": 33}), vault("other")), "E15", "until 34 s",
    ),
    "an undo that ends before a later hold is refunded": (
        lock(vault(action={"undo_until_s": 127}), hold(blocks=60)), "E15", "until 128 s",
    ),
    "an undo limit that is no number": (
        lock(vault(action={"undo_until_s": "9"})), "E15", "is no integer",
    ),
    "no cap for the forward": (
        lock(vault(fees={"confirm": "7", "undo": "8", "burn": "9"})), "E16", "for its forward",
    ),
    "no cap for the undo": (
        lock(vault(fees={"forward": "7", "confirm": "8", "burn": "9"})), "E16", "for its undo",
    ),
    "no payer for the confirm": (
        lock(vault(payers={"forward": "ours", "undo": "ours", "burn": "ours"})),
        "E16", "for its confirm",
    ),
    "no cap for the redeem that we send": (
        lock(hold(deliver="calldata", fees={"forward": "7", "undo": "8", "burn": "9"})),
        "E16", "for its confirm",
    ),
    "no cap for the burn": (
        lock(vault(fees={"forward": "7", "confirm": "8", "undo": "9"})), "E16", "for its burn",
    ),
    "a channel without a preimage": (lock(vault(deliver="file")), "E19", "that it does not have"),
    "a preimage without a channel": (
        lock(hold(deliver=None)), "E19", "names no channel",
    ),
    "a preimage without an expiry": (
        lock(hold(expiry=None)), "E19", "no hold with an expiry",
    ),
    "another confirm order than the rules give": (
        lock(confirm_order=["mint", "hold", "lock"]), "E20", "must be lock, hold, mint",
    ),
    "a deadline that no chain can meet": (
        lock(vault(), deadline_s=1, chains={"east": chain(blocks=3)}), "E21", "at the fastest pace",
    ),
    "blocks that are faster at worst than at best": (
        lock(vault(), chains={"east": chain(fast_ms=3000)}), "E21", "fast is above",
    ),
    "an undoable payment to an outsider": (
        lock(vault(moves=[{"asset": "ALZ", "amount": "1", "source": "o", "target": "outside"}])),
        "E22", "no undo of ours brings it back",
    ),
    "an undoable destruction": (
        lock(vault(moves=[{"asset": "ALZ", "amount": "1", "source": "o", "target": "destroyed"}])),
        "E22", "no undo of ours brings it back",
    ),
    "a move of nothing": (
        lock(vault(moves=[{"asset": "ALZ", "amount": "0", "source": "o", "target": "p"}])),
        "E22", "out of range",
    ),
    "a move wider than a word": (
        lock(vault(moves=[{"asset": "ALZ", "amount": str(2**256), "source": "o", "target": "p"}])),
        "E22", "out of range",
    ),
    "a move to oneself": (
        lock(vault(moves=[{"asset": "ALZ", "amount": "1", "source": "o", "target": "o"}])),
        "E22", "to itself",
    ),
    "own money that is free before the counterparty's is settled": (
        lock(hold("out", blocks=85), hold("in", "east", blocks=40, moves=INCOMING),
             confirm_order=["in", "out"]),
        "E23", "before the incoming hold 'in' is settled for good, 86 s",
    ),
    "own money that is free before an outage and skewed clocks are over": (
        lock(hold("out", blocks=92), hold("in", "east", blocks=40, moves=INCOMING),
             confirm_order=["in", "out"], chains={"east": chain(outage_s=4, skew_s=3),
                                                  "west": chain()}),
        "E23", "settled for good, 93 s",
    ),
    "a transfer that is undone by its reverse": (lock(transfer()), "W31", "transfer back"),
    "a deadline that slow chains miss": (
        lock(vault(), deadline_s=3, chains={"east": chain()}), "W34", "it would roll back",
    ),
    "a deadline that only the fastest chains meet": (
        lock(vault(), deadline_s=1, chains={"east": chain(slow_ms=1000)}), "W34", "slowest pace",
    ),
    "an attempt that cannot be ended": (lock(vault(kill=[])), "W35", "a person would be asked"),
    "fees that nobody set aside": (
        lock(vault(reserve=[["ours", "ALZ", "1000"]])), "W36", "19 GAS are not set aside",
    ),
    "fees that only the value itself could pay": (
        lock(vault(reserve=[["ours", "GAS", "1000"]],
             moves=[{"asset": "GAS", "amount": "990", "source": "ours", "target": "escrow"}])),
        "W36", "9 GAS are not set aside",
    ),
    "an issue without cover": (lock(issue()), "W37", "issues 10 ALZ while 0 ALZ"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_rule_is_found_and_nothing_else(name: str) -> None:
    broken, code, text = BROKEN[name]
    findings = check_lock(broken).findings
    assert set(codes(findings)) == {code}
    assert any(text in str(finding) for finding in findings), findings


@pytest.mark.parametrize(
    "sound",
    [
        lock(),
        lock(vault()),
        lock(pay()),
        lock(vault(), hold(), pay(), retriable()),
        lock(vault(), issue(), pay()),
        lock(hold(blocks=25)),
        lock(hold(expiry={"seconds": 25})),
        lock(vault(action={"undo_until_s": 34}), vault("other")),
        lock(vault(), deadline_s=4, chains={"east": chain()}),
        lock(vault(), deadline_s=1, chains={"east": chain(slow_ms=1000, blocks=1)}),
        lock(hold("in", moves=INCOMING), hold("in-too", blocks=70, moves=INCOMING)),
        lock(
            hold("out", blocks=86),
            hold("in", "east", blocks=40, moves=INCOMING),
            confirm_order=["in", "out"],
        ),
    ],
)
def test_a_sound_plan_has_no_findings(sound: dict[str, Any]) -> None:
    report = check_lock(sound)
    assert report.findings == ()
    assert report.valid
    require_valid(report)


def test_errors_come_first_and_all_refuse_together() -> None:
    report = check_lock(lock(transfer(), pay(), vault(kill=[]), pay("again")))
    assert codes(report.findings) == ["E12", "E11", "W31", "W35"]
    with pytest.raises(PlanRefused) as caught:
        require_valid(report)
    assert codes(caught.value.findings) == ["E12", "E11"]
    assert "nothing was sent" in str(caught.value)


def test_an_account_that_is_too_empty_is_named_with_what_it_lacks() -> None:
    plan = lock(vault(), vault("again"))
    enough = {("east", "ours", "ALZ"): 2000, ("east", "ours", "GAS"): 72}
    assert check_lock(plan, enough).valid
    short = check_lock(plan, enough | {("east", "ours", "GAS"): 71}).findings
    assert codes(short) == ["E18"]
    assert "fund ours with 1 GAS" in str(short[0])
    assert codes(check_lock(plan, {}).findings) == ["E18", "E18"]


def test_a_rollback_path_that_leaves_value_moved_is_counted_and_refused() -> None:
    plan = lock(vault(undo=False), issue())
    report = check_lock(plan)
    assert "E22" in codes(report.findings)
    assert "leaves east:ours with -10 ALZ" in "\n".join(map(str, report.findings))
    paths, conserved = report.paths
    assert (paths, conserved) == (3, 1)


def test_value_on_one_chain_is_not_netted_against_another() -> None:
    changes = check_lock(lock()).changes
    assert {(c.asset, c.holder): c.amount for c in changes} == {
        ("ALZ", "east:ours"): -1000,
        ("ALZ", "east:escrow"): 1000,
        ("ALZ", "issued"): -1000,
        ("ALZ", "east:pending"): 1000,
        ("BTC", "west:ours"): -1000,
        ("BTC", "west:escrow"): 1000,
    }


def test_incoming_holds_are_confirmed_first_by_earliest_expiry() -> None:
    plan = lock(
        vault("a"), hold("b", blocks=90, moves=INCOMING), hold("c"),
        hold("d", expiry={"seconds": 70}, moves=INCOMING), issue("e"), transfer("f"),
    )  # fmt: skip
    assert confirm_order(plan) == ["d", "b", "a", "c", "e"]


def test_forward_time_adds_slow_blocks_and_waits_for_the_last_finality() -> None:
    plan = lock(chains={"east": chain(), "west": chain(slow_ms=5000, blocks=3)})
    # blocks 2 + 5 + 2 s; the hold, included at 7 s, is final two blocks of 5 s later
    assert forward_ms(plan, "slow") == 17_000
    assert forward_ms(plan, "fast") == 2000
    # a step that is awaited to the end holds back the next one
    waited = lock(vault(), hold() | {"await": "final"}, issue(), chains=plan["chains"])
    assert forward_ms(waited, "slow") == 17_000 + 2000 + 2000
    # a pivot starts when everything else is final
    assert forward_ms(lock(vault(), pay()), "slow") == 4000 + 2000 + 2000


def test_rollback_time_starts_after_outage_and_burn_and_waits_for_refunds() -> None:
    plan = lock(chains={"east": chain(outage_s=5), "west": chain()})
    ends = undo_ends_ms(plan)
    # 20 s deadline, 5 s outage, 6 s burn, 4 s for the mint; the refund opens at 60 blocks of 2 s
    assert ends == {"mint": 35_000, "hold": 124_000, "lock": 128_000}
    assert rollback_ms(plan) == 128_000


def test_expiries_are_read_cautiously_at_both_ends() -> None:
    plan = lock(chains={"east": chain(skew_s=3), "west": chain()})
    counted, timed = hold(blocks=60), hold(expiry={"seconds": 60})
    assert (earliest_expiry_ms(plan, counted), latest_expiry_ms(plan, counted)) == (60_000, 120_000)
    # a chain's clock may be skewed, and moves only with its next block
    assert (earliest_expiry_ms(plan, timed), latest_expiry_ms(plan, timed)) == (57_000, 65_000)
    assert earliest_expiry_ms(plan, vault()) is latest_expiry_ms(plan, vault()) is None


def test_a_plan_without_undos_has_no_rollback_beyond_its_deadline() -> None:
    assert rollback_ms(lock(pay())) == 20_000


@pytest.mark.parametrize(
    ("expiry", "hint"),
    [({"blocks": 20}, "at least 28 blocks"), ({"seconds": 20}, "at least 31 seconds")],
)
def test_the_hint_of_a_short_refund_is_the_shortest_that_would_do(
    expiry: dict[str, int], hint: str
) -> None:
    chains = {"west": chain(skew_s=3)}
    (found,) = check_lock(lock(hold(expiry=expiry), chains=chains)).findings
    assert hint in found.hint
    unit, least = next(iter(expiry)), int(hint.split()[2])
    assert check_lock(lock(hold(expiry={unit: least}), chains=chains)).valid
    assert not check_lock(lock(hold(expiry={unit: least - 1}), chains=chains)).valid


def test_blocks_that_may_come_at_once_can_not_measure_a_refund() -> None:
    (found,) = check_lock(lock(hold(), chains={"west": chain(fast_ms=0)})).findings
    assert (found.code, found.hint) == (
        "E14",
        "count in seconds: this chain's fastest block time is 0",
    )
