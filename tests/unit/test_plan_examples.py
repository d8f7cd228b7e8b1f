"""The examples: well formed, and sized so that the checker accepts them on the devnet's blocks."""

from pathlib import Path
from typing import Any

import coincurve
import pytest
from eth_account import Account

from adapters.assets import AssetFacts
from adapters.bitcoin.actions import ActionResolver
from adapters.bitcoin.address import own_address
from adapters.bitcoin.networks import NETWORKS
from adapters.bitcoin.settings import BitcoinSettings
from adapters.bitcoin.signing import LocalBitcoinSigner
from adapters.tables import Table
from coordinator.devnet.identities import secret_of
from coordinator.plan import check_lock, read_plan, schemas
from coordinator.plan.conform import problems
from coordinator.plan.model import Plan, PlannedStep
from coordinator.plan.resolve import locked
from coordinator.plan.source import read_document
from coordinator.plan.timing import confirm_order, forward_ms
from tests.unit.plan_locks import chain, codes, issue, vault

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.toml"))
#: The block times that the comments of the examples assume.
EVM = {"fast": 950, "slow": 2000}
BITCOIN = {"fast": 1900, "slow": 3000}

SETTINGS = BitcoinSettings.read(Table("chain.bitcoin", {
    "kind": "bitcoin", "network": "regtest", "rpc": ["http://127.0.0.1:1"],
    "auth": "cookie:/none", "finality": {"confirmations": 2}, "block_time_ms": BITCOIN,
    "signer": "treasury_btc", "fee": {"max_sat_vb": 50},
}))  # fmt: skip
RESOLVER = ActionResolver(
    SETTINGS,
    {
        name: LocalBitcoinSigner(coincurve.PrivateKey(bytes([number] * 32)).secret)
        for number, name in enumerate(("treasury_btc", "settlement_btc"), start=1)
    },
    AssetFacts("BTC", 8, None, native=True),
)


def _locked_step(step: PlannedStep) -> dict[str, Any]:
    """Bitcoin's steps as their adapter resolves them; those of contracts by their known shape."""
    spec = step.spec
    if spec.chain == "bitcoin":
        more = {} if step.undo_until_s is None else {"undo_until_s": step.undo_until_s}
        return locked(spec, RESOLVER.resolve(spec), step.wait, more)
    # Five slow blocks: three until one takes the transaction, two confirmations.
    timing = {"confirm_ms": 5 * EVM["slow"], "undo_ms": 5 * EVM["slow"]}
    make = {"lock": vault, "mint": issue}[spec.action]
    return make(spec.id, spec.chain, **timing)


def _lock(plan: Plan) -> dict[str, Any]:
    evm = chain(EVM["fast"], EVM["slow"])
    data: dict[str, Any] = {
        "v": 1, "name": plan.name, "deadline_s": plan.deadline_s,
        "chains": {"polygon": evm, "ethereum": evm,
                   "bitcoin": chain(BITCOIN["fast"], BITCOIN["slow"])},
        "assets": {"ALZ": 18, "BTC": 8, "GAS": 0},
        "steps": [_locked_step(step) for step in plan.steps],
    }  # fmt: skip
    return data | {"confirm_order": confirm_order(data)}


def test_the_reference_scenario_has_three_variants() -> None:
    assert [path.stem for path in EXAMPLES] == ["alz-hold", "alz-pay", "alz-transfer"]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_matches_the_printed_schema_and_is_named_after_its_file(path: Path) -> None:
    assert list(problems(read_document(path), schemas()["plan"])) == []
    assert read_plan(path).name == path.stem


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_valid_on_the_devnet_even_at_its_slowest(path: Path) -> None:
    report = check_lock(_lock(read_plan(path)))
    assert report.valid, report.findings
    assert set(codes(report.findings)) <= {"W31"}


def test_the_arithmetic_in_the_comments_is_that_of_the_checker() -> None:
    held = _lock(read_plan(EXAMPLES[0]))
    assert forward_ms(held, "slow") == 9000
    assert held["steps"][1]["confirm_ms"] == 9000
    held["steps"][1]["expiry"] = {"blocks": 10}
    assert codes(check_lock(held).findings) == ["E14"]
    assert forward_ms(_lock(read_plan(EXAMPLES[1])), "slow") == 12_000


def test_every_schema_is_a_dialect_that_we_implement() -> None:
    for schema in schemas().values():
        list(problems({}, schema))
        assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_the_addresses_in_the_examples_are_those_of_the_devnet() -> None:
    public = coincurve.PrivateKey(secret_of("payee_btc")).public_key.format()
    expected = {
        "payee": {public.hex(), own_address(public, NETWORKS["regtest"])},
        "reserve": {Account.from_key(secret_of("reserve")).address},
        "receiver": {Account.from_key(secret_of("receiver")).address},
    }
    for path in EXAMPLES:
        for name, known in read_plan(path).inputs.items():
            assert name in {"amount", "btc"} or known.value in expected[name], path
