"""Writes tests/vectors/bundle: bundles for verifiers in other languages.

    python -m tests.unit.bundle_vectors

A test compares the files with what this makes, so they are never edited by hand.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from proofs import canonical
from proofs.report import Report
from tests.unit.bundle_attacks import REFUSED
from tests.unit.bundle_scene import Ledger, Story, committed, rolled_back, verified

__all__ = ["FOLDER", "files"]

FOLDER: Final = Path(__file__).parents[1] / "vectors" / "bundle"
_STORIES: Final[Mapping[str, Callable[[], Story]]] = {
    "committed": committed,
    "rolled-back": rolled_back,
}


def files() -> dict[str, bytes]:
    """Return name → content of every vector."""
    made: dict[str, bytes] = {}
    for name, tell in _STORIES.items():
        story = tell()
        ledger = Ledger.around(story.bodies)
        older = len(ledger.bodies) - 9
        raw = story.bundle(ledger, older=older)
        trust = story.trust()
        trust["log"]["checkpoint"] = {"size": older, "root": ledger.root(older).hex()}
        made[f"{name}.json"] = raw
        made[f"{name}.trust.json"] = _pretty(trust)
        made[f"{name}.report.json"] = _pretty(_expected(verified(raw, trust)))
        made[f"{name}.untrusted.report.json"] = _pretty(_expected(verified(raw, None)))
    made["refused.json"] = _pretty([_refused(made, attack) for attack in REFUSED])
    return made


def _refused(made: Mapping[str, bytes], attack: Mapping[str, Any]) -> dict[str, Any]:
    """Return an attack with the checks that fail on it."""
    raw = changed(made[f"{attack['of']}.json"], attack)
    report = verified(raw, json.loads(made[f"{attack['of']}.trust.json"]))
    failed = sorted({check.name for check in report.checks if check.status == "failed"})
    assert failed, attack
    return {**attack, "failed": failed}


def changed(raw: bytes, attack: Mapping[str, Any]) -> bytes:
    """Return the bundle with one member set, dropped or put in; still canonical JSON."""
    form = json.loads(raw)
    *way, last = attack["path"]
    place = form
    for key in way:
        place = place[key]
    if attack["do"] == "set":
        place[last] = attack["value"]
    elif attack["do"] == "drop":
        del place[last]
    else:
        place.insert(last, attack["value"])
    return canonical.encode(form)


def _expected(report: Report) -> dict[str, Any]:
    """Return what another verifier has to find; reasons are for people and may differ."""
    told = report.json()
    checks = [
        {key: check[key] for key in ("name", "subject", "status", "by")} for check in told["checks"]
    ]
    return {key: told[key] for key in ("verdict", "exit", "saga", "outcome")} | {"checks": checks}


def _pretty(value: Any) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, content in files().items():
        (FOLDER / name).write_bytes(content)


if __name__ == "__main__":
    main()
