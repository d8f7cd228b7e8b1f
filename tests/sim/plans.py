"""Plan shapes for simulations, as LOCK dictionaries made by the adapters' own `resolve`."""

from collections.abc import Mapping
from typing import Any, Final

from adapters.base import Adapter, StepSpec
from coordinator.plan.resolve import locked
from proofs import canonical
from tests.sim.adapter import SimAdapter
from tests.sim.chain import SimChain, SimClock

__all__ = ["ASSETS", "PLANS", "build_chains", "lock_of", "specs_of", "started_of"]

ASSETS: Final = {"ALZ": 18, "POL": 18, "ETH": 18, "BTC": 8}
DEADLINE_S: Final = 14
REFUND_AFTER: Final = 28
_DIGESTS: dict[int, tuple[Mapping[str, Any], str]] = {}


def _step(
    name: str,
    chain: str,
    action: str,
    asset: str,
    to: str,
    *,
    after_pivot: bool = False,
    deliver: str | None = None,
) -> StepSpec:
    value = "0.001" if asset == "BTC" else "0.0000000000001"
    params: dict[str, Any] = {
        "amount": {"asset": asset, "value": value},
        "from": "ops",
        "to": to,
        "refund_after_s": REFUND_AFTER,
        "refund_after_blocks": REFUND_AFTER,
    }
    if deliver is not None:
        params["deliver"] = deliver
    return StepSpec(name, chain, action, params, after_pivot=after_pivot)


PLANS: Final[Mapping[str, tuple[StepSpec, ...]]] = {
    "reference": (
        _step("lock", "poly", "lock", "ALZ", "store"),
        _step("hold", "bit", "hold", "BTC", "bob", deliver="secret"),
        _step("mint", "eth", "mint", "ALZ", "store"),
    ),
    "transfers": (
        _step("one", "poly", "transfer", "ALZ", "store"),
        _step("two", "bit", "transfer", "BTC", "store"),
        _step("three", "eth", "transfer", "ALZ", "store"),
    ),
    "holds": (
        _step("gift", "poly", "hold", "ALZ", "bob", deliver="calldata"),
        _step("move", "bit", "transfer", "BTC", "store"),
        _step("cold", "bit", "hold", "BTC", "bob", deliver="file"),
    ),
    "pivot": (
        _step("lock", "poly", "lock", "ALZ", "store"),
        _step("mint", "eth", "mint", "ALZ", "store"),
        _step("pay", "bit", "pay", "BTC", "bob"),
    ),
    "onward": (
        _step("lock", "poly", "lock", "ALZ", "store"),
        _step("pay", "eth", "pay", "ALZ", "bob"),
        _step("after", "bit", "transfer", "BTC", "store", after_pivot=True),
    ),
    "single": (_step("lock", "poly", "lock", "ALZ", "store"),),
}


def build_chains(
    clock: SimClock, *, confirmations: int = 2, instant: bool = False, rich: int = 1
) -> dict[str, SimChain]:
    """Two account chains and one of coins, our accounts funded (``rich`` times)."""
    chains = {}
    for name, kind, native in (
        ("poly", "nonce", "POL"),
        ("eth", "nonce", "ETH"),
        ("bit", "coins", "BTC"),
    ):
        chain = SimChain(
            name,
            clock,
            kind=kind,
            native=native,
            ours=("ops", "store", "spare"),
            confirmations=confirmations,
            instant=instant,
        )
        for account in ("ops", "store", "spare", "bob"):
            if kind == "coins":
                chain.fund(account, native, rich * 2_000_000, coins=rich * 10)
            else:
                chain.fund(account, native, rich * 1_000_000)
                chain.fund(account, "ALZ", rich * 1_000_000)
        chain.add_payee("bob")
        chain.proof = "wanted" if name == "bit" else "required"
        chains[name] = chain
    return chains


def specs_of(name: str) -> tuple[StepSpec, ...]:
    """Return a plan's steps; ``plan:step+step`` keeps some of them, in the plan's order."""
    plan, _, kept = name.partition(":")
    steps = set(kept.split("+")) if kept else None
    return tuple(spec for spec in PLANS[plan] if steps is None or spec.id in steps)


async def lock_of(
    name: str, adapters: Mapping[str, Adapter], specs: tuple[StepSpec, ...] | None = None
) -> dict[str, Any]:
    """Resolve a plan shape into a LOCK."""
    specs = specs or specs_of(name)
    steps = [locked(spec, await adapters[spec.chain].resolve(spec)) for spec in specs]
    used = sorted({spec.chain for spec in specs})
    return {
        "v": 1,
        "name": name,
        "deadline_s": DEADLINE_S,
        "chains": {chain: dict(adapters[chain].terms()) for chain in used},
        "assets": dict(ASSETS),
        "steps": steps,
        "confirm_order": [step["id"] for step in steps if step["confirm"]],
    }


def _digest(lock: Mapping[str, Any]) -> str:
    """Return the plan digest, worked out once for each LOCK."""
    known = _DIGESTS.get(id(lock))
    if known is None or known[0] is not lock:
        known = _DIGESTS[id(lock)] = (lock, canonical.digest(lock))
    return known[1]


def started_of(
    saga: str,
    key: str,
    lock: Mapping[str, Any],
    adapters: Mapping[str, SimAdapter],
    chains: Mapping[str, SimChain],
    now_ms: int,
) -> dict[str, Any]:
    """Data of the first record, as the service would write it."""
    expiries: dict[str, dict[str, int]] = {}
    for step in lock["steps"]:
        clock = adapters[step["chain"]].clock()
        if step["expiry"] is not None and "blocks" in step["expiry"]:
            expiries[step["id"]] = {"height": clock.height + step["expiry"]["blocks"]}
        elif step["expiry"] is not None:
            latest_s = max(clock.time_s, now_ms // 1000)
            expiries[step["id"]] = {"time": latest_s + step["expiry"]["seconds"]}
    reservations = [
        [
            step["chain"],
            account,
            asset,
            amount,
            str(chains[step["chain"]].ledger.balances[account, asset]),
        ]
        for step in lock["steps"]
        for account, asset, amount in step["reserve"]
    ]
    return {
        "saga": saga,
        "key": key,
        "digest": _digest(lock),
        "plan": lock,
        "deadline_s": now_ms // 1000 + lock["deadline_s"],
        "expiries": expiries,
        "clocks": {
            chain: {
                "height": adapters[chain].clock().height,
                "time_s": adapters[chain].clock().time_s,
            }
            for chain in lock["chains"]
        },
        "reservations": reservations,
        "locks": sorted(lock_name for step in lock["steps"] for lock_name in step["locks"]),
        "instance": "sim",
    }
