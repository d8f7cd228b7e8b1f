"""One development network for all reference scenarios of a worker; healed after each test."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from coordinator.devnet.control import mine
from coordinator.devnet.network import Devnet, DevnetOptions, running
from tests.e2e.bitcoin_scene import scene
from tests.e2e.terminal import Terminal
from tests.e2e.trouble import World

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from tests.conftest import BitcoindFactory
    from tests.e2e.bitcoin_scene import Scene


@pytest.fixture(scope="session")
def shared_devnet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Devnet]:
    with running(tmp_path_factory.mktemp("network") / "devnet", DevnetOptions.instant()) as devnet:
        yield devnet


@pytest.fixture
def world(shared_devnet: Devnet) -> Iterator[World]:
    world = World(shared_devnet)
    for chain in shared_devnet.urls:
        mine(shared_devnet, chain, 1)  # else the newest block is as old as the test before this
    yield world
    world.heal()


@pytest.fixture
def devnet(world: World) -> Devnet:
    """A network on which any trouble may be made."""
    return world.devnet


@pytest.fixture
def terminal(world: World, tmp_path: Path) -> Iterator[Terminal]:
    """The command line on that network, with a journal of its own."""
    with ExitStack() as ends:
        yield Terminal.on(world.devnet, tmp_path, ends)


@pytest.fixture
def play(bitcoind: BitcoindFactory, tmp_path: Path) -> Callable[..., None]:
    """Run a test's story on the scene of a fresh bitcoind; the keywords are `scene`'s."""

    def run(story: Callable[[Scene], Awaitable[None]], **options: Any) -> None:
        async def whole() -> None:
            async with scene(bitcoind(), tmp_path, **options) as stage:
                await story(stage)

        asyncio.run(whole())

    return run
