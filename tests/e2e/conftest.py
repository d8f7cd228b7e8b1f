"""One development network for all reference scenarios of a worker; healed after each test."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from coordinator.devnet.network import Devnet, DevnetOptions, running
from tests.e2e.terminal import Terminal
from tests.e2e.trouble import World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def shared_devnet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Devnet]:
    with running(tmp_path_factory.mktemp("network") / "devnet", DevnetOptions.instant()) as devnet:
        yield devnet


@pytest.fixture
def world(shared_devnet: Devnet) -> Iterator[World]:
    world = World(shared_devnet)
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
