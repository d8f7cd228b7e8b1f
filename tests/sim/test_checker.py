"""The checker itself: evidence that was tampered with is refused, with the rule's number."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from msgspec.structs import replace as restated

from tests.sim import script as scripts
from tests.sim.cases import Case, build
from tests.sim.checker import Evidence, Violation, check
from tests.sim.ledger import Receipt
from tests.sim.script import Script
from tests.sim.tx import decode, encode
from tests.sim.world import evidence_of


def evidence(case: Case) -> Evidence:
    return evidence_of(build(case).run())


def receipts(found: Evidence, chain: str, op: str) -> list[Receipt]:
    return [
        receipt
        for block in found.chains[chain].blocks
        for receipt in block.receipts
        if receipt.tx.op == op
    ]


def doubled(found: Evidence) -> Evidence:
    """The lock takes effect a second time."""
    [receipt] = receipts(found, "poly", "lock")
    found.chains["poly"].blocks[-1].receipts.append(receipt)
    return found


def pocketed(found: Evidence) -> Evidence:
    """A unit of ours is gone from the ledger."""
    found.chains["poly"].ledger.balances["ops", "ALZ"] -= 1
    return found


def unclosed(found: Evidence) -> Evidence:
    """The last record never came."""
    return replace(found, bodies=found.bodies[:-1])


def flipped(found: Evidence) -> Evidence:
    """One byte of a record is another."""
    body = bytearray(found.bodies[3])
    body[body.index(b'"at":') + 6] ^= 1
    return replace(found, bodies=[*found.bodies[:3], bytes(body), *found.bodies[4:]])


def undone_late(found: Evidence) -> Evidence:
    """The second undo had been sent when the first was not yet in a block."""
    chain = found.chains["poly"]
    at = next(n for n, item in enumerate(chain.received) if item.tx.op == "refund")
    early = restated(chain.received[at].stamp, heights=dict.fromkeys(found.chains, 1))
    chain.received[at] = restated(chain.received[at], stamp=early)
    return found


def sent_early(found: Evidence) -> Evidence:
    """The bytes arrived before their intent was written."""
    chain = found.chains["poly"]
    chain.received[0] = restated(
        chain.received[0], stamp=restated(chain.received[0].stamp, records=0)
    )
    return found


def vanished(found: Evidence) -> Evidence:
    """What the journal calls done is in no block."""
    for block in found.chains["eth"].blocks:
        block.receipts = [receipt for receipt in block.receipts if receipt.tx.op != "mint"]
    return found


def told(found: Evidence) -> Evidence:
    """A log line shows a preimage."""
    [secret] = found.preimages.values()
    return replace(found, logs=[(1, f"redeeming with {secret.hex()}")])


def both(found: Evidence) -> Evidence:
    """A hold is refunded after it was redeemed."""
    [redeem] = receipts(found, "bit", "redeem")
    effect = restated(redeem.effects[0], kind="refund")
    again = Receipt(redeem.tx, True, "", redeem.height, redeem.block_hash, 0, (effect,))
    found.chains["bit"].blocks[-1].receipts.append(again)
    return found


def decided_twice(found: Evidence) -> Evidence:
    """A second decision stands in the journal."""
    body = next(body for body in found.bodies if b'"kind":"decided"' in body)
    record = json.loads(body)
    record["seq"] = len(found.bodies) + 1
    extra = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    return replace(
        found,
        bodies=[*found.bodies, extra],
        stamps=[*found.stamps, found.stamps[-1]],
        times=[*found.times, found.times[-1]],
    )


def proof_lost(found: Evidence) -> Evidence:
    """A proof that a record names is not stored."""
    return replace(found, proofs=dict(list(found.proofs.items())[1:]))


def unproven(found: Evidence) -> Evidence:
    """What the records say of evidence was never there."""
    kept = [body for body in found.bodies if b'"kind":"proved"' not in body]
    return replace(found, bodies=kept)


def edited(found: Evidence, kind: bytes, change: Callable[[dict[str, Any]], None]) -> Evidence:
    """Change the last record of a kind; the hash chain is none of this tampering's business."""
    at = max(n for n, body in enumerate(found.bodies) if b'"kind":"' + kind + b'"' in body)
    record = json.loads(found.bodies[at])
    change(record)
    body = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    return replace(found, bodies=[*found.bodies[:at], body, *found.bodies[at + 1 :]])


def overpriced(found: Evidence) -> Evidence:
    """What was signed costs more than the plan allows."""

    def lower(record: dict[str, Any]) -> None:
        record["data"]["plan"]["chains"]["poly"]["fee_caps"] = {"forward": "9", "burn": "9"}

    return edited(found, b"started", lower)


def begun_late(found: Evidence) -> Evidence:
    """The first effect began after the deadline."""

    def shorten(record: dict[str, Any]) -> None:
        record["data"]["deadline_s"] -= 1_000

    return edited(found, b"started", shorten)


def exposed(found: Evidence) -> Evidence:
    """The commit was decided when the hold could be refunded already."""

    def expire(record: dict[str, Any]) -> None:
        record["data"]["expiries"] = {"hold": {"height": 1}}

    return edited(found, b"started", expire)


def exposed_by_time(found: Evidence) -> Evidence:
    """The same of a hold that a time lets be refunded."""

    def expire(record: dict[str, Any]) -> None:
        record["data"]["expiries"] = {"hold": {"time": record["at"] // 1000 + 1}}

    return edited(found, b"started", expire)


def strange(found: Evidence) -> Evidence:
    """Long before the account's other claims its key signed what no record knows."""
    chain = found.chains["eth"]
    _, raw = encode("eth", "ops", 99, (), 0, "self", {"by": "a stranger"})
    early = Receipt(decode(raw), True, "", 0, chain.blocks[0].hash, 0, ())
    chain.blocks[0].receipts.append(early)
    chain.blocks[0].height = -9
    births = [dict.fromkeys(found.chains, -9)]
    return replace(found, births=births)


SUCCESS, FAILURE = Case("reference"), Case("reference", "mint:reverted")


@pytest.mark.parametrize(
    ("rule", "case", "tamper"),
    [
        ("I1", SUCCESS, doubled),
        ("I2", SUCCESS, pocketed),
        ("I3", SUCCESS, unclosed),
        ("I3", SUCCESS, vanished),
        ("I4", FAILURE, undone_late),
        ("I5", SUCCESS, sent_early),
        ("I6", SUCCESS, vanished),
        ("I7", SUCCESS, flipped),
        ("I9", SUCCESS, told),
        ("I10", SUCCESS, both),
        ("I10", FAILURE, begun_late),
        ("I10", SUCCESS, exposed),
        ("I10", SUCCESS, exposed_by_time),
        ("I11", SUCCESS, decided_twice),
        ("I12", SUCCESS, proof_lost),
        ("I12", FAILURE, unproven),
        ("I13", SUCCESS, overpriced),
        ("I14", SUCCESS, strange),
    ],
)
def test_tampered_evidence_is_refused(
    rule: str, case: Case, tamper: Callable[[Evidence], Evidence]
) -> None:
    found = evidence(case)
    check(found)
    with pytest.raises(Violation) as caught:
        check(tamper(found))
    rules = {line.split()[0] for line in str(caught.value).splitlines()}
    assert rule in rules


def test_a_block_that_was_replaced_since_is_not_what_a_commit_was_decided_by() -> None:
    """The newest block of a chain that stood still is replaced long after the hold's expiry."""
    script = Script(
        plans=("holds:gift+cold",),
        confirmations=3,
        troubles=((5, "trouble", ("poly", "halted", True)), (30, "reorg", ("poly", 1, "lost"))),
        max_ticks=700,
    )
    assert scripts.perform(script) == ""
