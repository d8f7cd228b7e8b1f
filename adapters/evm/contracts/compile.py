"""Compile contracts to the artefacts that are committed beside them.

``python -m adapters.evm.contracts.compile [FOLDER ...]`` rewrites the artefacts of the contracts in
the folders given (default: ours). It needs Vyper, which only development installs.

The artefact is a function of the sources and the compiler alone, so that anybody can compile the
sources again and compare byte for byte.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import vyper  # type: ignore[import-untyped]
from vyper.compiler import compile_from_file_input  # type: ignore[import-untyped]
from vyper.compiler.input_bundle import FilesystemInputBundle  # type: ignore[import-untyped]
from vyper.compiler.settings import OptimizationLevel, Settings  # type: ignore[import-untyped]
from vyper.utils import keccak256  # type: ignore[import-untyped]

from adapters.evm.contracts import FOLDER

__all__ = ["artifact_text", "contract_sources"]

#: The oldest rules our code needs (transient storage keeps the reentrancy lock, EIP-1153), for
#: the widest choice of chains.
EVM_VERSION = "cancun"


def contract_sources(folder: Path) -> list[Path]:
    """Sources of deployable contracts in a folder: those with a capital; the rest are modules."""
    return sorted(path for path in folder.glob("*.vy") if path.stem[0].isupper())


def artifact_text(source: Path) -> str:
    """Compile a contract and give the text of its artefact."""
    return json.dumps(_compile(source), indent=1) + "\n"


def _compile(source: Path) -> dict[str, Any]:
    bundle = FilesystemInputBundle([source.parent])
    output = compile_from_file_input(
        bundle.load_file(source.name),
        bundle,
        settings=Settings(optimize=OptimizationLevel.GAS, evm_version=EVM_VERSION),
        output_formats=("abi", "bytecode", "bytecode_runtime", "layout", "method_identifiers"),
    )
    runtime_code = bytes.fromhex(output["bytecode_runtime"].removeprefix("0x"))
    # Immutables are written into the code at deployment, so such code has no constant hash.
    has_immutables = "code_layout" in output["layout"]
    return {
        "contract": source.stem,
        "compiler": f"vyper {vyper.__version__.split('+')[0]}",
        "evm_version": EVM_VERSION,
        "abi": output["abi"],
        "bytecode": output["bytecode"],
        "runtime_code_hash": None if has_immutables else f"0x{keccak256(runtime_code).hex()}",
        "storage_layout": output["layout"].get("storage_layout", {}),
        "method_identifiers": output["method_identifiers"],
    }


def main(arguments: list[str]) -> int:
    """Write the artefacts of all contracts in the folders named; exit code for the shell."""
    parser = argparse.ArgumentParser(prog="python -m adapters.evm.contracts.compile")
    parser.add_argument("folder", nargs="*", type=Path, default=[FOLDER])
    for folder in parser.parse_args(arguments).folder:
        for source in contract_sources(folder):
            target = source.with_suffix(".json")
            target.write_text(artifact_text(source), encoding="utf-8")
            sys.stdout.write(f"wrote {target}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
