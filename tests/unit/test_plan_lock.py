"""Lock files and resolution: exact bytes, strict shape, and one answer for one plan."""

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.assets import AssetFacts
from adapters.base import Adapter, Resolved, StepSpec
from adapters.errors import Transient, WrongChain
from adapters.tables import Table
from coordinator.config import AssetConfig, ChainConfig, Config, Limits
from coordinator.errors import PlanError, PreflightError
from coordinator.plan import (
    Lock,
    PlanRefused,
    check_lock,
    compare,
    is_lock,
    load_lock,
    reservations,
    resolve_plan,
    schemas,
    write_lock,
)
from coordinator.plan.conform import problems
from coordinator.plan.lockfile import lock_of
from coordinator.plan.model import parse_plan
from proofs import canonical
from tests.sim.adapter import SimAdapter
from tests.sim.chain import SimClock
from tests.sim.plans import ASSETS, build_chains
from tests.unit.plan_locks import codes, hold, lock, vault

NATIVE = {"poly": "POL", "eth": "ETH", "bit": "BTC"}


class Chains:
    """The simulated chains behind `resolve_plan`, and a configuration that names them."""

    def __init__(self) -> None:
        chains = build_chains(SimClock())
        self.adapters: dict[str, Adapter] = {
            name: SimAdapter(chain, ASSETS) for name, chain in chains.items()
        }
        assets = {name: AssetConfig(name, decimals, (), {}) for name, decimals in ASSETS.items()}
        self.config = Config(
            version=1, devnet=True, path=Path("chains.toml"), journal_path=Path("j"),
            witness_path=Path("w"), recovery_dir=Path("r"), limits=Limits(outage_s=3, skew_s=1),
            chains={name: self._chain(name) for name in chains}, assets=assets, signers={},
            secrets=None,
        )  # fmt: skip

    @staticmethod
    def _chain(name: str) -> ChainConfig:
        here = {NATIVE[name]} | ({"ALZ"} if name != "bit" else set())
        facts = {asset: AssetFacts(asset, ASSETS[asset], None, native=True) for asset in here}
        return ChainConfig(name, "sim", True, Table(f"chain.{name}", {}), facts)

    def resolve(self, *steps: dict[str, Any], deadline_s: int = 40) -> Lock:
        document = {"version": 1, "name": "plan", "deadline_s": deadline_s, "step": list(steps)}
        return asyncio.run(resolve_plan(parse_plan(document), self.adapters, self.config))


def step(
    step_id: str, chain: str, action: str, asset: str, value: str, **more: Any
) -> dict[str, Any]:
    params = {
        "amount": {"asset": asset, "value": value}, "from": "ops", "to": "store",
        "refund_after_s": 90, "refund_after_blocks": 90,
    }  # fmt: skip
    return {"id": step_id, "chain": chain, "action": action, "with": params | more}


REFERENCE = (
    step("lock", "poly", "lock", "ALZ", "0.0000000000001"),
    step("hold", "bit", "hold", "BTC", "0.001", deliver="secret", to="bob"),
    step("mint", "eth", "mint", "ALZ", "0.0000000000001"),
)


def test_the_reference_plan_resolves_into_a_sound_lock() -> None:
    found = Chains().resolve(*REFERENCE)
    assert check_lock(found.data).valid
    assert list(problems(found.data, schemas()["lock"])) == []
    assert found.digest == hashlib.sha256(canonical.encode(found.data)).hexdigest()
    assert found.data["confirm_order"] == ["lock", "hold", "mint"]
    assert found.data["chains"]["poly"]["outage_s"] == 3
    assert found.data["assets"] == {"ALZ": 18, "BTC": 8, "ETH": 18, "POL": 18}


def test_one_plan_has_one_digest_and_another_amount_another() -> None:
    chains = Chains()
    first = chains.resolve(*REFERENCE)
    assert chains.resolve(*REFERENCE).digest == first.digest
    longer = (REFERENCE[0], step("hold", "bit", "hold", "BTC", "0.00100", deliver="secret",
                                 to="bob"), REFERENCE[2])  # fmt: skip
    assert chains.resolve(*longer).digest == first.digest
    other = (step("lock", "poly", "lock", "ALZ", "0.0000000000002"), *REFERENCE[1:])
    assert chains.resolve(*other).digest != first.digest


def test_steps_after_the_pivot_are_resolved_as_such() -> None:
    found = Chains().resolve(
        REFERENCE[0],
        step("pay", "eth", "pay", "ALZ", "0.0000000000001", to="bob"),
        step("after", "bit", "transfer", "BTC", "0.001"),
    )
    assert [s["class"] for s in found.data["steps"]] == ["undoable", "pivot", "retriable"]


def test_what_the_configuration_does_not_have_is_refused_all_at_once() -> None:
    with pytest.raises(PlanRefused) as caught:
        Chains().resolve(
            step("a", "north", "lock", "ALZ", "1"),
            step("b", "bit", "hold", "ALZ", "1"),
            step("c", "poly", "lock", "ALZ", "0.0000000000000000001"),
            step("d", "bit", "mint", "BTC", "1"),
        )
    assert codes(caught.value.findings) == ["E07", "E09", "E09", "E08"]
    message = str(caught.value)
    assert "chain 'north' is not configured (known: bit, eth, poly)" in message
    assert "asset 'ALZ' is not on chain 'bit', which has: BTC" in message
    assert "has 19 decimals, the asset has 18" in message
    assert "bit has no action mint" in message


class Away(SimAdapter):
    """A chain whose node fails."""

    fault: Exception = Transient("connection refused")

    async def resolve(self, _spec: StepSpec) -> Resolved:
        raise self.fault


@pytest.mark.parametrize("fault", [Transient("connection refused"), WrongChain("chain id 5")])
def test_a_chain_that_is_away_or_another_stops_before_anything(fault: Exception) -> None:
    chains = Chains()
    away = Away(build_chains(SimClock())["eth"], ASSETS)
    away.fault = fault
    chains.adapters["eth"] = away
    with pytest.raises(PreflightError, match=r"eth: step 'mint' .* Nothing was sent"):
        chains.resolve(*REFERENCE)


def test_the_undo_deadline_of_the_plan_reaches_the_lock() -> None:
    held = REFERENCE[0] | {"undo": {"until_s": 500}}
    found = Chains().resolve(held, *REFERENCE[1:])
    assert found.data["steps"][0]["action"]["undo_until_s"] == 500
    paid = step("pay", "eth", "pay", "ALZ", "0.0000000000001", to="bob")
    with pytest.raises(PlanRefused, match=r"E13 step 'pay': undo.until_s is set"):
        Chains().resolve(paid | {"undo": {"until_s": 500}})


def test_a_lock_file_is_its_digest_and_comes_back_the_same(tmp_path: Path) -> None:
    found = Chains().resolve(*REFERENCE)
    path = tmp_path / "plan.lock.json"
    write_lock(found, path)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == found.digest
    again = load_lock(path, found.digest)
    assert (again.data, again.digest) == (found.data, found.digest)
    assert is_lock(path)
    assert [p.name for p in tmp_path.iterdir()] == ["plan.lock.json"]


def test_a_lock_of_another_digest_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "l.json"
    write_lock(lock_of(lock()), path)
    with pytest.raises(PlanRefused, match="expected 00"):
        load_lock(path, "00" * 32)


def test_a_plan_file_is_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text("version = 1")
    assert not is_lock(path)
    assert not is_lock(tmp_path / "none")


def test_a_folder_that_can_not_be_written_is_an_error_for_people(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"cannot write .* nothing was sent"):
        write_lock(lock_of(lock()), tmp_path / "none" / "l.json")


def test_an_edited_lock_is_refused_in_every_place(tmp_path: Path) -> None:
    path = tmp_path / "l.json"
    pretty = json.dumps(lock(), indent=1)
    path.write_text(pretty)
    with pytest.raises(PlanRefused, match=r"not in canonical form .* not edited"):
        load_lock(path)
    path.write_bytes(canonical.encode(lock()) + b"\n")
    with pytest.raises(PlanRefused, match="not in canonical form"):
        load_lock(path)


def _paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [at] if at else []
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, item in items:
        found += _paths(item, (*at, key))
    return found


def _set(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    changed = json.loads(json.dumps(value))
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = new
    return changed


def _without(value: Any, path: tuple[Any, ...]) -> Any:
    changed = json.loads(json.dumps(value))
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    del inner[path[-1]]
    return changed


def _is_free_text(path: tuple[Any, ...]) -> bool:
    """Words for people, and accounts in the chain's own notation."""
    words = {"source", "target", "text", "confirm_text", "undo_text", "kind"}
    return (
        path[-1] in words
        or "payers" in path[:-1]
        or (path[-3:-2] == ("reserve",) and path[-1] == 0)
    )


TYPED = [p for p in _paths(lock()) if "action" not in p[:-1]]
#: Maps whose keys are names of the plan's own, or that need not have every key.
OPEN_MAPS = {"fees", "payers", "assets", "chains", "action"}
OPTIONAL = {"outage_s", "skew_s"}


@pytest.mark.parametrize("path", TYPED, ids=lambda p: ".".join(map(str, p)))
def test_a_value_of_another_kind_is_refused_wherever_it_stands(path: tuple[Any, ...]) -> None:
    new: Any
    for new in ([[]], -1, 0.5, "\u0430 b"):
        if isinstance(new, str) and _is_free_text(path):
            continue
        with pytest.raises(PlanRefused):
            lock_of(_set(lock(), path, new))


def test_a_missing_key_is_refused_and_named() -> None:
    named = [p for p in TYPED if type(p[-1]) is str and not OPEN_MAPS & {*p[-2:-1]}]
    assert len(named) > 60
    for path in named:
        if path[-1] not in OPTIONAL:
            with pytest.raises(PlanRefused, match=f"'{path[-1]}' is missing"):
                lock_of(_without(lock(), path))


@pytest.mark.parametrize(
    "place", [(), ("steps", 0), ("steps", 0, "fees"), ("steps", 0, "moves", 0)], ids=str
)
def test_an_added_key_is_refused(place: tuple[Any, ...]) -> None:
    with pytest.raises(PlanRefused, match="does not belong here"):
        lock_of(_set(lock(), (*place, "more"), 1))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_lock_with_anything_changed_is_refused_or_checked_without_a_traceback(
    data: st.DataObject,
) -> None:
    whole: Any = lock(vault(), hold(), name="x")
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(_paths(whole)))
        new = data.draw(
            st.none() | st.booleans() | st.integers(-3, 2**53) | st.text(max_size=3)
            | st.sampled_from(["0", "7", "hold", "pivot", "retriable", "final", "east", []])
        )  # fmt: skip
        try:
            whole = _set(whole, path, new)
        except (KeyError, TypeError, IndexError):
            continue
    try:
        found = lock_of(whole)
    except PlanRefused:
        return
    check_lock(found.data, {})


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_no_lock(raw: bytes) -> None:
    path = Path("/tmp") / f"lock-{hashlib.sha256(raw).hexdigest()[:16]}"
    path.write_bytes(raw)
    try:
        with pytest.raises(PlanRefused):
            load_lock(path)
    finally:
        path.unlink()


def test_terms_that_changed_since_planning_are_named() -> None:
    chains = Chains()
    data = chains.resolve(*REFERENCE).data
    assert compare(data, chains.adapters) == []
    other = _set(data, ("chains", "poly", "genesis"), "0x00")
    other = _set(other, ("chains", "bit", "nodes"), 3)
    found = compare(other, chains.adapters)
    assert codes(found) == ["W17", "E17"]
    assert "genesis was '0x00' when the plan was resolved" in str(found[1])
    del chains.adapters["eth"]
    assert codes(compare(data, chains.adapters)) == ["E07"]


def test_reservations_add_up_by_chain_account_and_asset() -> None:
    plan = lock(vault(), vault("b"), hold())
    assert reservations(plan) == {
        ("east", "ours", "ALZ"): 2000,
        ("east", "ours", "GAS"): 72,
        ("west", "ours", "BTC"): 1000,
        ("west", "ours", "GAS"): 36,
    }


def test_participants_are_in_the_lock_and_its_digest_only_where_a_plan_names_some() -> None:
    chains = Chains()
    plain = chains.resolve(*REFERENCE)
    document = {"version": 1, "name": "plan", "deadline_s": 40, "step": list(REFERENCE)}
    address = "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed"
    named = parse_plan(document | {"participants": {"seller": address}})
    lock = asyncio.run(resolve_plan(named, chains.adapters, chains.config))

    assert "participants" not in plain.data
    assert lock.data["participants"] == {"seller": address[2:]}
    assert {**lock.data, "participants": None} == {**plain.data, "participants": None}
    assert lock.digest != plain.digest
    with pytest.raises(PlanRefused, match="has the address of 'buyer'"):
        lock_of({**plain.data, "participants": dict.fromkeys(("buyer", "seller"), "ab" * 20)})
