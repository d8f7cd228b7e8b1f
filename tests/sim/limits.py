"""Limits: fees below their caps, effects within their time, nothing new for a key that leaked.

Rules I10 (the part about time), I13 and I14 of the checker.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from tests.sim.chain import SimChain
from tests.sim.evidence import Evidence, Line, SagaView
from tests.sim.tx import decode

__all__ = ["priced", "shunned", "timely"]

#: Blocks in which every process must have noticed what somebody else did with our key.
_NOTICED: Final = 3


def priced(saga: SagaView, evidence: Evidence) -> Iterator[str]:
    """I13: what is signed costs no more than the plan allows, a forward effect less than a burn."""
    steps = {step["id"]: step for step in saga.plan["steps"]}
    raised: dict[str, int] = {}
    for line in saga.lines:
        if line.kind == "verdict" and line.data["verdict"] == "cap":
            raised[line.data["step"]] = int(line.data["args"]["pct"])
        if line.kind != "intent":
            continue
        name, data = line.data["step"], line.data
        caps = saga.plan["chains"][steps[name]["chain"]]["fee_caps"]
        forward = (data["dir"], data["purpose"]) == ("forward", "effect")
        cap = int(caps["forward" if forward else "burn"]) * raised.get(name, 100) // 100
        tx = decode(evidence.raws[data["tx"]])
        if tx.fee > cap or tx.tip > tx.fee:
            yield f"I13 {saga.id}: {data['dir']} of {name} may cost {tx.fee}, the cap is {cap}"


def timely(saga: SagaView, evidence: Evidence) -> Iterator[str]:
    """I10: nothing begins after the deadline; no commit when a hold can be refunded already."""
    started = saga.lines[0].data
    for line in saga.lines:
        if line.kind == "intent":
            data = line.data
            begins = (data["dir"], data["purpose"], data["n"]) == ("forward", "effect", 1)
            if begins and line.at_ms // 1000 > started["deadline_s"] and saga.state != "committed":
                yield f"I10 {saga.id}: {data['step']} began after the deadline"
        if line.kind == "decided" and line.data["decision"] == "commit":
            yield from _exposed(saga, line, evidence)


def _exposed(saga: SagaView, line: Line, evidence: Evidence) -> Iterator[str]:
    """Name the holds that were past their expiry when the commit was decided."""
    heights, times_s = evidence.stamps[line.position - 1], evidence.times[line.position - 1]
    pivots = any(step["class"] == "pivot" for step in saga.plan["steps"])
    for step in saga.plan["steps"]:
        expiry = saga.lines[0].data["expiries"].get(step["id"])
        if expiry is None or pivots:  # a pivot that is final decides, whatever a clock says
            continue
        height, time_s = heights[step["chain"]], times_s[step["chain"]]
        if height >= expiry.get("height", height + 1) or time_s >= expiry.get("time", time_s + 1):
            yield f"I10 {saga.id}: committed when hold {step['id']} was past its expiry"


def shunned(evidence: Evidence, sagas: Sequence[SagaView], others: Sequence[Line]) -> Iterator[str]:
    """I14: what our key signed and nobody recorded stops what only a nonce or coin of that account
    would make unique, until somebody has accepted it.
    """
    known = {line.data["tx"] for line in others if line.kind == "intent"}
    known |= {line.data["tx"] for saga in sagas for line in saga.lines if line.kind == "intent"}
    released = [line.position for line in others if line.kind == "accepted"]
    for name, chain in evidence.chains.items():
        for account, height in _foreign(chain, known):
            for saga in sagas:
                for line in _claiming(saga, name, account):
                    before = evidence.stamps[line.position - 1]
                    noticed = height + _NOTICED
                    alive = _since_birth(evidence, before, name)
                    if before[name] < noticed or alive < _NOTICED:
                        continue
                    if not any(at < line.position for at in released):
                        yield (
                            f"I14 {saga.id}: {line.data['dir']} of {line.data['step']} claims of "
                            f"{account} on {name} although a stranger used its key at {height}"
                        )


def _foreign(chain: SimChain, known: set[str]) -> Iterator[tuple[str, int]]:
    """Yield (account, height) of what our keys signed and no record knows."""
    for block in chain.blocks:
        for receipt in block.receipts:
            if receipt.tx.sender in chain.ours and receipt.tx.tx_id not in known:
                yield receipt.tx.sender, block.height


def _since_birth(evidence: Evidence, heights: Mapping[str, int], chain: str) -> int:
    """How many blocks of ``chain`` the youngest process had seen at that moment."""
    births = [at[chain] for at in evidence.births if at[chain] <= heights[chain]]
    return heights[chain] - max(births, default=0)


def _claiming(saga: SagaView, chain: str, account: str) -> Iterator[Line]:
    """Yield first intents whose nonce or coin is the account's own and all that is unique."""
    steps: dict[str, Any] = {step["id"]: step for step in saga.plan["steps"]}
    for line in saga.lines:
        if line.kind != "intent" or line.data["purpose"] != "effect" or line.data["n"] != 1:
            continue
        step, direction = steps[line.data["step"]], line.data["dir"]
        if step["chain"] != chain:
            continue
        action = step["action"]
        back = direction == "undo" and action["kind"] == "transfer"
        sender = action["to"] if back else action["from"]
        unique = direction != "forward" and step["unique_by"] != "claim"
        if sender == account and not unique:
            yield line
