"""What is asked of nodes, counted at the one door to them."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from adapters.rpc import JsonRpc

__all__ = ["Questions", "asked"]


class Questions:
    """How many requests went to nodes, and how many calls of each method were in them."""

    def __init__(self) -> None:
        self.requests = 0
        self.methods: Counter[str] = Counter()

    @property
    def calls(self) -> int:
        """All calls."""
        return self.methods.total()

    def each(self, sagas: int) -> dict[str, float]:
        """Return the calls of each method per saga, the most frequent first."""
        return {name: round(n / sagas, 2) for name, n in self.methods.most_common()}

    def saw(self, body: Any) -> None:
        """Count one request."""
        self.requests += 1
        calls: list[Mapping[str, Any]] = body if isinstance(body, list) else [body]
        self.methods.update(str(call["method"]) for call in calls)


@contextmanager
def asked() -> Iterator[Questions]:
    """Count what goes through the door while the block lasts."""
    found, real = Questions(), JsonRpc._post

    async def post(self: JsonRpc, body: Any) -> Any:
        found.saw(body)
        return await real(self, body)

    JsonRpc._post = post  # type: ignore[method-assign]
    try:
        yield found
    finally:
        JsonRpc._post = real  # type: ignore[method-assign]
