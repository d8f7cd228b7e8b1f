"""Nodes that are away when a process begins: it waits a moment, and then goes on without them."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.e2e.network import plan_text
from tests.e2e.terminal import PATIENCE_S
from tests.fault_proxy import ANY, FaultProxy
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.terminal import Terminal
    from tests.e2e.trouble import World

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def bitcoin(world: World, terminal: Terminal) -> Iterator[FaultProxy]:
    """The network's bitcoind, as the terminal's configuration reaches it."""
    text = terminal.config.read_text(encoding="utf-8")
    url = world.devnet.urls["bitcoin"]
    with FaultProxy(url) as proxy:
        old = f'rpc = ["{url}"]'
        assert text.count(old) == 1
        terminal.config.write_text(text.replace(old, f'rpc = ["{proxy.url}"]'), encoding="utf-8")
        yield proxy


def lock_only(terminal: Terminal) -> str:
    """The first step of the example alone, which needs Polygon and no other chain."""
    text = plan_text("transfer", {'name = "alz-transfer"': 'name = "lock-only"'})
    path = terminal.folder / "lock-only.toml"
    text = text[: text.index('[[step]]\nid = "move"')]
    lines = [line for line in text.splitlines() if not line.startswith(("btc =", "receiver ="))]
    path.write_text("\n".join(lines), encoding="utf-8")
    return str(path)


def states(terminal: Terminal) -> list[str]:
    return [row.state for row in terminal.rows()]


def test_a_chain_that_is_away_at_the_start_of_a_service_holds_up_its_own_sagas_only(
    world: World, terminal: Terminal, bitcoin: FaultProxy
) -> None:
    world.hold_blocks("polygon")
    for plan in (terminal.plan(), lock_only(terminal)):
        terminal.run("run", plan, "--execute", "--wait", "1s", code=21)
    bitcoin.on(ANY, "http_503", times=None)
    world.release_blocks("polygon")
    service = terminal.start("resume", "--all", "--follow")
    wait_until(
        lambda: states(terminal) == ["running", "committed"],
        what="the saga that needs no bitcoin", timeout_s=PATIENCE_S,
    )  # fmt: skip

    assert "bitcoin is not open: " in service.err
    assert "is busy (HTTP 503)" in service.err
    assert "No saga that needs it moves" in service.err
    assert "taken_over" not in terminal.kinds(terminal.rows()[0].saga)
    bitcoin.clear()
    wait_until(
        lambda: states(terminal) == ["committed"] * 2,
        what="the saga that needs bitcoin", timeout_s=PATIENCE_S,
    )  # fmt: skip
    assert "bitcoin answers now" in service.err
    service.signal(signal.SIGTERM).ended(0)


def test_one_call_waits_a_moment_for_a_busy_node_and_names_what_it_leaves_alone_after_that(
    world: World, terminal: Terminal, bitcoin: FaultProxy
) -> None:
    world.hold_blocks("polygon")
    terminal.run("run", terminal.plan(), "--execute", "--wait", "1s", code=21)
    bitcoin.on(ANY, "http_503", times=None)
    world.release_blocks("polygon")
    (row,) = terminal.rows()
    err = terminal.run("resume", "--all", code=6).err
    assert f"saga {row.saga} is left alone: it needs bitcoin, whose nodes do not answer" in err
    assert states(terminal) == ["running"]

    # Busy for a second or two, as a node is that has just begun.
    bitcoin.clear()
    bitcoin.on(ANY, "http_503", times=8)
    before = bitcoin.fired.total()
    terminal.run("resume", "--all")
    assert bitcoin.fired.total() == before + 8
    assert states(terminal) == ["committed"]
