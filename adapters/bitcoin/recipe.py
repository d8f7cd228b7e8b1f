"""The way back of an effect on Bitcoin: a transaction to sign, and commands of ``bitcoin-cli``."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from adapters.assets import format_amount
from adapters.base import Task
from adapters.bitcoin import sign_return
from adapters.bitcoin.address import dust_sat
from adapters.bitcoin.effects import hold_of
from adapters.bitcoin.fees import payment_vsize, refund_vsize
from adapters.bitcoin.transactions import SEQUENCE_REPLACEABLE
from adapters.errors import Rejected
from adapters.recipe import Recipe, StoredUndo

__all__ = ["TOOL", "refund_facts", "undo_recipe"]

TOOL: Final = Path(sign_return.__file__)
_KEY_NOTE: Final = (
    "The keystore of the key named above is a Web3 Secret Storage file (version 3): "
    "`cast wallet decrypt-keystore`, or Account.decrypt of eth-account, opens it with its "
    "passphrase and shows the key as 64 hex digits."
)
_P2WPKH_BYTES: Final = 22


def undo_recipe(
    task: Task, terms: Mapping[str, Any], stored: Sequence[StoredUndo], *, certain: bool
) -> Recipe:
    """Return the transaction that brings a coin home; see `adapters.recipe.Recipes`.

    Raises:
        Rejected: nothing can bring it home, or the journal does not name the coin.
    """
    if task.action["kind"] not in ("hold", "transfer"):
        raise Rejected(f"a {task.action['kind']} on Bitcoin has no way back")
    if task.forward is None or "outpoint" not in task.forward:
        raise Rejected("the journal names no coin of it: nothing was ever signed")
    made = _hold(task, terms) if task.action["kind"] == "hold" else _transfer(task, terms)
    cli = _cli(terms)
    seen = (f"{cli} gettxout {_words(task.forward['outpoint'])}",)
    signed = {f"{task.step}-signed.hex": item.raw.hex().encode() + b"\n" for item in stored[-1:]}
    sent = tuple(f"{cli} sendrawtransaction $(cat {name})" for name in signed)
    notes = [*made.notes]
    if stored:
        notes.insert(
            0,
            f"{stored[-1].tx_id} is signed and may have been sent: send it first and wait. It "
            "spends the same coin, so only one of them can ever count.",
        )
    if not certain:
        notes.insert(
            0, f"{task.forward['tx']} may never have been in a block: look with gettxout first."
        )
    return Recipe(
        made.where, made.who, made.key, made.opens, made.transaction, sent + made.send, seen,
        tuple(notes), {**made.tools, **signed},
    )  # fmt: skip


def _hold(task: Task, terms: Mapping[str, Any]) -> Recipe:
    assert task.forward is not None
    hold, action = hold_of(task), task.action
    script = hold.witness_script()
    # A transaction with this lock time is valid in the block after it, so from this height on.
    opens = hold.locktime
    forward = task.forward
    recipe = refund_facts(
        task, str(forward["outpoint"]), str(forward["value_sat"]), str(terms["network"])
    )
    name = f"{task.step}-refund.json"
    cli = _cli(terms)
    return Recipe(
        where=(
            f"{recipe['amount_sat']} satoshi in output {recipe['outpoint']} (P2WSH, script "
            f"{script.hex()})"
        ),
        who=(
            f"{action['from']} (key {hold.payer.hex()}) alone, in blocks above {opens}",
            (
                f"whoever has key {hold.payee.hex()} and the preimage of {hold.hashlock.hex()}, at "
                "any time"
            ),
        ),
        key=str(action["from"]),
        opens={"height": opens},
        transaction=recipe,
        send=(
            f"{cli} getblockcount    # {opens} or more, else it is refused as non-final",
            f"TX=$(python3 {TOOL.name} {name} --fee-sat $FEE_SAT < $KEYFILE)",
            f'{cli} testmempoolaccept "[\\"$TX\\"]"',
            f"{cli} sendrawtransaction $TX",
        ),
        look=(),
        notes=(
            (
                "bitcoin-cli can not sign this branch of the script (it is no miniscript), so "
                f"{TOOL.name} does, which needs nothing but Python 3.8 or later."
            ),
            (
                f"$FEE_SAT is the fee in satoshi: {refund_vsize()} vB times the rate of the day "
                f"({cli} estimatesmartfee 6). It comes out of the returned value. Sign again with "
                "a higher one to replace what waits."
            ),
            (
                f"$KEYFILE holds the private key of {action['from']}: 64 hex digits or WIF. "
                f"{_KEY_NOTE}"
            ),
        ),
        tools={
            name: json.dumps(recipe, indent=2, sort_keys=True).encode() + b"\n",
            TOOL.name: TOOL.read_bytes(),
        },
    )


def refund_facts(task: Task, outpoint: str, amount_sat: str, network: str) -> dict[str, Any]:
    """Return all that signing the refund of a hold needs but the key; `sign_return` reads it.

    Args:
        outpoint: ``txid:vout`` of the hold's output, of ``amount_sat`` satoshi.
        network: its name in chains.toml.
    """
    hold = hold_of(task)
    script = hold.witness_script()
    return _facts(task, outpoint, amount_sat) | {
        "network": network,
        "script_pubkey": hold.output_script().hex(),
        "witness_script": script.hex(),
        "script_code": script.hex(),
        "witness": ["signature", "empty", "script"],
        "locktime": hold.locktime,
        "public_key": hold.payer.hex(),
        "vsize": refund_vsize(),
    }


def _transfer(task: Task, terms: Mapping[str, Any]) -> Recipe:
    assert task.forward is not None
    action, cli = task.action, _cli(terms)
    facts = _facts(
        task, str(task.forward["outpoint"]), str(task.forward.get("value_sat", action["amount"]))
    )
    tx_id, vout = _words(facts["outpoint"]).split()
    amount = format_amount(int(facts["amount_sat"]), 8)
    coin = {"txid": tx_id, "vout": int(vout)}
    spent = coin | {"scriptPubKey": action["script"], "amount": amount}
    vsize = payment_vsize(1, [_P2WPKH_BYTES])
    inputs = json.dumps([coin | {"sequence": SEQUENCE_REPLACEABLE}])
    return Recipe(
        where=f"{facts['amount_sat']} satoshi in output {facts['outpoint']} of {action['to']}",
        who=(f"{action['to']} alone",),
        key=str(action["to"]),
        opens=None,
        transaction=facts | {"script_pubkey": action["script"], "vsize": vsize},
        send=(
            (
                f"RAW=$({cli} createrawtransaction '{inputs}' "
                f'"[{{\\"{action["from"]}\\":$AMOUNT}}]")'
            ),
            f'{cli} signrawtransactionwithkey $RAW "[\\"$WIF\\"]" \'{json.dumps([spent])}\'',
            f"{cli} sendrawtransaction HEX_OF_THE_ANSWER",
        ),
        look=(),
        notes=(
            (
                f"$AMOUNT is {amount} less the fee: {vsize} vB times the rate of the day "
                f"({cli} estimatesmartfee 6)."
            ),
            f"$WIF is the private key of {action['to']}. {_KEY_NOTE}",
        ),
    )


def _facts(task: Task, outpoint: str, amount_sat: str) -> dict[str, Any]:
    source = bytes.fromhex(task.action["source_script"])
    return {
        "outpoint": outpoint,
        "amount_sat": amount_sat,
        "to": task.action["from"],
        "to_script": source.hex(),
        "dust_sat": dust_sat(source),
        "sequence": SEQUENCE_REPLACEABLE,
    }


def _cli(terms: Mapping[str, Any]) -> str:
    chains = {"mainnet": "main", "testnet3": "test"}
    network = str(terms["network"])
    return f"bitcoin-cli -chain={chains.get(network, network)}"


def _words(outpoint: object) -> str:
    tx_id, _, vout = str(outpoint).partition(":")
    return f"{tx_id} {vout}"
