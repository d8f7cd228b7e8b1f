"""The keys of the development network, derived from their names: anybody can know them.

Fixed keys let example plans name addresses that are right on every machine.
"""

import hashlib
from typing import Final

__all__ = ["BITCOIN_NAMES", "EVM_NAMES", "FUNDED_EVM", "LOG", "SEED", "secret_of"]

#: Signers on both EVM chains: the treasury acts, the rescuer is another funded member of its group.
FUNDED_EVM: Final = ("treasury_evm", "rescue_evm")
#: Everybody with an Ethereum address; the last two only receive.
EVM_NAMES: Final = (*FUNDED_EVM, "reserve", "receiver")
#: The treasury and the settlement wallet are ours, the payee is not.
BITCOIN_NAMES: Final = ("treasury_btc", "settlement_btc", "payee_btc")
#: The seed of hold secrets.
SEED: Final = "seed"
#: Signs heads of the audit log, and owns nothing.
LOG: Final = "log"


def secret_of(name: str) -> bytes:
    """Return the 32-byte key of ``name``."""
    return hashlib.sha256(b"coordinator devnet key " + name.encode("ascii")).digest()
