"""Value: the blocks add up, and what we own changed by the plan and the recorded fees (I2)."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from tests.sim.chain import SimChain
from tests.sim.evidence import Evidence, Line, SagaView, all_hits

__all__ = ["conserved", "postings"]


def postings(evidence: Evidence) -> Iterator[str]:
    """Add the blocks up again: the simulated ledger itself must be right."""
    for name, chain in evidence.chains.items():
        balances = defaultdict(int, evidence.starts[name])
        for block in chain.blocks:
            for receipt in block.receipts:
                if chain.kind == "nonce" or receipt.ok:
                    balances[receipt.tx.sender, chain.native] -= receipt.paid
                    balances["fees", chain.native] += receipt.paid
                for effect in receipt.effects:
                    amount = effect.amount
                    if chain.kind == "coins" and effect.kind in {"redeem", "refund"}:
                        # the escrow pays the fee of its spend
                        balances["escrow", chain.native] -= receipt.paid
                        balances[receipt.tx.sender, chain.native] += receipt.paid
                    balances[effect.source, effect.asset] -= amount
                    balances[effect.target, effect.asset] += amount
        wrong = {
            key
            for key in balances.keys() | chain.ledger.balances.keys()
            if balances[key] != chain.ledger.balances[key]
        }
        if wrong:
            yield f"I2 {name}: balances of {sorted(wrong)} are not what the blocks add up to"


def conserved(
    evidence: Evidence, sagas: Sequence[SagaView], others: Sequence[Line]
) -> Iterator[str]:
    """Compare what our accounts gained and lost with the plans' moves and the recorded fees."""
    if any(saga.closed is None for saga in sagas):
        return
    expected: defaultdict[tuple[str, str], int] = defaultdict(int)
    fees: defaultdict[str, int] = defaultdict(int)
    for saga in sagas:
        closed = saga.closed
        assert closed is not None
        for asset, amount in closed.data["fees"].items():
            fees[asset] += int(amount)
        for asset, amount in _fees(_late(saga, closed), evidence):
            fees[asset] += amount
        if saga.state == "committed":
            _expect(saga, evidence, expected)
    for asset, amount in _fees(others, evidence):
        fees[asset] += amount
    for name, chain in evidence.chains.items():
        _add_grants(chain, expected)
        for asset in {asset for _, asset in chain.ledger.balances}:
            change = sum(
                chain.ledger.balances[account, asset]
                - evidence.starts[name].get((account, asset), 0)
                for account in chain.ours
            )
            paid = fees[asset] if asset == chain.native else 0
            if change != expected[name, asset] - paid:
                yield (
                    f"I2 {name}: our {asset} changed by {change}, the plan says "
                    f"{expected[name, asset]} and the recorded fees {paid}"
                )


def _late(saga: SagaView, closed: Line) -> list[Line]:
    """What the fees in ``closed`` can not hold: all after it, and what consumes claims that it left
    open: their burns, or what these were to keep from landing.
    """
    open_steps = {
        line.data["step"]: line.data["claim_open"]
        for line in saga.lines
        if line.kind == "not_done" and line.position < closed.position
    }
    return [
        line
        for line in saga.lines
        if line.position > closed.position
        or (
            line.kind == "intent"
            and line.data["purpose"] != "tombstone"
            and line.data["dir"] == "forward"
            and open_steps.get(line.data["step"])
        )
    ]


def _add_grants(chain: SimChain, expected: defaultdict[tuple[str, str], int]) -> None:
    """Money that a scenario took or gave beside all plans."""
    for hit in all_hits(chain):
        effect = hit.effect
        if effect.kind == "grant":
            sign = (effect.target in chain.ours) - (effect.source in chain.ours)
            expected[chain.name, effect.asset] += sign * effect.amount


def _expect(
    saga: SagaView, evidence: Evidence, expected: defaultdict[tuple[str, str], int]
) -> None:
    """Add what a committed saga moves into and out of our accounts."""
    for step in saga.plan["steps"]:
        action, chain = step["action"], evidence.chains[step["chain"]]
        amount = int(action["amount"])
        if action["kind"] != "mint" and action["from"] in chain.ours:
            expected[chain.name, action["asset"]] -= amount
        if action["to"] in chain.ours:
            expected[chain.name, action["asset"]] += amount


def _fees(lines: Sequence[Line], evidence: Evidence) -> Iterator[tuple[str, int]]:
    """Fees of what no saga's end could count: burns after it, and fillers of unused nonces."""
    intended = {line.data["tx"] for line in lines if line.kind == "intent"}
    if not intended:
        return
    for chain in evidence.chains.values():
        for block in chain.blocks:
            for receipt in block.receipts:
                if receipt.tx.tx_id in intended:
                    yield chain.native, receipt.paid
