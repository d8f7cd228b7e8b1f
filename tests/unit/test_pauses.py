"""Pauses as records: what they hold back, in which transaction, and how they are shown."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from adapters.base import ChainClock
from coordinator.errors import Fenced, Held, Irreversible
from coordinator.journal.base import Entry, Raw
from coordinator.journal.pauses import Pause, Pauses, begins_a_step
from coordinator.journal.sqlite import SqliteJournal
from coordinator.pause_view import pause_view
from coordinator.pausing import (
    pause,
    pause_saga,
    pauses_in,
    require_unpaused,
    unpause,
    unpause_saga,
)
from coordinator.saga import Now, decide
from tests.conformance.journal_records import intent, started
from tests.story import DEADLINE_S, START_S, Story, plan_step, resolved_plan, shape

WHO: dict[str, Any] = {"by": "ada", "reason": "look first"}
PAYER = "0xAbCd000000000000000000000000000000000001"
PLAN = resolved_plan(
    plan_step("pay", chain="polygon", payers={"forward": PAYER, "undo": "0xother"}),
    plan_step("coin", chain="bitcoin", payers={"forward": "bcrt1qpayer"}),
)


@pytest.fixture
def place(tmp_path: Path) -> tuple[Path, Path]:
    paths = tmp_path / "journal.db", tmp_path / "elsewhere" / "head"
    SqliteJournal.create(*paths)
    return paths


def begins(tx: str, nonce: int, **more: Any) -> tuple[Entry, Raw]:
    return intent(tx, [("acc", nonce)], **more)


async def with_a_step_begun(place: tuple[Path, Path]) -> SqliteJournal:
    journal = SqliteJournal(*place)
    begun, raw = begins("0x1", 1)
    await journal.append("saga:amy", 0, [started("amy", plan=PLAN), begun], [raw])
    return journal


@pytest.mark.parametrize(
    ("scope", "name", "accounts", "holds"),
    [
        ("chain", "polygon", (), True),
        ("chain", "bitcoin", (), False),
        ("signer", "treasury", (PAYER.lower(), "bcrt1q"), True),
        ("signer", "other", ("0xother",), False),
        ("all", "", (), True),
    ],
)
def test_a_pause_is_effective_in_every_process_with_its_own_commit(
    place: tuple[Path, Path], scope: str, name: str, accounts: tuple[str, ...], *, holds: bool
) -> None:
    async def story() -> None:
        one, other = SqliteJournal(*place), SqliteJournal(*place)
        await other.append("saga:amy", 0, [started("amy", plan=PLAN)])
        await pause(one, scope, name, accounts=accounts, **WHO)
        entry, raw = begins("0x1", 1)
        if holds:
            with pytest.raises(Fenced, match="may not begin"):
                await other.append("saga:amy", 1, [entry], [raw])
            assert len(other.read("saga:amy")) == 1
            assert other.claims("polygon") == []
            await unpause(one, scope, name, **WHO)
        await other.append("saga:amy", 1, [entry], [raw])
        for journal in (one, other):
            await journal.close()

    asyncio.run(story())


def test_a_pause_outlives_every_process(place: tuple[Path, Path]) -> None:
    async def story() -> None:
        journal = SqliteJournal(*place)
        await pause(journal, "chain", "polygon", **WHO)
        await journal.close()
        again = SqliteJournal(*place)
        await again.append("saga:amy", 0, [started("amy", plan=PLAN)])
        entry, raw = begins("0x1", 1)
        with pytest.raises(Fenced):
            await again.append("saga:amy", 1, [entry], [raw])
        await again.close()

    asyncio.run(story())


def test_who_pauses_is_bound_by_it_as_well(place: tuple[Path, Path]) -> None:
    async def story() -> None:
        journal = await with_a_step_begun(place)
        await pause(journal, "chain", "bitcoin", **WHO)
        entry, raw = begins("0x2", 2, step="coin", chain="bitcoin")
        with pytest.raises(Fenced):
            await journal.append("saga:amy", 2, [entry], [raw])
        await journal.close()

    asyncio.run(story())


def test_a_pause_holds_back_what_comes_after_it_in_the_same_commit(
    place: tuple[Path, Path],
) -> None:
    async def story() -> None:
        journal = await with_a_step_begun(place)
        entry, raw = begins("0x2", 2, step="coin", chain="bitcoin")
        commits = 0

        def count() -> bool:
            nonlocal commits
            commits += 1
            return False

        journal._connection.set_commit_hook(count)
        _, refused = await asyncio.gather(
            pause(journal, "chain", "bitcoin", **WHO),
            journal.append("saga:amy", 2, [entry], [raw]),
            return_exceptions=True,
        )
        assert isinstance(refused, Fenced)
        assert commits == 1
        await journal.close()

    asyncio.run(story())


def test_nothing_but_the_first_attempt_of_a_forward_is_ever_held_back(
    place: tuple[Path, Path],
) -> None:
    async def story() -> None:
        journal = await with_a_step_begun(place)
        await pause(journal, "all", "", **WHO)
        others = [
            begins("0x2", 1, number=2),
            begins("0x3", 2, direction="undo"),
            begins("0x4", 3, direction="confirm"),
            begins("0x5", 4, step="coin", chain="bitcoin"),
        ]
        others[3][0].data["adopted"] = True  # type: ignore[index]
        for seq, (entry, bytes_) in enumerate(others, 2):
            await journal.append("saga:amy", seq, [entry], [bytes_])
        burn = begins("0x6", 5, step="coin", chain="bitcoin")
        burn[0].data["purpose"] = "burn"  # type: ignore[index]
        await journal.append("saga:amy", 6, [burn[0]], [burn[1]])
        await journal.close()

    asyncio.run(story())


def test_pausing_twice_is_recorded_once_and_so_is_going_on(place: tuple[Path, Path]) -> None:
    async def story() -> list[str]:
        journal = SqliteJournal(*place)
        first = await pause(journal, "chain", "polygon", **WHO)
        second = await pause(journal, "chain", "polygon", by="bob", reason="too")
        assert (first[1], second[1]) == (True, False)
        assert second[0].by == "ada"
        assert (await unpause(journal, "chain", "polygon", **WHO)) == first[0]
        assert await unpause(journal, "chain", "polygon", **WHO) is None
        assert pauses_in(journal).standing == ()
        kinds = [record.kind for record in journal.read("operator")]
        await journal.close()
        return kinds

    assert asyncio.run(story()) == ["paused", "unpaused"]


def test_a_plan_that_a_pause_would_hold_back_is_not_started(place: tuple[Path, Path]) -> None:
    async def story() -> None:
        journal = SqliteJournal(*place)
        await pause(journal, "signer", "coins", accounts=["bcrt1qpayer"], **WHO)
        with pytest.raises(Held, match=r"paused by ada: look first \(steps coin\)") as held:
            require_unpaused(journal, PLAN)
        assert held.value.exit_code == 4
        assert "coordinator unpause --signer coins" in str(held.value)
        require_unpaused(journal, {**PLAN, "steps": PLAN["steps"][:1]})
        await journal.close()

    asyncio.run(story())


def test_a_saga_is_paused_only_while_something_of_it_can_be_held_back(
    place: tuple[Path, Path],
) -> None:
    async def story() -> None:
        journal = SqliteJournal(*place)
        await journal.append("saga:amy", 0, [started("amy", plan=PLAN)])
        for _ in range(2):
            state = await pause_saga(journal, "amy", **WHO)
        assert state.pause is not None
        assert (state.pause.by, state.seq) == ("ada", 2)
        state = await unpause_saga(journal, "amy", **WHO)
        assert (state.paused, state.seq) == (False, 3)
        decision = {"decision": "rollback", "cause": {"kind": "x", "text": "x"}}
        await journal.append("saga:amy", 3, [Entry("decided", decision)])
        with pytest.raises(Irreversible, match="nothing else is ever held back"):
            await pause_saga(journal, "amy", **WHO)
        await journal.close()

    asyncio.run(story())


# ---------------------------------------------------------------- deciding and showing


def of_chain(name: str) -> Pauses:
    return Pauses((Pause("chain", name, "ada", "why", 1),))


def now(story: Story, pauses: Pauses, after_s: int = 0) -> Now:
    chains = {chain: ChainClock(100, START_S) for chain in story.heights}
    return Now((START_S + after_s) * 1000, chains, pauses)


def test_a_paused_chain_holds_back_its_own_steps_only() -> None:
    story = Story(plan_step("a"), plan_step("b"))
    assert shape(decide(story.fold, now(story, of_chain("c-b")))) == [("Act", "a", "forward")]
    story.executed("a")
    held = decide(story.fold, now(story, of_chain("c-b")))
    assert shape(held) == []
    assert [(wait.reason, wait.until_s) for wait in held.waits] == [
        ("chain c-b is paused by ada: why", DEADLINE_S + 1)
    ]


def test_a_margin_that_runs_out_rolls_back_in_spite_of_a_pause() -> None:
    hold = plan_step("h", **{"class": "hold"}, confirm=True, reveals=True, deliver="file")
    pivot = plan_step("p", **{"class": "pivot", "undo": False})
    story = Story(hold, pivot, h={"time": START_S + 1}).executed("h")
    (command,) = decide(story.fold, now(story, of_chain("c-p"))).commands
    assert command.entries[0].data["cause"]["kind"] == "margin"  # type: ignore[union-attr]


def test_a_pause_shows_what_was_asked_for_and_what_is_effective_apart() -> None:
    story = Story(plan_step("a"), plan_step("b"))
    assert pause_view(story.fold, Pauses()) is None
    story.intent("a")
    view = pause_view(story.fold, of_chain("c-a"))
    assert view is not None
    assert (view["effective"], view["still_out"], view["held"]) == (False, ["a"], [])
    story.included("a").add("paused", by="bob", reason="mine")
    view = pause_view(story.fold, of_chain("c-a"))
    assert view is not None
    assert [(p["scope"], p["by"]) for p in view["requested"]] == [("saga", "bob"), ("chain", "ada")]
    assert (view["effective"], view["still_out"], view["held"]) == (True, [], ["b"])
    story.decided("rollback")
    assert pause_view(story.fold, of_chain("c-a")) is None


def test_an_attempt_that_was_adopted_or_never_leaves_begins_nothing() -> None:
    first = {"dir": "forward", "purpose": "effect", "n": 1}
    assert begins_a_step(first)
    for other in ({"dir": "undo"}, {"purpose": "burn"}, {"n": 2}, {"adopted": 1}, {"unsent": 1}):
        assert not begins_a_step({**first, **other})
