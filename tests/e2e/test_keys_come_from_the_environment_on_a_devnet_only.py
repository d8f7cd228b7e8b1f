"""Keys and passphrases from environment variables: only after every node showed a local genesis."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from coordinator import app
from coordinator.config import Config, load_config
from coordinator.errors import KeysError
from coordinator.signers.environment import PUBLIC_GENESIS

if TYPE_CHECKING:
    from tests.e2e.terminal import Terminal
    from tests.e2e.trouble import World

pytestmark = pytest.mark.timeout(300)

FILE, VARIABLE = '"file:keys/passphrase"', '"env:DEVNET_PHRASE"'


@pytest.fixture
def config(terminal: Terminal, world: World, monkeypatch: pytest.MonkeyPatch) -> Config:
    """The network's configuration with every passphrase in the environment."""
    phrase = (world.devnet.folder / "keys" / "passphrase").read_text(encoding="utf-8")
    monkeypatch.setenv("DEVNET_PHRASE", phrase.strip())
    text = terminal.config.read_text(encoding="utf-8")
    assert text.count(FILE) == 6, "five signers, the log's among them, and the seed"
    terminal.config.write_text(text.replace(FILE, VARIABLE), encoding="utf-8")
    return load_config(terminal.config)


def test_passphrases_and_the_seed_are_read_where_every_node_is_local(
    config: Config, terminal: Terminal
) -> None:
    assert config.devnet
    terminal.run("run", terminal.plan("hold"), "--execute")
    (row,) = terminal.rows()
    assert len(terminal.run("secret", row.saga, "hold").out.strip()) == 64
    terminal.run("keys", "test", "treasury_btc")
    terminal.run("doctor")


def test_nothing_is_read_from_the_environment_where_a_node_serves_a_public_network(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    passphrases = app.passphrases_for(config, interactive=False)

    async def open_all() -> str:
        async with app.open_adapters(
            config, ["polygon"], passphrases=passphrases, sign=True
        ) as adapters:
            return str(adapters["polygon"].terms()["genesis"])

    genesis = asyncio.run(open_all()).removeprefix("0x")
    passphrases = app.passphrases_for(config, interactive=False)
    monkeypatch.setitem(PUBLIC_GENESIS, genesis, "a public network")
    with pytest.raises(KeysError, match="a node serves a public network"):
        asyncio.run(open_all())
    with pytest.raises(KeysError, match="the environment is read on a local devnet only"):
        app.LazySecrets(config, passphrases).open()
