"""What the adapter takes for an effect is what its evidence shows, and nothing else.

The two share no code: the adapter compares what a node tells with the task, the verifier proves
what the transaction did and compares that with the lock file. Here both judge the same blocks.
"""

import random
from typing import Any

import pytest

from adapters.base import Task
from adapters.evm.actions import effect_of
from adapters.evm.blocks import OPERATION, Header, Landed, Operation
from adapters.evm.blocks import Log as SeenLog
from adapters.evm.effects import OperationEffect, TransactionEffect
from adapters.evm.values import checksum
from proofs.evm_inclusion import verify_receipt
from proofs.step_evm_action import effect_of as proven_effect_of
from proofs.step_evm_effects import absent
from tests.unit.evm_block_scene import log_of
from tests.unit.evm_step_scene import (
    AMOUNT,
    CASES,
    CONTEXT,
    OP_ID,
    OTHER,
    PAYEE,
    SAGA,
    SENDER,
    Case,
    erc20_log,
    event_of,
    sent,
    set_log,
)

_HEADER = Header(100, "0x", "0x", 0, 0)


def task_of(case: Case) -> Task:
    context = CONTEXT
    return Task(
        saga="s",
        step="s",
        direction=case.direction,  # type: ignore[arg-type]
        generation=1,
        action={**case.action, "gas": dict.fromkeys(("forward", "confirm", "undo"), "100000")},
        op_id=OP_ID,
        saga_id32=SAGA,
        deadline_s=context.deadline_s,
        expiry=context.expiry,
        forward=context.forward,
        hashlock=context.hashlock,
    )


def seen(case: Case, logs: list[dict[str, Any]], status: int, sent_fields: Any) -> bool:
    """Whether the adapter takes it for the effect."""
    effect = effect_of(task_of(case))
    facts = verify_receipt(sent_fields.proofs[0])
    noted = tuple(
        SeenLog(checksum(log["address"]), tuple(log["topics"]), log["data"]) for log in logs
    )
    if isinstance(effect, TransactionEffect):
        to = None if facts.to is None else checksum(f"0x{facts.to.hex()}")
        return effect.carried_by(
            Landed(
                "0x", checksum(f"0x{SENDER.hex()}"), 0, to, facts.value_wei,
                f"0x{facts.data.hex()}", status == 1, 0, 0, 0, noted, _HEADER,
            )
        )  # fmt: skip
    assert isinstance(effect, OperationEffect)
    operations = [operation_of(log) for log in noted] if status else []
    return any(found is not None and effect.shown_by(found) for found in operations)


def operation_of(log: SeenLog) -> Operation | None:
    values = OPERATION.values(log.topics, log.data)
    if values is None:
        return None
    group, op_id, status, kind, asset, amount, params_hash = values
    return Operation(
        log.address, group, op_id[2:], int(status), int(kind), asset, int(amount),
        params_hash[2:], "0x", 0, _HEADER,
    )  # fmt: skip


def some_logs(case: Case, chance: random.Random) -> list[dict[str, Any]]:
    """The right logs, other ones, and right ones with something changed."""
    logs = list(case.logs) if chance.random() < 0.8 else []
    if chance.random() < 0.5:
        name, amount = chance.choice(("Transfer", "Approval")), chance.choice((AMOUNT, 77, 1))
        first, second = chance.sample((SENDER, PAYEE, OTHER), 2)
        logs.append(erc20_log(name, first, second, amount))
    if chance.random() < 0.2:
        logs.append(set_log(words=chance.choice((("seven", 7), ("seven", 8), ("x", 7)))))
    if case.action["kind"] in {"lock", "hold", "mint"} and chance.random() < 0.5:
        logs.append(log_of(event_of(case.action, chance.randint(1, 4))))
    chance.shuffle(logs)
    return [changed(log, chance) if chance.random() < 0.3 else log for log in logs]


def changed(log: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    def nibble(text: str) -> str:
        if len(text) < 3:
            return text
        at = chance.randrange(2, len(text))
        return text[:at] + chance.choice("01f") + text[at + 1 :]

    topics = list(log["topics"])
    match chance.randrange(5):
        case 0:
            return {**log, "address": nibble(log["address"])}
        case 1:
            at = chance.randrange(len(topics))
            return {**log, "topics": [*topics[:at], nibble(topics[at]), *topics[at + 1 :]]}
        case 2:
            return {**log, "data": nibble(log["data"])}
        case 3:
            return {**log, "topics": topics[: chance.randrange(len(topics))]}
        case _:
            return {**log, "data": log["data"][: 2 + 64 * chance.randrange(4)]}


@pytest.mark.parametrize("name", list(CASES))
def test_adapter_and_verifier_judge_every_transaction_alike(name: str) -> None:
    case = CASES[name]
    verdicts = set()
    for seed in range(40):
        chance = random.Random(f"{name}/{seed}")
        logs, status = some_logs(case, chance), int(chance.random() < 0.9)
        transaction = dict(case.transaction)
        if chance.random() < 0.3:
            transaction |= chance.choice(
                ({"value": 1}, {"data": "0x"}, {"to": checksum(f"0x{OTHER.hex()}")})
            )
        given = sent(case.action, case.direction, logs, status=status, **transaction)
        effect = proven_effect_of(given.action, given.direction, given.op_id, given.saga, CONTEXT)
        shown = absent(effect, verify_receipt(given.proofs[0])) is None

        assert seen(case, logs, status, given) == shown, f"{name}, seed {seed}"
        verdicts.add(shown)
    assert verdicts == {True, False}
