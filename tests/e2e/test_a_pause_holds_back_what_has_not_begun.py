"""``pause``: in running processes at once, after a kill too, and for new plans; then it goes on."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.waiting import wait_until

if TYPE_CHECKING:
    from tests.e2e.terminal import Terminal
    from tests.e2e.trouble import World

pytestmark = pytest.mark.timeout(300)

WHO = ("--by", "ada", "--reason", "look first")
PATIENT = {"deadline_s = 60": "deadline_s = 600"}


def shown(terminal: Terminal, saga: str) -> dict[str, Any]:
    view: dict[str, Any] = json.loads(terminal.run("--json", "show", saga).out)
    return view


def test_a_paused_chain_is_held_across_a_kill_and_goes_on_when_it_is_let(
    world: World, terminal: Terminal
) -> None:
    world.hold_blocks("polygon")
    plan = terminal.plan(changes=PATIENT)
    driver = terminal.start("run", plan, "--execute")
    saga = terminal.awaits("intent", "lock")
    told = json.loads(terminal.run("--json", "pause", "--chain", "ethereum", *WHO).out)
    assert (told["effective"], told["held"]) == (True, {saga: ["mint"]})
    other = json.loads(terminal.run("--json", "pause", "--chain", "polygon", *WHO).out)
    assert (other["effective"], other["still_out"]) == (False, {saga: ["lock"]})

    world.release_blocks("polygon")
    terminal.awaits("done", "move")
    view = shown(terminal, saga)
    assert view["pause"]["held"] == ["mint"]
    assert view["pause"]["effective"] is True, "the lock was on its way, and has landed"
    # Beside it, evidence of what is final already may still be waited for.
    assert "chain ethereum is paused by ada: look first" in [w["reason"] for w in view["waiting"]]
    refused = terminal.run("run", terminal.plan("hold"), "--execute", code=4)
    assert "chain ethereum is paused by ada: look first (steps mint)" in refused.err
    assert len(terminal.rows()) == 1

    driver.signal(signal.SIGKILL).process.wait()
    again = terminal.start("resume", saga)
    wait_until(
        lambda: any(r.kind == "taken_over" for r in terminal.records(saga)), what="the next driver"
    )
    terminal.run("unpause", "--chain", "polygon", *WHO)
    assert not [r for r in terminal.records(saga) if r.data.get("step") == "mint"]
    terminal.run("unpause", "--chain", "ethereum", *WHO)
    again.ended(0)

    mint = next(r for r in terminal.records(saga) if r.data.get("step") == "mint")
    lifted = terminal.operator()[-1]
    assert (lifted.kind, lifted.data["name"]) == ("unpaused", "ethereum")
    assert mint.position > lifted.position


def test_a_replacement_pays_more_under_the_same_nonce_before_its_turn(
    world: World, terminal: Terminal
) -> None:
    world.hold_blocks("ethereum")
    call = terminal.start("run", terminal.plan(changes=PATIENT), "--execute")
    saga = terminal.awaits("intent", "mint")
    (first,) = wait_until(lambda: world.waiting("ethereum"), what="the mint in the pool")
    terminal.run("replace", saga, "mint", *WHO)
    wait_until(
        lambda: world.waiting("ethereum") not in ([], [first]), what="its replacement in the pool"
    )
    world.release_blocks("ethereum")
    call.ended(0)

    old, new = (
        r.data
        for r in terminal.records(saga)
        if r.kind == "intent" and (r.data["step"], r.data["dir"]) == ("mint", "forward")
    )
    assert old["claim"] == new["claim"]
    for field in ("max_fee", "tip"):
        assert int(new["fee"][field]) * 10 >= int(old["fee"][field]) * 11
    (verdict,) = (r.data for r in terminal.records(saga) if r.kind == "verdict")
    assert verdict["args"] == {"attempts": 1, "pct": 100, "replace": True}
