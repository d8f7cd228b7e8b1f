"""Calls of one moment, sent to a node as one request.

A block wakes many sagas at once, and all of them ask the same node, often the same question. What
is asked in one turn of the event loop goes out as one batch (JSON-RPC 2.0, section 6), each
question in it once; every asker gets the answer to its own. Sends travel apart from reads and
never twice.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from adapters.errors import Ambiguous, Transient
from adapters.rpc import JsonRpc, RpcError

__all__ = ["Gathering", "Judge"]

#: Most calls in one request; providers allow between some tens and a thousand.
_CALLS_MAX: Final = 64
#: After so many requests of the greatest length that a node takes, one more call is tried.
_TRY_MORE: Final = 32
#: Requests under way at once: what comes while so many are is gathered until one is back. A few
#: connections of the door are left to whoever reads blocks.
_READS_AT_ONCE: Final = 4
_SENDS_AT_ONCE: Final = 2

Call = tuple[str, Sequence[Any]]
#: Makes of a method, its parameters and its answer what the askers get.
Judge = Callable[[str, Sequence[Any], Any], Any]


def _as_told(_method: str, _params: Sequence[Any], answer: Any) -> Any:
    return answer


class Gathering:
    """What is asked of one node, gathered.

    Args:
        rpc: the door to it; closed by whoever opened it.
        judge: sees the answer to each read once, however many wait for it; what it returns instead
            may be `Transient`.
    """

    def __init__(self, rpc: JsonRpc, judge: Judge = _as_told) -> None:
        self._rpc = rpc
        size = _Size()
        self._reads = _Lane(rpc, size, _READS_AT_ONCE, judge)
        self._sends = _Lane(rpc, size, _SENDS_AT_ONCE)

    async def close(self) -> None:
        """End what is under way; whoever waits for it gets `Transient`."""
        await self._reads.close()
        await self._sends.close()

    async def call(self, method: str, params: Sequence[Any] = ()) -> Any:
        """Return the result of one read; see `JsonRpc.call`."""
        (answer,) = await self.batch([(method, params)])
        if isinstance(answer, RpcError):
            raise answer
        return answer

    async def batch(self, calls: Sequence[Call]) -> list[Any]:
        """Return the results of several reads, in their order; see `JsonRpc.batch`. What others ask
        beside them, and get for it, has no part in the result.

        Raises:
            RpcError: the node refuses every batch, however short.
            Transient: no valid answer came, or one of the answers means "busy".
        """
        if not calls:
            return []
        answers = await self._reads.ask(calls)
        for answer in answers:
            if isinstance(answer, Transient):
                raise answer
        return answers

    async def send(self, method: str, params: Sequence[Any] = ()) -> Any:
        """Return the result of a call that changes something; see `JsonRpc.send`."""
        (answer,) = await self._sends.ask([(method, params)])
        if isinstance(answer, Transient):
            reason = f"{method}: {answer}; it may have arrived all the same"
            raise Ambiguous(reason) from answer
        if isinstance(answer, RpcError):
            raise answer
        return answer


class _Size:
    """How many calls a request may hold, as far as the node has shown."""

    def __init__(self) -> None:
        self.calls = _CALLS_MAX
        self._taken = 0

    def refused(self, calls: int) -> None:
        """It does not take so many."""
        self.calls, self._taken = max(1, min(self.calls, calls // 2)), 0

    def took(self, calls: int) -> None:
        """It took so many; one that takes more by now is found out in time."""
        self._taken += calls >= self.calls
        if self._taken >= _TRY_MORE:
            self.calls, self._taken = min(_CALLS_MAX, self.calls + 1), 0


class _Asker:
    """One caller's calls, and what came back for them."""

    __slots__ = ("answers", "done", "left")

    def __init__(self, calls: int) -> None:
        self.answers: list[Any] = [None] * calls
        self.left = calls
        self.done: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()

    def take(self, at: int, answer: Any) -> None:
        self.answers[at] = answer
        self.left -= 1
        if not self.left and not self.done.done():
            self.done.set_result(self.answers)

    def fail(self, bug: BaseException) -> None:
        if not self.done.done():
            self.done.set_exception(bug)


class _Question:
    """One call, and whose it is."""

    __slots__ = ("askers", "call")

    def __init__(self, call: Call) -> None:
        self.call = call
        self.askers: list[tuple[_Asker, int]] = []

    @property
    def wanted(self) -> bool:
        """Whether anybody still waits for the answer."""
        return any(not asker.done.done() for asker, _ in self.askers)

    def answer(self, answer: Any) -> None:
        for asker, at in self.askers:
            asker.take(at, answer)

    def fail(self, bug: BaseException) -> None:
        for asker, _ in self.askers:
            asker.fail(bug)


class _Lane:
    """Questions that may travel together.

    Args:
        size: shared with other lanes to the same node.
        at_once: how many requests may be under way.
        judge: given for reads: equal ones are asked once, and again where the node refused a whole
            request.
    """

    def __init__(self, rpc: JsonRpc, size: _Size, at_once: int, judge: Judge | None = None) -> None:
        self._rpc = rpc
        self._size = size
        self._at_once = at_once
        self._judge = judge
        self._waiting: list[_Question] = []
        self._known: dict[tuple[str, bytes], _Question] = {}
        self._is_due = False
        self._under_way: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Give up what waits and what is under way."""
        tasks = list(self._under_way)
        for task in tasks:
            task.cancel()
        waiting, self._waiting = self._waiting, []
        self._known.clear()
        self._give_up(waiting)
        await asyncio.gather(*tasks, return_exceptions=True)

    async def ask(self, calls: Sequence[Call]) -> list[Any]:
        """Return for each call its result, its `RpcError` or why there is none (`Transient`)."""
        asker = _Asker(len(calls))
        for at, call in enumerate(calls):
            self._question(call).askers.append((asker, at))
        self._look_soon()
        return await asker.done

    def _question(self, call: Call) -> _Question:
        if self._judge is None:
            self._waiting.append(_Question(call))
            return self._waiting[-1]
        method, params = call
        key = (method, msgspec.json.encode(params))
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = _Question(call)
            self._waiting.append(known)
        return known

    def _look_soon(self) -> None:
        """Send once everybody who was woken together has asked."""
        if not self._is_due and len(self._under_way) < self._at_once:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._send_out)

    def _send_out(self) -> None:
        self._is_due = False
        # From here on an equal question is a new one: its answer has to be younger than it.
        self._known.clear()
        self._waiting = [question for question in self._waiting if question.wanted]
        while self._waiting and len(self._under_way) < self._at_once:
            part = self._waiting[: self._size.calls]
            del self._waiting[: len(part)]
            task = asyncio.create_task(self._exchange(part))
            self._under_way.add(task)
            task.add_done_callback(self._back)

    def _back(self, task: "asyncio.Task[None]") -> None:
        self._under_way.discard(task)
        if self._waiting:
            self._look_soon()

    async def _exchange(self, part: list[_Question]) -> None:
        """Put questions to the node in one request and hand out the answers, in their order."""
        try:
            answers = await self._answers([question.call for question in part])
        except RpcError as refused:
            self._size.refused(len(part))
            if self._judge is not None and len(part) > 1:
                self._waiting[:0] = part
                return
            answers = [refused] * len(part)
        except Transient as trouble:
            answers = [trouble] * len(part)
        except asyncio.CancelledError:
            self._give_up(part)
            raise
        except BaseException as bug:  # noqa: BLE001 - for those who wait, nobody awaits this task
            for question in part:
                question.fail(bug)
            return
        else:
            self._size.took(len(part))
        for question, answer in zip(part, answers, strict=True):
            question.answer(answer)

    async def _answers(self, calls: Sequence[Call]) -> list[Any]:
        if len(calls) > 1:
            answers = await self._rpc.outcomes(calls)
        else:
            try:  # what can be had without a batch is asked without one
                answers = [await self._rpc.call(*calls[0])]
            except RpcError as refused:
                answers = [refused]
        judge = self._judge
        if judge is None:
            return answers
        return [
            answer if isinstance(answer, Transient) else judge(*call, answer)
            for call, answer in zip(calls, answers, strict=True)
        ]

    def _give_up(self, questions: Sequence[_Question]) -> None:
        trouble = Transient(f"the connection to {self._rpc.label} was closed here")
        for question in questions:
            question.answer(trouble)
