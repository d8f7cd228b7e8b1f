"""A node ends and starts again while a saga's transaction waits in its pool."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.adversity.held import held
from tests.adversity.restarts import restart, restart_empty
from tests.crash.ground import Ground
from tests.reliability.notes import noted
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with Ground.open(tmp_path_factory.mktemp("restarted")) as ground:
        yield ground


@pytest.fixture
def ends() -> Iterator[ExitStack]:
    with ExitStack() as ends:
        yield ends


def test_nodes_that_come_back_without_their_pools_get_the_same_bytes_again(
    ground: Ground, ends: ExitStack
) -> None:
    for effort, chain in (("mint.forward", "ethereum"), ("move.forward", "bitcoin")):
        with (
            noted("adversity", "node restarted", phase=effort),
            held(ground, "committed", effort, chain) as one,
        ):
            with one.stopped():
                restart(ground.devnet, chain, ends)
                assert one.waiting() == []
            one.released()
            assert len(one.intents()) == 1


def test_a_node_that_lost_its_chain_ends_the_coordinator_and_gets_nothing(
    ground: Ground, ends: ExitStack
) -> None:
    with (
        noted("adversity", "node lost its chain", phase="mint.forward"),
        held(ground, "committed", "mint.forward", "ethereum") as one,
    ):
        with one.stopped():
            restart_empty(ground.devnet, "ethereum", ends)
        intents = len(one.intents())
        for life in (one.life, one.run.live()):
            assert life.exit_code() != 0
            assert "genesis" in life.said()
            assert "nothing was sent" in life.said().lower()
        assert len(one.intents()) == intents
        ask = ground.devnet.rpc
        assert ask("ethereum", "eth_blockNumber") == "0x0"
        assert ask("ethereum", "txpool_status") == {"pending": "0x0", "queued": "0x0"}


def test_a_bitcoind_that_lost_its_chain_is_told_nothing_but_the_same_bytes(
    ground: Ground, ends: ExitStack
) -> None:
    """The genesis of regtest is always the same: it looks like a node that has yet to catch up."""
    with (
        noted("adversity", "node lost its chain", phase="move.forward"),
        held(ground, "committed", "move.forward", "bitcoin") as one,
    ):
        with one.stopped():
            restart_empty(ground.devnet, "bitcoin", ends)
            known = len(one.run.scene(over=False).sent)

        def sent_again() -> bool:
            return len(one.run.scene(over=False).sent) >= known + 2

        wait_until(sent_again, what="the bytes to be sent again")
        later = one.run.scene(over=False).sent[known:]
        assert {note["tx"] for note in later} == {one.first}
        assert len(one.intents()) == 1
        assert one.waiting() == []
