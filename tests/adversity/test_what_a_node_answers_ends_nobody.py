"""Each method that an adapter reads with is refused, or answered with nonsense, under every call of
the protocol: what comes of it is one of the adapter's own errors, or nothing at all.

Anything else that an adapter raises is taken for a defect and ends the whole process. By default
each method is answered in two of the ways; ADVERSITY_ALL=1 is all of them.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import pytest

from adapters.base import Attempt, Settled, StepSpec
from adapters.bitcoin import asking as bitcoin_asking
from adapters.bitcoin import holdings as bitcoin_holdings
from adapters.bitcoin import nodes as bitcoin_nodes
from adapters.errors import AdapterError
from adapters.evm import nodes as evm_nodes
from adapters.evm import observing as evm_observing
from adapters.evm import survey as evm_survey
from adapters.retry import Patience, reading
from proofs.errors import ProofUnavailable
from tests.adversity.dealing import everything
from tests.e2e import bitcoin_scene, evm_scene
from tests.e2e.node_between import Refusal, between

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from pathlib import Path

    from adapters.base import Adapter, BlockEvent
    from tests.conftest import BitcoindFactory
    from tests.e2e.node_between import Between

    Work = Callable[[], Awaitable[Any]]

pytestmark = pytest.mark.timeout(1200 if everything() else 300)

#: General errors of Geth and of JSON-RPC, "limit exceeded", and what bitcoind says of a pruned
#: block, of what it does not find, of a parameter that it does not take.
CODES: Final = (-32000, -32603, -32005, -1, -5, -8)
NONSENSE: Final[tuple[Any, ...]] = (None, 7, "", "0xzz", "-0x5", "0x" + "f" * 80, [None], {})
#: For three nodes, where there is more to go wrong.
SAMPLE: Final[tuple[Any, ...]] = (Refusal(-32000), None, {})
#: So long a follower is watched with each answer.
WATCHED_S: Final = 0.05


@pytest.fixture(autouse=True)
def _once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A read is not repeated: what it is answered does not change here."""
    once = Patience(attempts=1)
    monkeypatch.setattr(evm_nodes, "_PATIENCE", once)
    monkeypatch.setattr(evm_observing, "reading", partial(reading, patience=once))
    for module in (bitcoin_asking, bitcoin_holdings, bitcoin_nodes):
        monkeypatch.setattr(module, "reading", partial(reading, patience=once))
    monkeypatch.setattr(evm_survey, "reading", partial(reading, patience=once))


@dataclass
class Harm:
    """What is answered instead of the truth, wherever ``method`` is called."""

    method: str
    answer: Any

    def edit(self, method: str, _params: list[Any], result: Any) -> Any:
        return self.answer if method == self.method else result


async def expect_only_own_errors(
    node: Between, works: Mapping[str, Work], answers: tuple[Any, ...]
) -> None:
    """Do all of ``works`` once, then again with answers to each method that was asked."""
    node.asked.clear()
    for work in works.values():
        await work()
    methods = sorted(set(node.asked))
    escaped: list[str] = []
    for at, method in enumerate(methods):
        some = (answers[at % len(answers)], answers[(at + len(answers) // 2) % len(answers)])
        for answer in answers if everything() else some:
            node.edit = Harm(method, answer).edit
            for name, work in works.items():
                try:
                    await work()
                except (AdapterError, ProofUnavailable):
                    pass
                except Exception as error:  # noqa: BLE001 - all of them are told together
                    escaped.append(f"{name}, {method} answered with {answer!r:.40}: {error!r}")
    assert not escaped, "\n".join(escaped)
    assert len(methods) > 5, methods


async def followed(events: AsyncIterator[BlockEvent]) -> None:
    """Follow a chain for a moment; trouble is waited for, anything else is raised."""
    try:
        async with asyncio.timeout(WATCHED_S), aclosing(events):  # type: ignore[type-var]
            async for _ in events:
                pass
    except TimeoutError:
        pass


# ------------------------------------------------------------ EVM


async def evm_works(scene: evm_scene.EvmScene, fresh: Callable[[], Adapter]) -> dict[str, Work]:
    """Every call of the protocol, on a chain where each has something to say."""
    adapter = scene.adapter
    params = {"vault": "Vault", "amount": {"asset": "ALZ", "value": "10"}}
    locked = await scene.resolve("lock", params)
    done = scene.task(locked)
    found, attempt = await scene.perform(done)
    settled = Settled(found.tx_id, found.block_hash, found.height, True, found.facts)
    scene.serial += 1
    task = scene.task(locked)
    allowed = {"spender": "Vault", "amount": {"asset": "ALZ", "value": "7"}}
    allowance = scene.task(await scene.resolve("approve", allowed))
    _, unsent = await scene.attempt(task)
    spec = StepSpec("step", "polygon", "lock", params, deadline_s=3600)
    treasury = scene.account("treasury")
    raw, _ = await scene.attempt(allowance)

    async def opened() -> None:
        other = fresh()
        try:
            await other.open()
            await other.cover(max(0, found.height - 3))
            await followed(other.follow(found.height))
        finally:
            await other.close()

    async def surveyed() -> None:
        surveyor = adapter.surveyor()
        surveyor.name_of(done)
        await surveyor.waiting()
        await surveyor.height_at(scene.chain.now())
        await surveyor.survey(found.height)

    def prepared(purpose: Any, former: list[Attempt], of: Any = task) -> Work:
        return lambda: adapter.prepare(of, purpose, evm_scene.Book(), former)

    return {
        "open, cover and follow": opened,
        "survey": surveyed,
        "resolve": lambda: adapter.resolve(spec),
        "simulate": lambda: adapter.simulate(locked),
        "preflight": lambda: adapter.preflight(task),
        "prepare": prepared("effect", []),
        "prepare an approval": prepared("effect", [], allowance),
        "prepare a burn": prepared("burn", [unsent]),
        "prepare a tombstone": prepared("tombstone", [unsent]),
        "fill": lambda: adapter.fill(treasury, 10_000),
        "unused": lambda: adapter.unused(treasury),
        "submit": lambda: adapter.submit(raw.tx_id, raw.raw),
        "observe": lambda: adapter.observe(done, [attempt]),
        "prove": lambda: adapter.prove(done, settled),
        "balance": lambda: adapter.balance(treasury, "POL"),
        "balance of a token": lambda: adapter.balance(treasury, "ALZ"),
        "health": adapter.health,
    }


@pytest.mark.parametrize(
    ("nodes", "answers"),
    [(1, tuple(map(Refusal, CODES))), (1, NONSENSE), (3, SAMPLE)],
    ids=["refusals", "nonsense", "three nodes"],
)
def test_what_an_evm_node_answers_ends_nobody(
    stage: evm_scene.Deployment, nodes: int, answers: tuple[Any, ...]
) -> None:
    """With three names of the node all of them answer alike."""

    async def whole() -> None:
        async with AsyncExitStack() as stack:
            node = await stack.enter_async_context(between(stage.node.url))
            urls = [f"{node.url}/{at}" for at in range(nodes)]
            scene = await stack.enter_async_context(
                evm_scene.evm_scene(stage, rpc=urls, timeout_ms=2000)
            )
            works = await evm_works(scene, lambda: stage.adapter(rpc=urls, timeout_ms=2000))
            await expect_only_own_errors(node, works, answers)

    asyncio.run(whole())


# ------------------------------------------------------------ Bitcoin


async def bitcoin_works(
    stage: bitcoin_scene.Scene, fresh: Callable[[], Adapter]
) -> dict[str, Work]:
    """Every call of the protocol, on a chain where each has something to say."""
    adapter = stage.adapter
    paid = await stage.effort("transfer", amount=bitcoin_scene.btc("1"), to="cold")
    found = await stage.done(paid)
    settled = Settled(found.tx_id, found.block_hash, found.height, True, found.facts)
    undo = bitcoin_scene.undo_of(paid, found)
    unsent = await stage.effort("transfer", amount=bitcoin_scene.btc("2"), to="cold")
    raw = await stage.prepare(unsent)
    resolved = await stage.resolve("transfer", amount=bitcoin_scene.btc("1"), to="cold")
    params = {"amount": bitcoin_scene.btc("1"), "to": "cold"}
    spec = StepSpec("step", "bitcoin", "transfer", params)
    treasury = bitcoin_scene.address("treasury")

    async def opened() -> None:
        other = fresh()
        try:
            await other.open()
            await other.cover(max(0, found.height - 3))
            await followed(other.follow(found.height))
            await other.observe(paid.task, paid.attempts)
        finally:
            await other.close()

    async def prepared_anew() -> None:
        """Coins that were found by a scan, not in blocks."""
        other = fresh()
        try:
            await other.open()
            await other.prepare(unsent.task, "effect", bitcoin_scene.Book(), [])
        finally:
            await other.close()

    async def surveyed() -> None:
        surveyor = adapter.surveyor()
        surveyor.name_of(paid.task)
        await surveyor.waiting()
        await surveyor.height_at(2**31)
        await surveyor.survey(found.height)

    def prepared(purpose: Any, of: bitcoin_scene.Effort, former: list[Attempt]) -> Work:
        return lambda: adapter.prepare(of.task, purpose, bitcoin_scene.Book(), former)

    return {
        "open, cover and follow": opened,
        "survey": surveyed,
        "resolve": lambda: adapter.resolve(spec),
        "simulate": lambda: adapter.simulate(resolved),
        "choose coins": lambda: adapter.choose_coins(resolved.action, bitcoin_scene.Book()),
        "preflight": lambda: adapter.preflight(unsent.task),
        "prepare": prepared("effect", unsent, []),
        "prepare at once": prepared_anew,
        "prepare a replacement": prepared("effect", unsent, unsent.attempts),
        "prepare a burn": prepared("burn", unsent, unsent.attempts),
        "prepare an undo": prepared("effect", undo, []),
        "submit": lambda: adapter.submit(raw.tx_id, raw.raw),
        "observe": lambda: adapter.observe(paid.task, paid.attempts),
        "prove": lambda: adapter.prove(paid.task, settled),
        "balance": lambda: adapter.balance(treasury, "BTC"),
        "health": adapter.health,
    }


@pytest.mark.parametrize(
    ("nodes", "answers"),
    [(1, tuple(map(Refusal, CODES))), (1, NONSENSE), (3, SAMPLE)],
    ids=["refusals", "nonsense", "three nodes"],
)
def test_what_a_bitcoin_node_answers_ends_nobody(
    bitcoind: BitcoindFactory, tmp_path: Path, nodes: int, answers: tuple[Any, ...]
) -> None:
    """With three names of the node all of them answer alike."""

    async def whole() -> None:
        async with AsyncExitStack() as stack:
            node = bitcoind()
            credentials = node.cookie_path.read_text(encoding="ascii").strip()
            upstream = node.url.replace("://", f"://{credentials}@", 1)
            name = await stack.enter_async_context(between(upstream))
            urls = [f"{name.url}/{at}" for at in range(nodes)]
            changes: dict[str, Any] = {"rpc": urls, "timeout_ms": 2000}
            scene = bitcoin_scene.scene(node, tmp_path, **changes)
            stage = await stack.enter_async_context(scene)
            works = await bitcoin_works(
                stage, lambda: bitcoin_scene.adapter_on(node, tmp_path, **changes)
            )
            await expect_only_own_errors(name, works, answers)

    asyncio.run(whole())
