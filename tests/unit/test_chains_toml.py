"""The chains.toml at the top of the tree: it can be used, and it fits the plans in examples/."""

import re
import tomllib
from pathlib import Path

from adapters.bitcoin.settings import BitcoinSettings
from adapters.evm.settings import EvmSettings
from coordinator.config import load_config

ROOT = Path(__file__).parents[2]
PATH = ROOT / "chains.toml"
NODES = {
    f"{chain}_RPC_{number}": f"http://127.0.0.1:{8000 + number}"
    for chain in ("POLYGON", "ETHEREUM", "BITCOIN")
    for number in (1, 2, 3)
} | {"BITCOIN_RPC_AUTH": "user:word"}


def filled_in() -> str:
    """The file with what its comments leave to be filled in."""
    text = re.sub(r"^# (\[(?:asset|chain)\.|\w+ = )", r"\1", PATH.read_text(), flags=re.MULTILINE)
    text = text.replace('code_hash = "0x…"', f'code_hash = "0x{"ab" * 32}"')
    return text.replace('"0x…"', '"0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"')


def test_it_loads_without_any_node_and_names_none() -> None:
    config = load_config(PATH, {})
    assert list(config.chains) == ["polygon", "ethereum", "bitcoin"]
    assert "://" not in PATH.read_text()


def test_adapters_take_it_once_nodes_and_contracts_are_filled_in(tmp_path: Path) -> None:
    path = tmp_path / "chains.toml"
    path.write_text(filled_in())
    config = load_config(path, NODES)
    for chain in config.chains.values():
        read = EvmSettings.read if chain.kind == "evm" else BitcoinSettings.read
        settings = read(chain.table)
        assert len(settings.rpc) == 3
        assert settings.proof == "required"


def test_plans_in_examples_find_their_assets_chains_signers_and_contracts(tmp_path: Path) -> None:
    path = tmp_path / "chains.toml"
    path.write_text(filled_in())
    config = load_config(path, NODES)
    with path.open("rb") as file:
        chains = tomllib.load(file)["chain"]
    for plan in sorted((ROOT / "examples").glob("*.toml")):
        with plan.open("rb") as file:
            value = tomllib.load(file)
        for step in value["step"]:
            assert step["chain"] in config.chains, plan.name
            named = {step["with"][key] for key in ("vault", "token") if key in step["with"]}
            assert named <= chains[step["chain"]].get("contracts", {}).keys(), plan.name
        amounts = [entry for entry in value["input"].values() if "asset" in entry]
        assert {entry["asset"] for entry in amounts} <= config.assets.keys(), plan.name
