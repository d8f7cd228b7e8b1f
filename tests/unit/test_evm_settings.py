"""``[chain.NAME]`` of kind evm: what is accepted, and the words for what is not."""

from pathlib import Path
from typing import Any

import pytest

from adapters.evm.settings import EvmSettings
from adapters.tables import Table, TableError
from tests.e2e.evm_scene import chain_table

_CONTRACT = {"artifact": "Vault", "address": f"0x{'11' * 20}", "code_hash": f"0x{'22' * 32}"}


def read(folder: Path | None = None, **changes: Any) -> EvmSettings:
    table = chain_table(["http://127.0.0.1:1"], **changes)
    present = {key: value for key, value in table.items() if value is not None}
    return EvmSettings.read(Table("chain.polygon", present, folder=folder, environ={}))


def test_a_table_is_read_with_its_defaults() -> None:
    settings = read(poll_ms=None, contracts={"Vault": _CONTRACT})
    assert settings.rpc == ("http://127.0.0.1:1",)
    assert (settings.poll_ms, settings.window) == (100, 16)
    assert settings.fee.max_fee_wei == 100 * 10**9
    assert settings.contracts["Vault"].artifact == "Vault"
    assert (settings.finality.confirmations, settings.finality.blocks) == (1, 1)


@pytest.mark.parametrize("proof", ["required", "wanted", "none"])
def test_evidence_is_wanted_unless_the_table_says_otherwise(proof: str) -> None:
    assert read().proof == "wanted"
    assert read(proof=proof).proof == proof


def test_prices_are_exact() -> None:
    fee = read(fee={"max_gwei": "0.000000123", "max_tip_gwei": "0.000000022",
                    "tip_gwei": "0.00000002"}).fee  # fmt: skip
    assert (fee.max_fee_wei, fee.max_tip_wei, fee.tip_wei) == (123, 22, 20)


def test_final_heights_follow_confirmations_and_tags() -> None:
    finality = read(finality={"confirmations": 3}).finality
    assert finality.height(10, None) == 8
    tagged = read(finality={"tag": "safe"}).finality
    assert tagged.height(10, 4) == 4
    assert tagged.height(10, 40) == 10
    assert tagged.height(10, None) == -1


def test_an_abi_is_read_from_a_file_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('[{"type": "function", "name": "f", "inputs": []}]')
    entry = {**_CONTRACT, "abi": "x.json"}
    del entry["artifact"]
    assert read(tmp_path, contracts={"X": entry}).contracts["X"].abi[0]["name"] == "f"


@pytest.mark.parametrize("text", ["{", '{"abi": 1}', "[1]", "[" * 100_000, '{"bytecode": "0x"}'])
def test_a_file_that_is_no_abi_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    entry = {**_CONTRACT, "abi": "x.json"}
    del entry["artifact"]
    with pytest.raises(TableError, match="'abi' in"):
        read(tmp_path, contracts={"X": entry})


def _contract(**changes: Any) -> dict[str, Any]:
    entry = {**_CONTRACT, **changes}
    return {"contracts": {"Vault": {key: item for key, item in entry.items() if item is not None}}}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"chain_id": 1}, "is Ethereum, where value is real"),
        ({"chain_id": 137, "mainnet": "yes"}, 'must be "enabled"'),
        ({"chain_id": 137, "mainnet": "enabled"}, "one node of Polygon"),
        ({"chain_id": 0}, "chain_id"),
        ({"chain_id": None}, "'chain_id' is missing"),
        ({"rpc": []}, "at least one node"),
        ({"rpc": ["http://a:1", "http://a:1"]}, "twice"),
        ({"rpc": ["ws://a:1"]}, "no http"),
        ({"rpc": ["http://a:99999"]}, "no http"),
        ({"rpc": ["env:NOWHERE"]}, "NOWHERE"),
        ({"genesis": "0x12"}, "form"),
        ({"finality": {}}, "'confirmations'"),
        ({"finality": {"confirmations": 1, "tag": "safe"}}, "not both"),
        ({"finality": {"tag": "latest"}}, "'safe' or 'finalized'"),
        ({"finalty": {}}, "did you mean 'finality'"),
        ({"block_time_ms": {"fast": 2, "slow": 1}}, "more than 'slow'"),
        ({"fee": {"max_gwei": 1.5}}, "gwei"),
        ({"fee": {"max_gwei": "1e9"}}, "gwei"),
        ({"fee": {"max_gwei": -1}}, "gwei"),
        ({"fee": {"max_gwei": 10, "max_tip_gwei": 11}}, "more than 'max_gwei'"),
        ({"fee": {"max_gwei": 10, "tip_gwei": 10}}, "1.1"),
        ({"fee": {"max_gwei": "0.00000001"}}, "too small"),
        ({"gas": {"lock": 1}}, "from 21000"),
        ({"proof": "always"}, "'proof' in [chain.polygon] must be one of required, wanted, none"),
        ({"proof": True}, "'proof'"),
        (_contract(artifact="Nothing"), "no compiled contract named 'Nothing'"),
        (_contract(artifact=None), "'artifact'"),
        (_contract(abi="x.json"), "not both"),
        (_contract(artifact=None, abi="missing.json"), "can not be read"),
        (_contract(address="0x11"), "form"),
        (_contract(code_hash=None), "'code_hash' is missing"),
    ],
)
def test_a_wrong_table_is_refused_in_words(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(TableError) as refused:
        read(tmp_path, **changes)
    assert words in str(refused.value)


def test_a_public_chain_opens_by_name_with_enough_nodes() -> None:
    nodes = ["https://a", "https://b", "https://c"]
    assert read(chain_id=137, mainnet="enabled", rpc=nodes).chain_id == 137
    assert read(chain_id=1, mainnet="enabled", single_node=True).chain_id == 1
