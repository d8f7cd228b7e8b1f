"""The committed artefacts are what their sources compile to, byte for byte."""

from pathlib import Path

import pytest

from adapters.evm.contracts import FOLDER, load
from adapters.evm.contracts.compile import artifact_text, contract_sources

TEST_CONTRACTS = Path(__file__).parents[1] / "contracts"
SOURCES = [*contract_sources(FOLDER), *contract_sources(TEST_CONTRACTS)]


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_the_committed_artefact_is_what_the_source_compiles_to(source: Path) -> None:
    committed = source.with_suffix(".json").read_bytes()
    assert committed == artifact_text(source).encode(), (
        f"{source.name} or a module of it changed: "
        f"python -m adapters.evm.contracts.compile {source.parent.name}"
    )


@pytest.mark.parametrize("folder", [FOLDER, TEST_CONTRACTS], ids=["ours", "tests"])
def test_no_artefact_is_left_without_a_source(folder: Path) -> None:
    compiled = {path.stem for path in folder.glob("*.json")}
    assert compiled == {path.stem for path in contract_sources(folder)}


def test_the_shipped_folder_holds_no_test_contracts() -> None:
    assert [path.stem for path in contract_sources(FOLDER)] == ["Token", "Vault"]


def test_an_artefact_is_read_with_its_types() -> None:
    vault = load("Vault")
    assert vault.contract == "Vault"
    assert vault.compiler == "vyper 0.4.3"
    assert vault.evm_version == "cancun"
    assert vault.bytecode.startswith(b"\x34")  # CALLVALUE: the constructor refuses coins
    assert vault.runtime_code_hash is not None
    assert len(vault.runtime_code_hash) == 66
    assert vault.method_identifiers["cancel(bytes32)"] == "0xc4d252f5"
    assert any(entry.get("name") == "Operation" for entry in vault.abi)


@pytest.mark.parametrize("name", ["Nowhere", "../contracts/Vault", "groups", ""])
def test_an_unknown_contract_is_named_together_with_the_known_ones(name: str) -> None:
    with pytest.raises(LookupError, match=r"there are Token, Vault$"):
        load(name)
