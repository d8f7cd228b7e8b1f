"""Forgeries for two verifiers: damage behind every first line of defence.

Whoever holds the keys can number, chain, log and sign anew whatever he changed, so that only what
the change says is wrong. Every case follows from its number and a seed.
"""

import copy
import hashlib
import json
import random
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final

from proofs import canonical
from proofs.errors import ProofError
from tests.unit.bundle_scene import Story, committed, rechained, rolled_back
from tests.unit.fuzzing import ways_into

__all__ = ["Case", "damaged", "forgeries", "histories", "other_plans"]

#: A bundle and a trust file as JSON.
Case = tuple[bytes, str]

_STORIES: Final[Mapping[str, Callable[[], Story]]] = {
    "committed": committed,
    "rolled back": rolled_back,
}
_VALUES: Final[tuple[Any, ...]] = (
    None, True, 0, 1, 2, 51, 60, -1, 2**53 - 1, "", "x", "@0", "1", [], {}, "00" * 32, "11" * 20,
    f"0x{'00' * 32}", "done", "not_done", "forward", "confirm", "undo", "lock", "hold", "mint",
    "effect", "burn", "tombstone", "commit", "rollback", "committed", "rolled_back", "included",
    "final", "pivot", "retriable", "required", "none",
)  # fmt: skip


def _get(form: Any, way: tuple[Any, ...]) -> Any:
    for key in way:
        form = form[key]
    return form


@cache
def _told(name: str) -> Story:
    return _STORIES[name]()


@cache
def _bundled(name: str) -> bytes:
    return _told(name).bundle()


def forgeries(seed: str, count: int) -> list[tuple[str, Case]]:
    """So many forgeries, each with what was done."""
    made: list[tuple[str, Case]] = []
    case = 0
    while len(made) < count:
        chance = random.Random(f"{seed}/{case}")
        case += 1
        try:
            made.append(_forged(chance))
        except (ProofError, LookupError, TypeError, ValueError, AttributeError):
            continue  # a change of which no bundle can be made
    return made


def _forged(chance: random.Random) -> tuple[str, Case]:
    name = chance.choice(sorted(_STORIES))
    story = _told(name)
    trust = copy.deepcopy(story.trust())
    kind = chance.choice(
        ("records", "records", "records", "proof", "proof", "trust", "log", "signatures")
    )
    what = kind
    if kind == "records":
        what, raw = _other_records(chance, name)
    elif kind == "proof":
        what, raw = _other_proof(chance, name)
    elif kind == "trust":
        what, raw = _damage(chance, trust), _bundled(name)
    else:
        form = json.loads(_bundled(name))
        what = _damage(chance, form[kind])
        raw = canonical.encode(form)
    return f"{name}: {kind}: {what}", (raw, json.dumps(trust))


def _bundle_of(name: str, records: list[dict[str, Any]], evidence: dict[str, bytes]) -> bytes:
    """The bundle of other records: chained, logged and signed anew where they make a saga."""
    other = Story(records[0]["data"]["plan"], rechained(records), evidence)
    try:
        return other.bundle()
    except ProofError:
        form = json.loads(_bundled(name))
        form["records"] = other.records
        return canonical.encode(form)


def _other_records(chance: random.Random, name: str) -> tuple[str, bytes]:
    what, records = _history(chance, name)
    return what, _bundle_of(name, records, dict(_told(name).evidence))


def histories(seed: str, count: int) -> list[tuple[str, list[dict[str, Any]]]]:
    """Records that were changed, then numbered and chained anew."""
    made: list[tuple[str, list[dict[str, Any]]]] = []
    case = 0
    while len(made) < count:
        chance = random.Random(f"{seed}/history {case}")
        case += 1
        try:
            what, records = _history(chance, chance.choice(sorted(_STORIES)))
            made.append((what, rechained(records)))
        except (ProofError, LookupError, TypeError, ValueError):
            continue  # a value that has no canonical form, or a record that is none
    return made


def damaged(chance: random.Random, form: dict[str, Any]) -> dict[str, Any]:
    """A copy with one member changed a little."""
    other = copy.deepcopy(form)
    _damage(chance, other)
    return other


def other_plans() -> list[tuple[str, Case]]:
    """Each member of each action changed: the evidence shows another effect than the plan wants."""
    made = []
    for name in sorted(_STORIES):
        story = _told(name)
        steps = story.records[0]["data"]["plan"]["steps"]
        for number, step in enumerate(steps):
            for member, value in step["action"].items():
                if not isinstance(value, str):
                    continue
                records = copy.deepcopy(story.records)
                action = records[0]["data"]["plan"]["steps"][number]["action"]
                action[member] = f"{value[:-1]}{'1' if value[-1] != '1' else '2'}"
                raw = _bundle_of(name, records, dict(story.evidence))
                made.append((f"{name}: {step['id']}: {member}", (raw, json.dumps(story.trust()))))
    return made


def _history(chance: random.Random, name: str) -> tuple[str, list[dict[str, Any]]]:
    records = copy.deepcopy(_told(name).records)
    done = []
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        at, to = chance.randrange(1, len(records)), chance.randrange(1, len(records))
        change = chance.choice(("drop", "move", "repeat", "set", "set", "set", "set", "set"))
        if change == "drop":
            del records[at]
        elif change == "move":
            records.insert(to, records.pop(at))
        elif change == "repeat":
            records.insert(to, copy.deepcopy(records[at]))
        else:
            done.append(_exchange(chance, records))
            continue
        done.append(f"{change} {at} {to}")
    return ", ".join(done), records


def _exchange(chance: random.Random, records: list[dict[str, Any]]) -> str:
    """Give a member the value that one of its name has elsewhere, or any other."""
    places = ways_into(records)
    way = chance.choice([one for one in places if len(one) > 1 and one[1] in {"data", "at"}])
    alike = [one for one in places if one[-1] == way[-1] and one != way]
    value = chance.choice(_VALUES)
    if alike and chance.random() < 0.6:
        value = _get(records, chance.choice(alike))
    _get(records, way[:-1])[way[-1]] = copy.deepcopy(value)
    return f"set {way} to {ascii(value)[:60]}"


def _other_proof(chance: random.Random, name: str) -> tuple[str, bytes]:
    """Damage a proof, and name it anew in its record."""
    story = _told(name)
    records, evidence = copy.deepcopy(story.records), dict(story.evidence)
    proved = chance.choice([record for record in records if record["kind"] == "proved"])
    entry = proved["data"]["evidence"][0]
    form = json.loads(evidence[entry["sha256"]])
    what = _damage(chance, form)
    body = canonical.encode(form)
    entry["sha256"] = hashlib.sha256(body).hexdigest()
    evidence[entry["sha256"]] = body
    return f"{entry['kind']} {what}", _bundle_of(name, records, evidence)


def _damage(chance: random.Random, form: Any) -> str:
    way = chance.choice(ways_into(form))
    place = _get(form, way[:-1])
    if isinstance(place, dict) and chance.random() < 0.15:
        place["zz"] = place.pop(way[-1])
        return f"rename {way}"
    place[way[-1]] = _changed(chance, place[way[-1]])
    return f"change {way}"


def _changed(chance: random.Random, value: Any) -> Any:
    """The same kind of value, a little other."""
    if chance.random() < 0.15:
        return copy.deepcopy(chance.choice(_VALUES))
    if isinstance(value, str) and value:
        at = chance.randrange(len(value))
        return chance.choice(
            (value[:at] + chance.choice("0f7A\n") + value[at + 1 :], value[:-2], f"{value}00")
        )
    if type(value) is int:
        return value + chance.choice((-1, 1, 2))
    if isinstance(value, list) and value:
        at = chance.randrange(len(value))
        return chance.choice(
            (value[:at] + value[at + 1 :], [*value, value[at]], [value[at], *value])
        )
    return copy.deepcopy(chance.choice(_VALUES))
