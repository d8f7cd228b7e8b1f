"""Sagas in a loop on real nodes under faults.

The service that an operator runs (``coordinator resume --all --follow``) drives them; every call of
it to a node may go wrong. Memory and descriptors are measured; in the end faults stop, everything
must end, and blocks and raw records are judged.
"""

from __future__ import annotations

import asyncio
import signal
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from adapters.errors import Transient
from coordinator import app, planning, service
from coordinator.config import load_config
from coordinator.devnet.control import pause_token, unpause_token
from coordinator.devnet.network import DevnetOptions
from coordinator.errors import CoordinatorError
from tests.adversity.proxied import TIMEOUT_MS, Proxied
from tests.crash.two_coordinators import commands
from tests.soak.judging import problems, sagas_of
from tests.soak.meter import Meter
from tests.soak.weather import Weather

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from adapters.base import Adapter
    from coordinator.journal.sqlite import SqliteJournal
    from coordinator.plan import Lock
    from tests.crash.evidence import Scene
    from tests.crash.ground import Run
    from tests.e2e.terminal import Call

__all__ = ["never_seen", "soak"]

#: Sagas at once: as many as the treasury has coins for, and some to spare.
_IN_FLIGHT: Final = 8
#: The token's owner stops new mints for so long, so often: sagas roll back, too.
_PAUSE_EVERY_S: Final = 20.0
_PAUSE_S: Final = 3.0
#: Descriptors are counted in a lull: no faults, no sagas, and no connections that wait in a pool. A
#: pool takes turns with all that it has, so that a busy minute leaves more of them alive than a
#: quiet one: those not used close after 15 s, the others are hung up. A short soak's is shorter.
_LULL_S: Final = 40.0
#: After the faults, what is open has so long to end: deadlines, finality, back-off.
_LIVENESS_S: Final = 300.0
_SAMPLE_S: Final = 1.0
#: Memory has come to what it needs by then: a third, and the tenth that is looked at.
_THIRD: Final = 0.38


@dataclass(slots=True)
class Soak:
    """One soak, under way.

    Attributes:
        config: chains.toml with the nodes' own addresses, for whoever only starts sagas.
    """

    run: Run
    config: Path
    plan: Path
    weather: Weather
    seconds: float
    service: Call
    meter: Meter
    started: int = 0
    refused: int = 0
    pauses: int = 0
    stormed_s: float = 0.0
    #: open descriptors in the lull after a third, and in that after the end.
    descriptors: list[int] = field(default_factory=list)
    #: whether all sagas had ended by then.
    calmed: list[bool] = field(default_factory=list)
    _paused_until_s: float = field(default=0.0)

    async def live(self) -> bool:
        """Start sagas until the time is over, then let all of them end; True if they did."""
        config = load_config(self.config)
        passphrases = app.passphrases_for(config, interactive=False)
        async with app.open_adapters(
            config, list(config.chains), passphrases=passphrases, sign=True
        ) as adapters:
            lock = await planning.lock_of(planning.read_source(self.plan, {}), adapters, config)
            journal = app.open_journal(config, create=True)
            # Whoever starts sagas for hours knows how high the chains are: it is in first records.
            following = [asyncio.create_task(_follow(adapter)) for adapter in adapters.values()]
            try:
                await self._storm(journal, adapters, lock)
                await self._lull(journal)
                return all(self.calmed)
            finally:
                for task in following:
                    task.cancel()
                await asyncio.gather(*following, return_exceptions=True)
                await journal.close()

    async def _storm(
        self, journal: SqliteJournal, adapters: dict[str, Adapter], lock: Lock
    ) -> None:
        begun_s = time.monotonic()
        sampled_s = 0.0
        while (over_s := time.monotonic() - begun_s) < self.seconds or self._is_calm(over_s):
            if over_s >= self.seconds * _THIRD and not self.descriptors:
                lull_s = time.monotonic()
                await self._lull(journal)
                begun_s += time.monotonic() - lull_s
            self.weather.blow()
            if over_s - sampled_s >= _SAMPLE_S:
                sampled_s = over_s
                self.meter.take(min(1.0, over_s / self.seconds))
                self._require_service()
                self._pause_or_unpause(over_s)
            if len(journal.sagas(open_only=True)) < _IN_FLIGHT:
                await self._start(journal, adapters, lock)
            await asyncio.sleep(0.05)
        self.stormed_s = over_s
        self.meter.take(1.0)

    def _is_calm(self, over_s: float) -> bool:
        """Whether no call has gone wrong yet: a slow machine makes few of them in a short soak."""
        return not self.weather.fired and over_s < self.seconds + _LIVENESS_S

    async def _start(
        self, journal: SqliteJournal, adapters: dict[str, Adapter], lock: Lock
    ) -> None:
        """Write a saga's first record; the service takes it up."""
        try:
            await service.start(
                journal, adapters, lock.data, lock.digest, key=f"soak-{self.started}",
                instance="soak", now_ms=time.time_ns() // 1_000_000,
            )  # fmt: skip
        except CoordinatorError:
            self.refused += 1  # coins are on their way: the next turn of the loop asks again
        else:
            self.started += 1

    def _require_service(self) -> None:
        code = self.service.process.poll()
        if code is not None:
            told = f"{self.service.out}{self.service.err}"[-4000:]
            crashes = sorted(self.run.folder.rglob("crash-*.txt"))
            reports = "\n".join(path.read_text(encoding="utf-8") for path in crashes)
            raise RuntimeError(f"the service ended with {code}:\n{told}\n{reports}")

    def _pause_or_unpause(self, over_s: float) -> None:
        if self._paused_until_s:
            if over_s >= self._paused_until_s:
                unpause_token(self.run.devnet, "ethereum")
                self._paused_until_s = 0.0
        elif over_s >= (self.pauses + 1) * _PAUSE_EVERY_S:
            pause_token(self.run.devnet, "ethereum")
            self.pauses += 1
            self._paused_until_s = over_s + _PAUSE_S

    async def _lull(self, journal: SqliteJournal) -> None:
        """Let everything end without faults, and count descriptors."""
        self.weather.clear()
        if self._paused_until_s:
            unpause_token(self.run.devnet, "ethereum")
            self._paused_until_s = 0.0
        self.calmed.append(await self._calm(journal))
        self.weather.hang_up(each=True)
        over_s = time.monotonic() + min(_LULL_S, self.seconds / 60)
        least = self.meter.descriptors()
        while time.monotonic() < over_s:
            await asyncio.sleep(_SAMPLE_S / 10)
            least = min(least, self.meter.descriptors())
        self.weather.hang_up(each=False)
        self.descriptors.append(least)

    async def _calm(self, journal: SqliteJournal) -> bool:
        give_up_s = time.monotonic() + _LIVENESS_S
        while journal.sagas(open_only=True):
            if time.monotonic() >= give_up_s:
                return False
            self._require_service()
            await asyncio.sleep(0.2)
        return True


async def _follow(adapter: Adapter) -> None:
    """Read a chain for as long as sagas are started on it."""
    while True:
        with suppress(Transient):
            async for _ in adapter.follow(adapter.clock().height):
                pass
        await asyncio.sleep(_SAMPLE_S)


def soak(
    minutes: float,
    seed: int,
    rate: float,
    folder: Path,
    judge: Callable[[Scene], Iterable[str]] = problems,
) -> dict[str, Any]:
    """Soak for ``minutes``; return the figures, and under ``wrong`` what ``judge`` finds."""
    with ExitStack() as ends:
        ground = ends.enter_context(Proxied.open(folder, DevnetOptions()))
        run = ends.enter_context(ground.run("committed"))
        direct = _direct(ground, run)
        plan = _plan(run)
        terminal = commands(run, ends)
        # Its memory is measured: it must not begin with what a forked process brings along.
        process = terminal.start("resume", "--all", "--follow", fresh=True)
        meter = Meter(process.process.pid)
        weather = Weather(ground.proxies, seed, rate)
        state = Soak(run, direct, plan, weather, minutes * 60, process, meter)
        ended = asyncio.run(state.live())
        with suppress(ProcessLookupError):
            process.signal(signal.SIGTERM)
        wrong = [] if ended else ["K5 sagas are open although all faults are over"]
        code = process.process.wait(60)
        if code or "Traceback" in process.out + process.err:
            wrong.append(f"K5 the service left with {code}: {process.err[-2000:]}")
        run.settle()
        scene = run.scene()
        wrong += judge(scene)
        for command in (("journal", "check"), ("audit", "verify")):
            call = terminal.start(*command)
            if call.process.wait(600):
                wrong.append(f"K7 coordinator {' '.join(command)}: {call.out}{call.err}")
        states = [records[-1]["data"].get("state") for records in sagas_of(scene).values()]
        wrong += never_seen(states, minutes)
        return _result(state, seed, rate, states, wrong)


def never_seen(states: Iterable[str | None], minutes: float) -> Iterator[str]:
    """Yield which end no saga came to: a soak without it shows nothing of it. The first pause of
    the token, after which sagas roll back, is late in a short one.
    """
    wanted = {"committed", "rolled_back"} if minutes >= 1 else {"committed"}
    for end in sorted(wanted - set(states)):
        yield f"K5 no saga ended {end}"


def _direct(ground: Proxied, run: Run) -> Path:
    """Write the configuration with the nodes themselves in it, beside the other one."""
    text = run.config.read_text(encoding="utf-8")
    for chain, url in ground.devnet.urls.items():
        proxied = f'rpc = ["{ground.proxies[chain].url}"]\ntimeout_ms = {TIMEOUT_MS}'
        assert text.count(proxied) == 1
        text = text.replace(proxied, f'rpc = ["{url}"]')
    path = run.config.with_name(f"direct-{run.config.name}")
    path.write_text(text, encoding="utf-8")
    return path


def _plan(run: Run) -> Path:
    """Write a plan that moves so little that the treasury's tokens last for days."""
    path = run.folder / "plan.toml"
    text = path.read_text(encoding="utf-8")
    assert text.count('"ALZ", value = "1"') == 1
    path.write_text(text.replace('"ALZ", value = "1"', '"ALZ", value = "0.01"'), encoding="utf-8")
    return path


def _result(
    state: Soak, seed: int, rate: float, states: list[str], wrong: list[str]
) -> dict[str, Any]:
    third_fds, end_fds = state.descriptors[0], state.descriptors[-1]
    fired = state.weather.fired
    return {
        "minutes": round(state.stormed_s / 60, 2),
        "seed": seed,
        "rate": rate,
        "sagas": state.started,
        "ends": {end: states.count(end) for end in sorted(set(states))},
        "pauses": state.pauses,
        "calls": state.weather.calls,
        "faults": fired.total(),
        "ways": {way: sum(n for (_, w), n in fired.items() if w == way) for _, way in fired},
        "rss_third_mb": state.meter.around(_THIRD),
        "rss_end_mb": state.meter.around(1.0),
        "fds_third": third_fds,
        "fds_end": end_fds,
        "wrong": wrong,
    }
