"""A question to a person in words: what is asked, on what evidence, and how to answer."""

from collections.abc import Mapping
from typing import Any, Final

from coordinator.cli.text import moment
from coordinator.saga import SagaState
from coordinator.saga.questions import allowed

__all__ = ["asking_lines", "verdict_commands"]

#: Verdict → its options; what gives value up needs two persons.
_VERDICT_OPTIONS: Final = {
    "adopt": "--adopt TX --by NAME",
    "burn": "--burn --by NAME",
    "reclaim": "--reclaim --by NAME --by NAME",
    "write_off": "--write-off --by NAME --by NAME",
}


def asking_lines(state: SagaState) -> list[str]:
    """Return what a stuck saga asks: reason, question, evidence, and a command for each answer."""
    stuck = state.stuck
    if stuck is None:
        return []
    code = f" [{stuck['code']}]" if stuck.get("code") else ""
    lines = [f"  needs you     {stuck['reason']}{code}", f"                {stuck['question']}"]
    for number, line in enumerate(_evidence(stuck.get("evidence") or {})):
        lines.append(f"  {'evidence' if not number else '':<12}  {line}")
    if "at_s" in stuck:
        looked = f"told {moment(stuck['at_s'] * 1000)}, next look {moment(stuck['until_s'] * 1000)}"
        lines.append(f"                {looked}")
    for number, command in enumerate(verdict_commands(state)):
        lines.append(f"  {'or decide' if not number else '':<12}  {command}")
    return lines


def verdict_commands(state: SagaState) -> list[str]:
    """Return the command of each verdict that the newest alarm allows, and that fits still."""
    stuck = state.stuck
    if stuck is None or stuck.get("dir") is None:
        return []
    name, direction = stuck["step"], stuck["dir"]
    fits = allowed(state, state.step(name), direction)
    commands = []
    for verdict in stuck["verdicts"]:
        if verdict == "cap" and verdict in fits:
            commands.append(
                f"coordinator bump {state.saga} {name} --fee-cap AMOUNT --by NAME --reason TEXT"
            )
        elif verdict in _VERDICT_OPTIONS and verdict in fits:
            options = _VERDICT_OPTIONS[verdict]
            commands.append(f"coordinator resolve {state.saga} {name} {options} --reason TEXT")
    return commands


def _evidence(evidence: Mapping[str, Any]) -> list[str]:
    if not evidence:
        return []
    height = evidence["height"]
    read = "never read by this process" if height is None else f"read up to height {height}"
    lines = [
        f"{evidence['chain']} {read}; {evidence['attempts_made']} attempts, {_phase(evidence)}"
    ]
    for attempt in evidence["attempts"]:
        claim = ", ".join(_claim(resource, value) for resource, value in attempt["claim"])
        lines.append(f"{attempt['purpose']} tx {attempt['tx']} claims {claim}")
    if evidence["said"]:
        lines.append(f"a node said: {evidence['said']}")
    if evidence["expiry"]:
        unit, value = next(iter(evidence["expiry"].items()))
        lines.append(f"the hold expires at {unit} {value}")
    if evidence["by_s"] is not None:
        lines.append(f"it rolls back at {moment(evidence['by_s'] * 1000)}, whatever is answered")
    return lines


def _phase(evidence: Mapping[str, Any]) -> str:
    if evidence["tx"] is None:
        return "no block shows one"
    return f"tx {evidence['tx']} in block {evidence['block_height']} {evidence['block']}"


def _claim(resource: str, value: int) -> str:
    return resource if ":" in resource else f"nonce {value} of {resource}"
