"""The pure core: a saga's state as a fold of its records, and what to do next.

Nothing in this package knows a network, a clock, a database or a chain; time is an argument.
"""

from coordinator.saga.commands import (
    Act,
    Append,
    Command,
    Decision,
    Deliver,
    Now,
    Prove,
    Send,
    Wait,
)
from coordinator.saga.decide import decide, has_open_claims
from coordinator.saga.fold import IllegalRecord, apply, fold
from coordinator.saga.judge import judge
from coordinator.saga.state import (
    Effort,
    SagaState,
    Step,
    operation_id,
    saga_id32,
)

__all__ = [
    "Act",
    "Append",
    "Command",
    "Decision",
    "Deliver",
    "Effort",
    "IllegalRecord",
    "Now",
    "Prove",
    "SagaState",
    "Send",
    "Step",
    "Wait",
    "apply",
    "decide",
    "fold",
    "has_open_claims",
    "judge",
    "operation_id",
    "saga_id32",
]
