"""Storage slots of our contracts, computed here on their own from the documented layout.

A test that needs a transaction to fail for want of gas, after its gas limit was fixed, can make the
call dearer by state alone; the contracts have no switch for it. Setting a slot from zero to
something costs 20,000 gas, from something to something else 2,900 (EIP-2200, EIP-2929):

========  =============================  ==========  =============================================
contract  slot                           gas raised  by
========  =============================  ==========  =============================================
Token     18 `pending_supply`            17,100      `mint`; in real life when the other open
                                                     credits are confirmed or cancelled meanwhile
Token     7 `groups.used` of the group   20,000      `mint`; only by writing the slot
Token     16 `balanceOf` of the vault    17,100      the vault's `lock`; in real life when all other
                                                     locks of the token are paid out meanwhile
Vault     7 `groups.used` of the group   20,000      `lock`, `hold`; only by writing the slot
Registry  0 `weight`                     96 a unit   `set`; only by writing the slot
========  =============================  ==========  =============================================

To use them: let the slot be non-zero when the plan is accepted (an other credit open, any former
operation of the group), then set it to zero with `anvil_setStorageAt`. Put `pending_supply` back
before the other credit is confirmed.
"""

from eth_abi.abi import encode
from web3 import Web3

__all__ = [
    "AMOUNTS",
    "BALANCES",
    "ESCROWS",
    "HEADS",
    "PENDING_SUPPLY",
    "USED",
    "WEIGHT",
    "ZERO_WORD",
    "mapping_slot",
    "word",
]

#: Variables by slot; the first two lie alike in both contracts.
USED, HEADS = 7, 8
ESCROWS = 9
BALANCES, PENDING_SUPPLY, AMOUNTS = 16, 18, 20
#: Of the test contract Registry.
WEIGHT = 0


def word(number: int) -> str:
    """A number as the node wants slots and their contents: 32 bytes of hex."""
    return f"0x{number:064x}"


ZERO_WORD = word(0)


def mapping_slot(slot: int, *keys: str | bytes) -> int:
    """Slot of an entry of a mapping: Vyper hashes the mapping's slot before the key.

    Args:
        slot: the variable's own slot.
        keys: one address (text) or 32 bytes for each level.
    """
    for key in keys:
        kind = "address" if isinstance(key, str) else "bytes32"
        slot = int.from_bytes(Web3.keccak(encode(["uint256", kind], [slot, key])))
    return slot
