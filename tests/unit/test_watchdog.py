"""The watchdog hears a blocked loop, and only a blocked loop with something overdue."""

from __future__ import annotations

import asyncio
import threading
import time

from coordinator.alarm import Notice
from coordinator.watchdog import Watchdog
from tests.waiting import wait_until

GRACE_S = 0.15


def _watched(due_ms: int | None, told: list[str], *notices: Notice) -> Watchdog:
    return Watchdog(
        lambda: due_ms,
        lambda notice: told.append(notice.reason),
        notices=lambda: notices,
        grace_s=GRACE_S,
        poll_s=0.02,
    )


def _overdue_ms() -> int:
    return time.time_ns() // 1_000_000 - 1000


def test_a_blocked_loop_with_an_overdue_wait_is_told_by_a_thread_and_so_is_its_recovery() -> None:
    told: list[str] = []
    release = threading.Event()

    async def loop() -> None:
        with _watched(_overdue_ms(), told) as watchdog:
            watchdog.beat()
            # Blocks the loop itself, as a call that should have been awaited does.
            release.wait(10)
            while len(told) < 2:
                watchdog.beat()
                await asyncio.sleep(0.01)

    thread = threading.Thread(target=lambda: asyncio.run(loop()))
    thread.start()
    wait_until(lambda: told, what="the alarm")
    assert "the loop has not moved for" in told[0]
    assert "coordinator resume --all" in told[0]
    release.set()
    thread.join(10)

    assert told[-1] == "watchdog: the loop moves again"


def test_an_alarm_that_lasts_is_repeated_at_growing_distances() -> None:
    told: list[str] = []
    with _watched(_overdue_ms(), told):
        wait_until(lambda: len(told) >= 3, what="three alarms")
        count, began_s = len(told), time.monotonic()
        wait_until(lambda: len(told) > count, what="another alarm")

        assert time.monotonic() - began_s > 2 * GRACE_S


def test_a_loop_that_moves_is_left_alone_whatever_is_overdue() -> None:
    told: list[str] = []

    async def loop() -> None:
        with _watched(_overdue_ms(), told) as watchdog:
            until_s = time.monotonic() + 4 * GRACE_S
            while time.monotonic() < until_s:
                watchdog.beat()
                await asyncio.sleep(0.01)

    asyncio.run(loop())

    assert told == []


def test_a_silent_loop_without_an_overdue_wait_is_left_alone() -> None:
    told: list[str] = []
    for due_ms in (None, time.time_ns() // 1_000_000 + 3_600_000):
        with _watched(due_ms, told):
            threading.Event().wait(3 * GRACE_S)

    assert told == []


def _open_claim(until_s: int) -> Notice:
    return Notice("01SAGA", "rolled_back", "nonce 7 is open", "can it pay?", until_s)


def test_an_open_claim_past_its_until_when_is_told_again_and_again_though_the_loop_moves() -> None:
    told: list[str] = []
    late, in_time = (_open_claim(int(time.time()) + shift_s) for shift_s in (-1, 3600))

    with _watched(None, told, late, in_time) as watchdog:
        began_s = time.monotonic()
        while len(told) < 3:
            assert time.monotonic() < began_s + 20
            watchdog.beat()
            threading.Event().wait(0.01)
        took_s = time.monotonic() - began_s

    assert told == ["nonce 7 is open"] * 3
    assert took_s > 5 * GRACE_S, "each pause is twice the one before"


def test_an_open_claim_within_its_time_is_not_told() -> None:
    told: list[str] = []
    with _watched(None, told, _open_claim(int(time.time()) + 3600)):
        threading.Event().wait(3 * GRACE_S)

    assert told == []


def test_an_alarm_that_fails_does_not_end_the_watch() -> None:
    told: list[str] = []

    def alarm(notice: Notice) -> None:
        told.append(notice.saga)
        raise OSError(28, "No space left on device")

    late = [Notice(saga, "rolled_back", "nonce 7 is open", "can it pay?") for saga in "AB"]
    with Watchdog(lambda: None, alarm, notices=lambda: late, grace_s=GRACE_S, poll_s=0.02):
        wait_until(lambda: len(told) >= 4, what="the second round of alarms")

    assert told == ["A", "B", "A", "B"], "one that fails keeps back neither the others nor itself"


def test_a_look_that_fails_is_told_and_the_next_ones_are_taken() -> None:
    told: list[str] = []
    broken = [True]

    def notices() -> list[Notice]:
        if broken[0]:
            raise RuntimeError("dictionary changed size during iteration")
        return [_open_claim(0)]

    with Watchdog(
        lambda: None, lambda n: told.append(n.reason), notices=notices, grace_s=60, poll_s=0.02
    ):
        wait_until(lambda: told, what="the alarm about the look")
        threading.Event().wait(0.1)
        assert len(told) == 1, "not at every look"
        broken[0] = False
        wait_until(lambda: len(told) > 1, what="the alarm of a look that works again")

    assert "a look failed (RuntimeError: dictionary changed size" in told[0]
    assert told[1:] == ["nonce 7 is open"]
