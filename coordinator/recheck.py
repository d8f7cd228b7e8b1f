"""What a journal says of ended sagas, held against the chains as they are today.

Two questions for every final outcome: is its block still in the chain and final (each node is
asked), and does its transaction show there what the journal says (evidence is built anew)?
"""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from adapters.base import Adapter, Direction, Settled
from adapters.errors import AdapterError
from adapters.statement import BlockAsked, BlockSeen, NodeAsked, Statements
from coordinator.adoption import task_of
from coordinator.saga import Effort, SagaState, Step
from coordinator.views import DIRECTIONS
from proofs.caip2 import caip2
from proofs.errors import ProofUnavailable, Refused

__all__ = ["Deviation", "Nodes", "recheck"]

#: Why no evidence could be built although the outcome may well be as the journal says.
_SILENT = frozenset({"malformed_answer", "root_mismatch", "unknown_transaction_type"})


@dataclass(frozen=True, slots=True)
class Deviation:
    """Something that is not as the journal says (``wrong``), or that could not be looked at."""

    saga: str
    step: str
    direction: str
    text: str
    wrong: bool = True


@dataclass(frozen=True, slots=True)
class Nodes:
    """Who is asked: nodes by CAIP-2 name, and how those of a kind of chain are asked."""

    by_chain: Mapping[str, Sequence[NodeAsked]]
    statements_of: Callable[[str], Statements | None]


async def recheck(
    state: SagaState, adapters: Mapping[str, Adapter], nodes: Nodes
) -> AsyncIterator[Deviation]:
    """Yield what deviates of one saga that has ended."""
    for chain in state.chains:
        efforts = list(_outcomes(state, chain))
        if not efforts:
            continue
        if chain not in adapters:
            step, direction, _ = efforts[0]
            text = f"chain {chain} is not open in this configuration: its outcomes were left out"
            yield Deviation(state.saga, step.id, direction, text, wrong=False)
            continue
        async for found in _ask_nodes(state, chain, efforts, nodes):
            yield found
        for step, direction, effort in efforts:
            other = await _proven_anew(state, step, direction, effort, adapters[chain])
            if other is not None:
                yield other


def _outcomes(state: SagaState, chain: str) -> Iterator[tuple[Step, Direction, Effort]]:
    for step in state.steps:
        for name in DIRECTIONS:
            effort = state.effort(step.id, name)
            settled = effort.phase in ("done", "not_done") and effort.tx and effort.block
            if step.chain == chain and settled:
                yield step, name, effort


async def _ask_nodes(
    state: SagaState,
    chain: str,
    efforts: Sequence[tuple[Step, Direction, Effort]],
    nodes: Nodes,
) -> AsyncIterator[Deviation]:
    try:
        where = caip2(state.plan["chains"][chain])
    except Refused:
        return
    statements = nodes.statements_of(where)
    asked = [_block(effort) for _, _, effort in efforts]
    for node in nodes.by_chain.get(where, ()):
        step, direction, _ = efforts[0]
        try:
            assert statements is not None
            answers = await statements.look(node, where, asked)
        except AdapterError as error:
            yield Deviation(state.saga, step.id, direction, f"{node.name}: {error}", wrong=False)
            continue
        for (step, direction, effort), seen in zip(efforts, answers, strict=True):
            if seen.verdict != "final":
                yield Deviation(state.saga, step.id, direction, _told(chain, node, effort, seen))


def _block(effort: Effort) -> BlockAsked:
    return BlockAsked(str(effort.block).removeprefix("0x"), effort.height)


def _told(chain: str, node: NodeAsked, effort: Effort, seen: BlockSeen) -> str:
    words = {
        "waiting": "is not final any more",
        "other": "is not in its chain",
        "absent": "is gone",
    }
    return (
        f"{chain}: node {node.name}: block {effort.height} {effort.block} {words[seen.verdict]} "
        f"({seen.detail})"
    )


async def _proven_anew(
    state: SagaState, step: Step, direction: Direction, effort: Effort, adapter: Adapter
) -> Deviation | None:
    """Build the evidence of an outcome anew; None where it is as the journal says."""
    done = effort.phase == "done"
    settled = Settled(str(effort.tx), str(effort.block), effort.height, done, effort.facts)
    where = f"tx {effort.tx} in block {effort.height}"
    try:
        await adapter.prove(task_of(state, step, direction), settled)
    except ProofUnavailable as error:
        text = f"{where}: {error.reason}: {error.detail}"
        wrong = error.reason not in _SILENT
        return Deviation(state.saga, step.id, direction, text, wrong=wrong)
    except AdapterError as error:
        text = f"{where} could not be looked at: {error}"
        return Deviation(state.saga, step.id, direction, text, wrong=False)
    return None
