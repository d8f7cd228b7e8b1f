"""A development network for your own integration tests, as pytest fixtures.

Installed with the package, so nothing has to be declared. ``coordinator_devnet`` starts two anvils
(``polygon`` and ``ethereum``), a bitcoind on regtest, contracts, funded keys and a payee, once per
test session (with pytest-xdist: once per worker); a block comes with each transaction and one
confirmation is final, so a whole plan takes about a second::

    def test_my_plan_is_all_or_nothing(coordinator_devnet, tmp_path):
        before = coordinator_devnet.balances()

        result = coordinator_devnet.run("plans/alz-transfer.toml", journal=tmp_path)

        assert result.state == "committed"
        moved = coordinator_devnet.changes(before)
        assert moved["ethereum", "ALZ", "receiver"] == 100 * 10**18

``coordinator_devnet.config`` is its chains.toml, for tests that call the command line;
``coordinator_devnet.urls`` are the nodes. ``pause_token`` and ``unpause_token`` let a mint fail.

This module imports nothing but pytest and the standard library until a fixture is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from coordinator.devnet.fixture import DevnetFixture

__all__ = ["coordinator_devnet"]


@pytest.fixture(scope="session")
def coordinator_devnet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevnetFixture]:
    """A running development network; see `coordinator.devnet.fixture.DevnetFixture`."""
    from coordinator.devnet.fixture import DevnetFixture
    from coordinator.devnet.network import DevnetOptions, running

    folder = tmp_path_factory.mktemp("coordinator") / "devnet"
    with running(folder, DevnetOptions.instant()) as devnet:
        yield DevnetFixture(devnet)
