"""The faults that were set on a node, and what it said before: the inside of `fault_proxy`."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

__all__ = ["AFTER", "ANY", "BEFORE", "OF_A_CALL", "Call", "Fault", "FaultTable", "Hit", "Transform"]

#: For `FaultTable.set`: whatever is called.
ANY: Final = "*"
#: What happens to one call of a request.
OF_A_CALL: Final = frozenset({"error", "wrong_id", "forged", "stale", "frozen"})
#: What happens to a request before the node sees it, and after it has answered.
BEFORE: Final = frozenset({"http_500", "http_503", "http_429", "hang", "kill"})
AFTER: Final = frozenset({"lost_reply", "truncated", "kill_after"})

#: These wait for a call that they can answer otherwise than the node.
_PATIENT: Final = frozenset({"stale", "frozen"})
#: Answers that are kept for them.
_KEPT: Final = 20_000

Call: TypeAlias = dict[str, Any]
Transform: TypeAlias = Callable[[Any], Any]


@dataclass
class Fault:
    """One fault that was set; ``seen`` counts the calls of its method from then on."""

    method: str
    way: str
    first: int
    times: int | None
    transform: Transform | None
    run: Callable[[], None] | None
    known: Mapping[str, Any]
    seen: int = 0
    fired: int = 0

    @property
    def is_spent(self) -> bool:
        return self.times is not None and self.fired >= self.times


@dataclass
class Hit:
    """A fault that is due at a call."""

    fault: Fault
    call: Call


class FaultTable:
    """Faults, counters and answers of one node; set and read from any thread.

    Args:
        error: code and message of the way ``error``.

    Attributes:
        calls: method → calls that came.
        fired: (method, way) → faults that took effect.
    """

    def __init__(self, error: tuple[int, str]) -> None:
        self.calls: Counter[str] = Counter()
        self.fired: Counter[tuple[str, str]] = Counter()
        self._error = error
        self._faults: list[Fault] = []
        #: question → its last answer, and the one before it that differed.
        self._last: dict[str, Any] = {}
        self._former: dict[str, Any] = {}
        self._lock = threading.Lock()

    def set(
        self,
        method: str,
        way: str,
        first: int,
        times: int | None,
        transform: Transform | None,
        run: Callable[[], None] | None,
    ) -> None:
        """Add a fault; see `fault_proxy.FaultProxy.on`."""
        if (way == "forged") != (transform is not None):
            raise ValueError("forged needs a transform, others take none")
        if way.startswith("kill") != (run is not None):
            raise ValueError("kill and kill_after need something to run, others take none")
        with self._lock:
            known = dict(self._last) if way == "frozen" else {}
            self._faults.append(Fault(method, way, first, times, transform, run, known))

    def clear(self) -> None:
        """Take every fault back."""
        with self._lock:
            self._faults.clear()

    def forget(self) -> None:
        """Forget every answer."""
        with self._lock:
            self._last.clear()
            self._former.clear()

    def due(self, calls: list[Call]) -> list[Hit]:
        """Count the calls, and tell which faults are due at which."""
        hits = []
        with self._lock:
            for call in calls:
                self.calls[call["method"]] += 1
                for fault in self._faults:
                    if fault.method in {ANY, call["method"]}:
                        fault.seen += 1
                        if fault.seen >= fault.first and not fault.is_spent:
                            hits.append(Hit(fault, call))
                            fault.fired += fault.way not in _PATIENT
        return hits

    def count(self, hit: Hit) -> None:
        """It took effect."""
        with self._lock:
            self.fired[hit.call["method"], hit.fault.way] += 1
            hit.fault.fired += hit.fault.way in _PATIENT

    def edited(self, asked: Any, hits: list[Hit], body: bytes) -> bytes:
        """Keep a node's answers in mind; return them with the faults of single calls."""
        try:
            answered = json.loads(body)
        except ValueError:
            return body  # the node's own trouble: plain text
        replies = answered if isinstance(answered, list) else [answered]
        by_id = {reply.get("id"): reply for reply in replies if isinstance(reply, dict)}
        touched = False
        calls: list[Call] = asked if isinstance(asked, list) else [asked]
        for call in calls:
            name = call.get("id")
            if "result" in by_id.get(name, {}) and by_id[name].get("error") is None:
                self._remember(call, by_id[name]["result"])
            for hit in hits:
                if hit.call is call and hit.fault.way in OF_A_CALL:
                    other = self._falsified(hit, by_id.get(name))
                    if other is not None:
                        self.count(hit)
                        by_id[name], touched = other, True
        if not touched:
            return body
        edited = [by_id[call.get("id")] for call in calls if call.get("id") in by_id]
        return json.dumps(edited if isinstance(asked, list) else edited[0]).encode()

    def _remember(self, call: Call, result: Any) -> None:
        question = _question(call)
        with self._lock:
            if question in self._last and self._last[question] != result:
                self._former[question] = self._last[question]
            self._last[question] = result
            for answers in (self._last, self._former):
                if len(answers) > _KEPT:
                    del answers[next(iter(answers))]

    def _falsified(self, hit: Hit, reply: Call | None) -> Call | None:
        """Return another reply; None if this fault has none to give."""
        fault, call = hit.fault, hit.call
        if fault.way == "error":
            code, message = self._error
            error = {"code": code, "message": message}
            return {"jsonrpc": "2.0", "id": call.get("id"), "error": error}
        if reply is None or "result" not in reply or reply.get("error") is not None:
            return None  # the node refused the call: there is no answer to falsify
        if fault.way == "wrong_id":
            return {**reply, "id": -1}
        if fault.transform is not None:
            return {**reply, "result": fault.transform(reply["result"])}
        source = self._former if fault.way == "stale" else fault.known
        question = _question(call)
        if question not in source or source[question] == reply["result"]:
            return None
        return {**reply, "result": source[question]}


def _question(call: Call) -> str:
    return json.dumps([call["method"], call.get("params", [])], sort_keys=True)
