"""Proving: evidence of final outcomes, built beside the sagas and never in their way.

Losing what is under way loses nothing: whoever folds the saga next asks again.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from adapters.base import Proof, Settled, Task
from adapters.errors import Transient
from coordinator.journal.base import Entry
from coordinator.saga import Prove, SagaState
from coordinator.saga.evidence import proved, required, unproved
from coordinator.saga.table import ENDS
from proofs.errors import ProofUnavailable

if TYPE_CHECKING:
    from coordinator.live import Live
    from coordinator.runner import Runner

__all__ = ["Got", "Proving"]

#: Proofs under way at once: more would only make nodes slow for what matters.
_AT_ONCE: Final = 8
#: For so long a process asks again when nodes do not answer, before it says so.
_PATIENCE_MS: Final = 30_000
_PAUSE_MS_MIN: Final = 250
_PAUSE_MS_MAX: Final = 5_000
#: A required proof that was refused is asked for again this often, until the deadline.
_AGAIN_MS: Final = 2_000
#: Longest explanation that a record keeps.
_DETAIL: Final = 300

#: (step, direction)
Key = tuple[str, str]
Prover = Callable[[Task, Settled], Awaitable[tuple[Proof, ...]]]


class Got(Struct, frozen=True):
    """What asking came to: the proofs, or why there are none; of the outcome (tx, block)."""

    outcome: tuple[str | None, str | None]
    proofs: tuple[Proof, ...] = ()
    reason: str = ""
    detail: str = ""


class Proving:
    """Asks adapters for evidence, some at a time, and wakes the saga when there is an answer."""

    def __init__(self, runner: "Runner") -> None:
        self._runner = runner
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._tasks: dict[tuple[str, Key], asyncio.Task[None]] = {}
        #: the outcome (tx, block) that each of these asks about.
        self._asked: dict[tuple[str, Key], tuple[str, str]] = {}
        self._never = asyncio.Event()

    def start(self, live: "Live", state: SagaState, command: Prove) -> None:
        """Ask for evidence, unless somebody does already or it was refused a moment ago."""
        key = (command.step.id, command.direction)
        at = (state.saga, key)
        effort = state.effort(*key)
        if effort.phase not in ("done", "not_done") or effort.tx is None or effort.block is None:
            return  # only what is durable is proved
        outcome = (effort.tx, effort.block)
        if at in self._tasks and self._asked[at] != outcome:
            # Its block was replaced: what nobody has any more need not be waited for.
            self._tasks.pop(at).cancel()
        held = live.due(("prove", *key), self._runner.clock.now_ms())
        if at in self._tasks or key in live.proofs or not held:
            return
        asked = live.asking.of(state, live.state, command.step, command.direction)
        task = replace(asked.task, preimage=None)  # evidence needs no secret (R9)
        done = effort.phase == "done"
        settled = Settled(effort.tx, effort.block, effort.height, done, effort.facts)
        adapter = self._runner.adapters[command.step.chain]

        async def ask() -> None:
            try:
                async with self._slots:
                    live.proofs[key] = await self._ask(adapter.prove, task, settled)
            except asyncio.CancelledError:
                raise
            except BaseException as error:  # noqa: BLE001 - nobody awaits this task
                self._runner.fail(error)
            finally:
                if self._tasks.get(at) is asyncio.current_task():
                    del self._tasks[at], self._asked[at]
            self._runner.wake(state.saga)

        self._asked[at] = outcome
        self._tasks[at] = asyncio.create_task(ask(), name=f"prove {command.step.id}")

    async def _ask(self, prove: Prover, task: Task, settled: Settled) -> Got:
        """Ask until there is an answer, or nobody has answered for long enough."""
        outcome = (settled.tx_id, settled.block_hash)
        give_up_ms = self._runner.clock.now_ms() + _PATIENCE_MS
        pause_ms = _PAUSE_MS_MIN
        while True:
            try:
                return Got(outcome, await prove(task, settled))
            except ProofUnavailable as none:
                return Got(outcome, (), none.reason, none.detail[:_DETAIL])
            except Transient as away:
                now_ms = self._runner.clock.now_ms()
                if now_ms >= give_up_ms:
                    return Got(outcome, (), "unreachable", str(away)[:_DETAIL])
                await self._runner.clock.sleep_until(now_ms + pause_ms, self._never)
                pause_ms = min(2 * pause_ms, _PAUSE_MS_MAX)
            except Exception as bug:  # noqa: BLE001 - evidence must never stop what it is about
                return Got(outcome, (), "internal", f"{type(bug).__name__}: {bug}"[:_DETAIL])

    def take(self, live: "Live", state: SagaState) -> tuple[list[Entry], list[bytes]]:
        """Return the records that answers so far call for, and the bytes of their proofs.

        An answer about an outcome that is no longer the present one is dropped.
        """
        entries: list[Entry] = []
        bodies: list[bytes] = []
        answers, live.proofs = live.proofs, {}
        if state.state in ENDS:
            return entries, bodies  # no record of evidence follows a saga's last
        for key, got in answers.items():
            effort, step = state.effort(*key), state.step(key[0])
            if effort.phase not in ("done", "not_done") or effort.proof == "proved":
                continue
            if got.outcome != (effort.tx, effort.block):
                continue
            if got.proofs:
                named = [
                    {"kind": proof.kind, "sha256": hashlib.sha256(proof.body).hexdigest()}
                    for proof in got.proofs
                ]
                entries.append(proved(step, key[1], effort, named))
                bodies += [proof.body for proof in got.proofs]
                live.retries.pop(("prove", *key), None)
                continue
            if key[1] == "forward" and required(state, step):
                # It may come yet: asked for again until the deadline.
                tries, _ = live.retries.get(("prove", *key), (0, 0))
                again_ms = self._runner.clock.now_ms() + _AGAIN_MS
                live.retries["prove", *key] = (tries + 1, again_ms)
                if got.reason == "unreachable":
                    continue
            if not effort.proof:
                entries.append(unproved(step, key[1], effort, got.reason, got.detail))
        return entries, bodies

    def forget(self, saga: str) -> None:
        """Stop asking for ``saga``: it has ended, or another process drives it."""
        for at in [at for at in self._tasks if at[0] == saga]:
            self._tasks[at].cancel()

    def stop(self) -> list[asyncio.Task[None]]:
        """Stop asking at all; return what is being stopped."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        return tasks
