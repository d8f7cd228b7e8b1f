"""The bars: what has to be shown, what was, and whether that is enough."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tests.reliability.jobs import Ran
from tests.reliability.lines import Line, select, summed
from tests.soak.judging import RULES as SOAKED

__all__ = ["Bar", "bars_of"]

#: `make test` in all, on two cores.
_TEST_MINUTES: Final = 20
#: Memory at the end of an hour of soak may lie this far above that at a third of it.
_GROWTH_MB: Final = 5.0


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar.

    Attributes:
        wanted, found: for people.
        holds: None where nothing was run that could tell.
    """

    name: str
    wanted: str
    found: str
    holds: bool | None

    @property
    def verdict(self) -> str:
        """The verdict in words."""
        return {True: "holds", False: "**MISSED**", None: "not run"}[self.holds]


#: Areas whose judges work out what became of whole sagas, and the rules that each of them holds.
_JUDGES: Final[Mapping[str, Collection[str]]] = {
    "sim": {f"I{number}" for number in range(1, 15)},
    "crash": {f"K{number}" for number in range(1, 12)},
    "adversity": {f"K{number}" for number in range(1, 12)},
    "soak": SOAKED,
}
#: What must not happen in any run, and the numbers of the rules that say so: I of the simulation's
#: checker, K of the judge on real nodes.
_NEVER: Final[Mapping[str, tuple[str, ...]]] = {
    "double effects": ("I1", "K1", "K3"),
    "lost value": ("I2", "K4"),
    "sagas without outcome or alarm": ("I3", "I8", "K5"),
    "wrong undo order": ("I4", "K6"),
    "bytes that left without a durable intent": ("I5", "K2", "K11"),
    "false `done` or `not_done`": ("I6", "K8"),
    "decisions twice or too early": ("I10", "I11", "K9"),
    "secrets before the decision": ("I9", "K10"),
    "unverifiable audit logs": ("I7", "I12", "K7"),
    "fees above a cap": ("I13",),
    "claims of a key that a stranger uses": ("I14",),
}


def bars_of(lines: Sequence[Line], jobs: Sequence[Ran], least: Mapping[str, int]) -> list[Bar]:
    """Return every bar, those that this depth does not ask for included."""
    found = [
        _counted(name, least.get(name), [line for line in lines if matches(line)], count)
        for name, matches, count in _COUNTED
    ]
    return [
        *found,
        _named_points(lines),
        _duration(jobs),
        _passed(jobs),
        *_never(lines),
        *_soak(lines, least),
    ]


def _fired(lines: Sequence[Line]) -> int:
    return summed(lines).fired


def _sagas(lines: Sequence[Line]) -> int:
    return sum(int(line.more.get("sagas", line.runs)) for line in lines)


def _each_with(faults: int) -> Callable[[Sequence[Line]], int]:
    """Runs in which so many faults fired."""
    return lambda lines: sum(min(line.runs, line.fired // faults) for line in lines)


def _effective(lines: Sequence[Line]) -> int:
    """Runs in which something happened; each line is one run."""
    return sum(line.runs for line in lines if line.fired)


def _of(area: str, *suites: str) -> Callable[[Line], bool]:
    return lambda line: line.area == area and (not suites or line.suite in suites)


#: Bar, which lines count for it, and what of them.
_COUNTED: Final[Sequence[tuple[str, Callable[[Line], bool], Callable[[Sequence[Line]], int]]]] = (
    ("single faults", _of("sim", "singles"), _each_with(1)),
    ("pairs of faults", _of("sim", "pairs"), _each_with(2)),
    ("simulated sagas", _of("sim", "random", "deep", "machine"), _sagas),
    ("real kills", _of("crash", "points", "inside commits", "twice"), _fired),
    ("power-loss states", _of("disk", "power loss"), _fired),
    ("writes and syncs failed", _of("disk", "write failed"), _fired),
    ("fault points on real nodes", _of("adversity", "calls"), _fired),
    ("reorganisation cases", _of("adversity", "reorganisations"), _effective),
    ("mutants killed", _of("mutants"), _fired),
)


def _counted(
    name: str,
    least: int | None,
    lines: Sequence[Line],
    count: Callable[[Sequence[Line]], int],
) -> Bar:
    wanted = "not asked for at this depth" if least is None else f"≥ {least:,}, 0 wrong"
    if not lines:
        return Bar(name, wanted, "no data", None)
    number, bad = count(lines), summed(lines).bad
    found = f"{number:,}, {bad:,} wrong"
    if least is None:
        return Bar(name, wanted, found, False if bad else None)
    return Bar(name, wanted, found, number >= least and not bad)


def _named_points(lines: Sequence[Line]) -> Bar:
    """Every point that a run lists is killed, and no end's points are left out by a sample."""
    name, wanted = "named points killed on real nodes", "each once, 0 wrong"
    parts = select(lines, "crash", "named")
    if not parts:
        return Bar(name, wanted, "no data", None)
    killed, bad = summed(parts).fired, summed(select(lines, "crash", "points")).bad
    listed = sum(int(line.more["listed"]) for line in parts)
    holds = 0 < listed == killed and not bad
    return Bar(name, wanted, f"{killed} of {listed}, {bad} wrong", holds)


def _duration(jobs: Sequence[Ran]) -> Bar:
    wanted = f"under {_TEST_MINUTES} minutes"
    whole = next((job for job in jobs if job.name == "everything"), None)
    if whole is None:
        return Bar("`make test` in all", wanted, "other jobs were run", None)
    minutes = whole.seconds / 60
    return Bar("`make test` in all", wanted, f"{minutes:.1f} minutes", minutes < _TEST_MINUTES)


def _passed(jobs: Sequence[Ran]) -> Bar:
    """Each test is run once; there is no second run that could hide a flake."""
    tests = sum(job.tests for job in jobs)
    wrong = sum(job.failed for job in jobs) + sum(job.code != 0 for job in jobs)
    found = f"{tests:,} tests run once, {wrong} wrong" if jobs else "no data"
    holds = wrong == 0 if jobs else None
    return Bar("zero flakes", "nothing fails, nothing is run again", found, holds)


def _never(lines: Sequence[Line]) -> list[Bar]:
    judged = [line for line in lines if line.area in _JUDGES and not line.is_detail]
    bars = [_broken(name, set(rules), judged) for name, rules in _NEVER.items()]
    bars.append(_records(lines))
    known = {rule for rules in _NEVER.values() for rule in rules}
    unnamed = sum(line.bad for line in judged if not known & _named(line))
    if unnamed:
        text = f"{unnamed} in {summed(judged).runs:,} judged runs"
        bars.append(Bar("other things that are wrong", "0", text, holds=False))
    return bars


def _broken(name: str, rules: set[str], judged: Sequence[Line]) -> Bar:
    """Count what broke one of ``rules`` against the runs of judges that hold one of them."""
    bad = sum(line.bad for line in judged if rules & _named(line))
    runs = sum(line.runs for line in judged if rules & set(_JUDGES[line.area]))
    holds = bad == 0 if bad or runs else None
    return Bar(name, "0", f"{bad} in {runs:,} judged runs" if bad or runs else "no data", holds)


def _named(line: Line) -> set[str]:
    return set(line.more.get("rules", ()))


def _records(lines: Sequence[Line]) -> Bar:
    """What the disk's judge asks: an acknowledged record stays, a damaged one is never believed."""
    name, disk = "records lost, or believed though damaged", select(lines, "disk")
    if not disk:
        return Bar(name, "0", "no data", None)
    total = summed(disk)
    return Bar(name, "0", f"{total.bad} in {total.runs:,} cases on a faulty disk", not total.bad)


def _soak(lines: Sequence[Line], least: Mapping[str, int]) -> list[Bar]:
    minutes = least.get("minutes of soak")
    names = ("minutes of soak", "memory over the soak", "descriptors over the soak")
    wanted = (
        "not asked for at this depth" if minutes is None else f"≥ {minutes}, 0 wrong",
        f"at the end within {_GROWTH_MB:g} MB of that at a third",
        "no more at the end than at a third",
    )
    soaks = select(lines, "soak", "soak")
    if not soaks:
        return [Bar(name, want, "no data", None) for name, want in zip(names, wanted, strict=True)]
    last = soaks[-1].more
    grown_mb = float(last["rss_end_mb"]) - float(last["rss_third_mb"])
    ran, bad = float(last["minutes"]), summed(soaks).bad
    sagas, faults = summed(soaks).runs, summed(soaks).fired
    well = sagas > 0 and faults > 0 and not bad
    enough = (None if well else False) if minutes is None else ran >= minutes and well
    found = f"{ran:.1f}, {sagas:,} sagas, {faults:,} faults, {bad} wrong"
    return [
        Bar(names[0], wanted[0], found, enough),
        Bar(names[1], wanted[1], f"{grown_mb:+.1f} MB", grown_mb <= _GROWTH_MB),
        Bar(
            names[2], wanted[2], f"{last['fds_third']} → {last['fds_end']}",
            last["fds_end"] <= last["fds_third"],
        ),
    ]  # fmt: skip
