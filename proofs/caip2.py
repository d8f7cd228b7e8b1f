"""Names of chains as strangers know them (CAIP-2), from what a plan fixes of a chain."""

import re
from collections.abc import Mapping
from typing import Any, Final

from proofs.errors import Refused
from proofs.step import CHAIN

__all__ = ["caip2"]

_HASH: Final = re.compile(r"[0-9a-f]{64}")
#: What `evm_form.chain_id_of` reads back.
_CHAIN_ID_LIMIT: Final = 10**18


def caip2(terms: Any) -> str:
    """Return the CAIP-2 name of the chain with these terms: ``eip155:137``, ``bip122:0000…``.

    ``terms`` is the object under the chain's name in a plan's lock file.

    Raises:
        Refused: ``step-chain``: the terms name no chain that has such a name.
    """
    kind = terms.get("kind") if isinstance(terms, Mapping) else None
    if kind == "evm":
        chain_id = terms.get("chain_id")
        if type(chain_id) is int and 0 < chain_id < _CHAIN_ID_LIMIT:
            return f"eip155:{chain_id}"
    if kind == "bitcoin":
        genesis = terms.get("genesis")
        if isinstance(genesis, str) and _HASH.fullmatch(genesis):
            return f"bip122:{genesis[:32]}"
    raise Refused(CHAIN, "the plan's terms name no chain that has a CAIP-2 name")
