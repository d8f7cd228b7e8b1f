"""Our own contracts as compiled artefacts; the sources and their description lie beside this file.

Reading an artefact needs the standard library only, so that commands which never talk to a chain
do not pay for a chain library.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["FOLDER", "Artifact", "load"]

FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Artifact:
    """A compiled contract.

    Attributes:
        contract: name of the contract, as in ``Vault.vy``.
        compiler: compiler and version.
        evm_version: the oldest rules of the EVM under which the code runs.
        abi: functions, events and constructor in the JSON form of the contract ABI.
        bytecode: code that creates the contract; constructor arguments go behind it.
        runtime_code_hash: 0x-prefixed Keccak-256 of the code that every deployment has on chain
            (what ``eth_getProof`` calls ``codeHash``); None if deployments differ (immutables).
        storage_layout: slots of the storage variables, grouped by the module that declares them.
        method_identifiers: 0x-prefixed selector of each function signature.
    """

    contract: str
    compiler: str
    evm_version: str
    abi: Sequence[Mapping[str, Any]]
    bytecode: bytes
    runtime_code_hash: str | None
    storage_layout: Mapping[str, Any]
    method_identifiers: Mapping[str, str]


def load(name: str, folder: Path = FOLDER) -> Artifact:
    """Read the artefact of a contract.

    Args:
        name: the contract, ``Vault`` or ``Token``.
        folder: where its artefact lies.

    Raises:
        LookupError: there is no artefact of that name in the folder.
    """
    known = {path.stem: path for path in sorted(folder.glob("*.json"))}
    if name not in known:
        raise LookupError(f"no compiled contract named {name!r}; there are {', '.join(known)}")
    fields = json.loads(known[name].read_text(encoding="utf-8"))
    fields["bytecode"] = bytes.fromhex(fields["bytecode"].removeprefix("0x"))
    return Artifact(**fields)
