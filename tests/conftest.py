"""Real nodes for tests. A missing binary fails the test that needs it; nothing is skipped."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from itertools import count
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

from adapters.bitcoin.devnode import BitcoinNode, BitcoinOptions
from adapters.evm.devnode import AnvilNode, AnvilOptions

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.evm_scene import Deployment


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Half as many again as cores: tests on real nodes wait a third of their time."""
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    return cores + max(1, cores // 2)


# A failure prints the blob that replays it. No deadline per example: the machine may be busy.
hypothesis.settings.register_profile("house", print_blob=True, deadline=None)
hypothesis.settings.load_profile("house")


class AnvilFactory:
    """``anvil(chain_id=1, block_time_s=1)`` starts a node; the keywords are AnvilOptions'."""

    def __init__(self, folder: Path, ends: ExitStack) -> None:
        self._folders = (folder / f"anvil-{n}" for n in count(1))
        self._ends = ends

    def __call__(self, **options: Any) -> AnvilNode:
        node = AnvilNode.start(next(self._folders), AnvilOptions(**options))
        self._ends.callback(node.kill)
        return node


class BitcoindFactory:
    """``bitcoind()`` starts a regtest node; the keywords are BitcoinOptions'."""

    def __init__(self, folder: Path, ends: ExitStack) -> None:
        self._folders = (folder / f"bitcoind-{n}" for n in count(1))
        self._ends = ends

    def __call__(self, **options: Any) -> BitcoinNode:
        node = BitcoinNode.start(next(self._folders), BitcoinOptions(**options))
        self._ends.callback(node.kill)
        return node


@pytest.fixture
def anvil(tmp_path: Path) -> Iterator[AnvilFactory]:
    """Start anvils that end with the test."""
    with ExitStack() as ends:
        yield AnvilFactory(tmp_path, ends)


@pytest.fixture
def bitcoind(tmp_path: Path) -> Iterator[BitcoindFactory]:
    """Start bitcoinds that end with the test."""
    with ExitStack() as ends:
        yield BitcoindFactory(tmp_path, ends)


@pytest.fixture(scope="module")
def module_anvil(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AnvilFactory]:
    """Start anvils that all tests of a module share."""
    with ExitStack() as ends:
        yield AnvilFactory(tmp_path_factory.mktemp("anvil"), ends)


@pytest.fixture(scope="module")
def module_bitcoind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BitcoindFactory]:
    """Start bitcoinds that all tests of a module share."""
    with ExitStack() as ends:
        yield BitcoindFactory(tmp_path_factory.mktemp("bitcoind"), ends)


@pytest.fixture(scope="module")
def deployment(module_anvil: AnvilFactory) -> Iterator[Deployment]:
    """Our contracts on an anvil that all tests of a module share."""
    from tests.e2e.evm_scene import Deployment  # most tests need none of it, and it is slow

    deployed = Deployment.on(module_anvil())
    yield deployed
    deployed.close()


@pytest.fixture
def stage(deployment: Deployment) -> Iterator[Deployment]:
    """The deployment as it was at first, mining at once."""
    ask = deployment.node.rpc
    snapshot = ask("evm_snapshot")
    yield deployment
    ask("anvil_dropAllTransactions")
    ask("evm_revert", snapshot)
    ask("evm_setTime", int(time.time()))  # seconds; the snapshot brought its own time back
    ask("evm_setAutomine", True)
