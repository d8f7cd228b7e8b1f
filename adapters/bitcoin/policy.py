"""The last look before a signature: the bytes to be signed against the saga's first record.

Asked before any signer is, a keystore's key included. The bytes are parsed again, and what they
should be is worked out by the reader of evidence (`proofs.step_bitcoin_action`) and not by the code
that built them, so one mistake does not pass twice. Every output is either the declared effect or
ours. A forward effect, the pivot included, may in addition cost no more than its cap; whatever
takes back or ends something is held to its bytes only, because no limit may ever stand in its way
(R11).
"""

from collections.abc import Sequence
from typing import Final

from adapters.base import Purpose, Task
from adapters.bitcoin.address import dust_sat
from adapters.bitcoin.fees import FeeTerms, payment_vsize
from adapters.bitcoin.networks import NETWORKS
from adapters.bitcoin.transactions import Spend
from adapters.errors import Rejected
from proofs.bitcoin_tx import Output, Transaction, parse_tx
from proofs.errors import ProofError
from proofs.step_bitcoin_action import BitcoinAction, read_action, read_hold

__all__ = ["require_planned"]

#: Script code of a P2WPKH input (BIP-143) around the key's hash, which its output script holds.
_CODE: Final = (b"\x76\xa9\x14", b"\x88\xac")


def require_planned(
    task: Task,
    purpose: Purpose,
    unsigned: bytes,
    spends: Sequence[Spend],
    *,
    network: str,
    genesis: str,
    recorded_cap_sat: int = 0,
) -> None:
    """Hold what is to be signed to what the task's step declares.

    Args:
        unsigned: the very bytes that every input's digest is made from, without witnesses.
        spends: the inputs with the values and scripts that their signatures commit to.
        network, genesis: of the configured chain; the plan's have to be the same.
        recorded_cap_sat: what the journal says that the attempt to be replaced was allowed to cost.

    Raises:
        Rejected: they differ (``code="mismatch"``), with the first difference.
    """
    here = {"network": network, "genesis": genesis}
    planned = here if task.terms is None else {key: task.terms.get(key) for key in here}
    if planned != here:
        raise _mismatch(task, f"the chain is {here}, planned was {planned}")
    try:
        tx = parse_tx(unsigned)
        # Addresses are those of the public network; a custom one has another block 0.
        action = read_action({"action": task.action}, f"bip122:{NETWORKS[network].genesis[:32]}")
        wanted = _declared(task, purpose, action)
        locktime = _locktime(task, purpose, action)
    except ProofError as error:
        raise _mismatch(task, str(error)) from None
    found = [(f"{each.outpoint.txid}:{each.outpoint.n}", each.sequence) for each in tx.inputs]
    if tx.has_witness or found != [(spend.outpoint, spend.sequence) for spend in spends]:
        raise _mismatch(task, "its inputs are not those that were claimed for it")
    if tx.lock_time != locktime:
        raise _mismatch(task, f"its lock time is {tx.lock_time}, the plan's is {locktime}")
    _require_outputs(task, tx, action, wanted)
    if task.direction == "undo" or purpose == "burn":
        return
    if tx.version != int(task.action.get("version", 2)):
        raise _mismatch(task, f"its version is {tx.version}")
    _require_source(task, action, spends)
    if task.direction == "forward":
        _require_within_cap(task, tx, action, spends, recorded_cap_sat)


def _declared(task: Task, purpose: Purpose, action: BitcoinAction) -> list[Output]:
    """Return the outputs that make the effect; they come first, in this order."""
    if purpose == "burn" or task.direction == "undo" or action.kind == "consolidate":
        return []
    if action.kind == "hold":
        hold = read_hold(action, task.expiry, task.hashlock)
        return [Output(action.amount_sat, hold.output_script())]
    assert action.target is not None
    return [Output(action.amount_sat, action.target[1])] * action.parts


def _locktime(task: Task, purpose: Purpose, action: BitcoinAction) -> int:
    """Return the lock time: a hold's refund waits for its height, everything else for nothing."""
    if action.kind == "hold" and task.direction == "undo" and purpose == "effect":
        return read_hold(action, task.expiry, task.hashlock).locktime
    return 0


def _require_outputs(
    task: Task, tx: Transaction, action: BitcoinAction, wanted: Sequence[Output]
) -> None:
    found, rest = list(tx.outputs[: len(wanted)]), tx.outputs[len(wanted) :]
    for at, output in enumerate(wanted):
        if len(found) <= at or found[at] != output:
            got = "is missing" if len(found) <= at else f"pays {_shown(found[at])}"
            raise _mismatch(task, f"output {at} {got}, the plan's pays {_shown(output)}")
    ours = {action.source_script}
    if action.kind == "transfer" and action.target is not None and task.direction == "undo":
        # The return from other coins takes its change where those coins were: it is ours too.
        ours.add(action.target[1])
    for output in rest:
        if output.script not in ours:
            raise _mismatch(task, f"an output pays {_shown(output)}, which is nobody of the plan")
    back = [output for output in rest if output.script == action.source_script]
    if (not wanted and not back) or (wanted and len(rest) > 1):
        raise _mismatch(task, f"{len(rest)} outputs beside the {len(wanted)} declared ones")


def _require_source(task: Task, action: BitcoinAction, spends: Sequence[Spend]) -> None:
    """Inputs are coins of the account that the plan lets pay."""
    if task.generation > 1:
        return  # it spends an output of what killed the former generation, wherever of ours that is
    code = _CODE[0] + action.source_script[2:] + _CODE[1]
    for spend in spends:
        if spend.address != action.source or spend.script_code != code:
            raise _mismatch(task, f"input {spend.outpoint} is no coin of {action.source}")
    if task.coins and {spend.outpoint for spend in spends} != set(task.coins):
        raise _mismatch(task, "its inputs are not the coins that the saga's start reserved")


def _require_within_cap(
    task: Task,
    tx: Transaction,
    action: BitcoinAction,
    spends: Sequence[Spend],
    recorded_cap_sat: int,
) -> None:
    fee_sat = sum(spend.value_sat for spend in spends) - sum(o.value_sat for o in tx.outputs)
    sizes = [len(output.script) for output in tx.outputs]
    if len(sizes) == action.parts:
        sizes.append(len(action.source_script))  # change below dust is left to the fee
    cap_sat = FeeTerms.of(task.action).max_sat_vb * payment_vsize(len(spends), sizes)
    # An operator who lowers the cap again does not take back what a former attempt may cost.
    cap_sat = max(cap_sat + dust_sat(action.source_script), recorded_cap_sat)
    if not 0 < fee_sat <= cap_sat:
        raise _mismatch(task, f"its fee is {fee_sat} satoshi, the cap is {cap_sat}")


def _shown(output: Output) -> str:
    return f"{output.value_sat} satoshi to script {output.script.hex()}"


def _mismatch(task: Task, what: str) -> Rejected:
    return Rejected(
        f"the {task.direction} of step {task.step} is not what the saga's first record says: "
        f"{what}. Nothing was signed and nothing was sent. This is no condition of a chain: either "
        "this program is wrong or its memory or journal was changed; stop it, run coordinator "
        "journal check, and report it.",
        code="mismatch",
    )
