"""One development network for all reference scenarios of a worker; healed after each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from coordinator.devnet.network import Devnet, DevnetOptions, running
from tests.e2e.trouble import World

if TYPE_CHECKING:
    from collections.abc import Iterator


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
