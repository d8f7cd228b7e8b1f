"""``[participants]``: who has to sign the settlement bundle, each role by its Ethereum address."""

import re
from collections.abc import Mapping
from typing import Any, Final

from adapters.tables import Table, TableError
from coordinator.plan.names import name_problem
from proofs.keccak import keccak256

__all__ = ["MAX_PARTICIPANTS", "checksummed", "read_participants"]

MAX_PARTICIPANTS: Final = 16
_ADDRESS: Final = re.compile(r"0x[0-9a-fA-F]{40}")


def read_participants(values: Mapping[str, Any]) -> dict[str, str]:
    """Return role → 40 lower-case hex digits of its address.

    Raises:
        TableError: a role that is no name, an address that is none, that was mistyped (EIP-55), or
            that stands for two roles.
    """
    table = Table("participants", values)
    if len(values) > MAX_PARTICIPANTS:
        raise TableError(f"[participants] has {len(values)} roles, the limit is {MAX_PARTICIPANTS}")
    found: dict[str, str] = {}
    for role in table.names():
        if problem := name_problem(role):
            raise TableError(f"a role in [participants] {problem}")
        address = _address(table, role)
        for other, taken in found.items():
            if taken == address:
                raise table.error(role, f"has the address of {other!r}; each role needs its own")
        found[role] = address
    return found


def checksummed(address: str) -> str:
    """Return 40 lower-case hex digits as ``0x…`` with the checksum of EIP-55."""
    digits = keccak256(address.encode()).hex()
    return "0x" + "".join(
        letter.upper() if int(digit, 16) >= 8 else letter
        for letter, digit in zip(address, digits, strict=False)
    )


def _address(table: Table, role: str) -> str:
    text = table.text(role)
    if not _ADDRESS.fullmatch(text):
        raise table.error(role, "must be an address: 0x and 40 hex digits")
    digits = text[2:]
    address = digits.lower()
    # One case throughout is an address without checksum.
    if digits not in (address, digits.upper()) and checksummed(address) != text:
        raise table.error(role, "has a wrong checksum (EIP-55); copy the address again")
    if not int(address, 16):
        raise table.error(role, "is the zero address, whose key nobody has")
    return address
