"""Our contracts on a node: set up once, and put back after each test."""

from collections.abc import Iterator

import pytest
from web3.contract import Contract

from adapters.evm.devnode import AnvilNode
from tests.contracts.chain import Chain
from tests.contracts.scene import Scene


@pytest.fixture(scope="package")
def shared_scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with AnvilNode.start(tmp_path_factory.mktemp("anvil")) as node:
        yield Scene.set(Chain(node.url))


@pytest.fixture
def scene(shared_scene: Scene) -> Iterator[Scene]:
    """The contracts as they were set up; only the node's clock goes on from test to test."""
    snapshot = shared_scene.chain.rpc("evm_snapshot")
    # After a revert the latest block is older than the clock says, a new one is not.
    shared_scene.chain.rpc("evm_mine")
    yield shared_scene.again()
    shared_scene.chain.rpc("evm_revert", snapshot)


@pytest.fixture(params=["vault", "token"])
def contract(scene: Scene, request: pytest.FixtureRequest) -> Contract:
    """One of the two, for what both do alike."""
    chosen: Contract = getattr(scene, request.param)
    return chosen
