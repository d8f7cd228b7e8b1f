"""From a plan to its lock: every name replaced by what it stands for today."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from adapters.assets import AmountError, AssetFacts, parse_amount
from adapters.errors import AdapterError, Rejected
from coordinator.errors import PreflightError
from coordinator.plan.finality import deepened, step_finality
from coordinator.plan.findings import Finding, PlanRefused
from coordinator.plan.lockfile import Lock, lock_of
from coordinator.plan.timing import confirm_order

if TYPE_CHECKING:
    from collections.abc import Iterator

    from adapters.base import Adapter, Resolved, StepSpec
    from coordinator.config import Config  # which itself reads names and files as this package does
    from coordinator.plan.model import Plan, PlannedStep

__all__ = ["locked", "resolve_plan"]


async def resolve_plan(plan: Plan, adapters: Mapping[str, Adapter], config: Config) -> Lock:
    """Return the lock of ``plan``: addresses, chain ids, code hashes and caps as of now.

    Nothing is sent; nonces, fees of the day, heights and ids are no part of it.

    Raises:
        PlanRefused: what the plan names does not exist or can not be done; all findings at once.
        PreflightError: a chain is away or is another chain.
    """
    findings: list[Finding] = []
    steps: list[dict[str, Any]] = []
    warnings: list[Finding] = []
    after_pivot = False
    for step in plan.steps:
        wrong = list(_misfits(step, adapters, config))
        findings += wrong
        if wrong:
            continue
        spec = replace(step.spec, after_pivot=after_pivot)
        where = f"step {spec.id!r}"
        try:
            resolved = await adapters[spec.chain].resolve(spec)
        except Rejected as error:
            findings.append(Finding("E08", where, str(error)))
            continue
        except AdapterError as error:
            text = f"{spec.chain}: {where} can not be resolved: {error}. Nothing was sent."
            raise PreflightError(text) from error
        if step.undo_until_s is not None and not resolved.undo:
            findings.append(Finding("E13", where, "undo.until_s is set but the step has no undo"))
        after_pivot = after_pivot or resolved.effect_class == "pivot"
        warnings += [Finding("W30", where, text) for text in resolved.warnings]
        more = {} if step.undo_until_s is None else {"undo_until_s": step.undo_until_s}
        item, terms = locked(step.spec, resolved, step.wait, more), adapters[spec.chain].terms()
        decimals = {
            name: facts.decimals for name, facts in config.chains[spec.chain].assets.items()
        }
        try:
            blocks = step_finality(where, step.finality, resolved, terms, decimals)
        except PlanRefused as refused:
            findings += refused.findings
            continue
        steps.append(deepened(item, blocks, terms) if blocks else item)
    if findings:
        raise PlanRefused(findings)
    return lock_of(_assembled(plan, steps, adapters, config), tuple(warnings))


def _misfits(
    step: PlannedStep, adapters: Mapping[str, Adapter], config: Config
) -> Iterator[Finding]:
    spec = step.spec
    where = f"step {spec.id!r}"
    chain = config.chains.get(spec.chain)
    if chain is None:
        known = ", ".join(sorted(config.chains))
        yield Finding("E07", where, f"chain {spec.chain!r} is not configured", f"known: {known}")
    elif not chain.enabled or spec.chain not in adapters:
        yield Finding("E07", where, f"chain {spec.chain!r} is not enabled")
    else:
        parts = {"with": spec.params, "effect": spec.effect, "undo": spec.undo}
        for place, amount in _amounts(parts, ""):
            if problem := _amount_problem(amount, chain.assets, spec.chain):
                yield Finding("E09", where, f"{place}: {problem}")


def _amounts(value: Any, place: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if isinstance(value, Mapping):
        if set(value) == {"asset", "value"}:
            yield place, value
            return
        for key, item in value.items():
            yield from _amounts(item, f"{place}.{key}" if place else key)
    elif isinstance(value, list):
        for number, item in enumerate(value, start=1):
            yield from _amounts(item, f"{place}[{number}]")


def _amount_problem(
    amount: Mapping[str, Any], assets: Mapping[str, AssetFacts], chain: str
) -> str | None:
    name = amount["asset"]
    facts = assets.get(name) if isinstance(name, str) else None
    if facts is None:
        known = ", ".join(sorted(assets))
        return f"asset {str(name)[:40]!a} is not on chain {chain!r}, which has: {known}"
    try:
        parse_amount(amount["value"], facts.decimals)
    except AmountError as error:
        return str(error)
    return None


def locked(
    spec: StepSpec,
    resolved: Resolved,
    wait: str = "included",
    more: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return a step of the lock: JSON inside the canonical subset, amounts as decimal strings.

    Args:
        wait: what the next step waits for, ``included`` or ``final``.
        more: what the plan itself adds to the adapter's action.
    """
    return {
        "id": spec.id,
        "chain": spec.chain,
        "action": {**resolved.action, **(more or {})},
        "class": resolved.effect_class,
        "confirm": resolved.confirm,
        "undo": resolved.undo,
        "kill": list(resolved.kill),
        "reveals": resolved.reveals,
        "deliver": resolved.deliver,
        "moves": [asdict(move) | {"amount": str(move.amount)} for move in resolved.moves],
        "fee_asset": resolved.fee_asset,
        "fees": {direction: str(fee) for direction, fee in resolved.fees.items()},
        "payers": dict(resolved.payers),
        "reserve": [[account, asset, str(n)] for account, asset, n in resolved.reserve],
        "expiry": None if resolved.expiry is None else dict(resolved.expiry),
        "locks": list(resolved.locks),
        "unique_by": resolved.unique_by,
        "undo_ms": resolved.undo_ms,
        "confirm_ms": resolved.confirm_ms,
        "text": resolved.text,
        "confirm_text": resolved.confirm_text,
        "undo_text": resolved.undo_text,
        "await": wait,
    }


def _assembled(
    plan: Plan, steps: list[dict[str, Any]], adapters: Mapping[str, Adapter], config: Config
) -> dict[str, Any]:
    allowances = {"outage_s": config.limits.outage_s, "skew_s": config.limits.skew_s}
    chains = {step["chain"]: {**adapters[step["chain"]].terms(), **allowances} for step in steps}
    used = {step["fee_asset"] for step in steps}
    used |= {move["asset"] for step in steps for move in step["moves"]}
    used |= {asset for step in steps for _, asset, _ in step["reserve"]}
    data: dict[str, Any] = {
        "v": 1,
        "name": plan.name,
        "deadline_s": plan.deadline_s,
        "chains": chains,
        "assets": {name: config.assets[name].decimals for name in sorted(used)},
        "steps": steps,
    }
    # Only where there are any: a plan without them keeps the digest that it always had.
    if plan.participants:
        data["participants"] = dict(plan.participants)
    data["confirm_order"] = confirm_order(data)
    return data
