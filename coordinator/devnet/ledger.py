"""Who owns what on a development network, read from its nodes alone.

Nothing of the engine or its adapters is used here: demo and tests compare what the coordinator
says with this.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from adapters.assets import format_amount
from adapters.evm import contracts
from adapters.evm.signing import LocalEvmSigner
from coordinator.devnet.identities import BITCOIN_NAMES, EVM_NAMES, FUNDED_EVM, secret_of
from coordinator.devnet.network import CHAIN_IDS, Devnet, bitcoin_address

__all__ = ["DECIMALS", "Line", "difference", "evm_address", "read_ledger"]

DECIMALS: Final = {"ALZ": 18, "POL": 18, "ETH": 18, "BTC": 8}
NATIVE: Final = {"polygon": "POL", "ethereum": "ETH", "bitcoin": "BTC"}
_TOKEN: Final = contracts.load("Token").method_identifiers


@dataclass(frozen=True, slots=True, order=True)
class Line:
    """One amount: where, of what, whose. ``holder`` may also be ``vault``, ``pending``,
    ``supply`` or ``allowance``.
    """

    chain: str
    asset: str
    holder: str


def evm_address(name: str) -> str:
    """Return the checksummed address of a devnet identity."""
    return LocalEvmSigner(secret_of(name)).address


def read_ledger(devnet: Devnet) -> dict[Line, int]:
    """Return every amount that plans can move, in base units, as of the newest blocks."""
    lines: dict[Line, int] = {}
    for chain in CHAIN_IDS:
        lines |= _evm_lines(devnet, chain)
    return lines | _bitcoin_lines(devnet)


def difference(before: Mapping[Line, int], after: Mapping[Line, int]) -> dict[Line, int]:
    """Return what changed, in base units."""
    return {line: after[line] - before[line] for line in before if after[line] != before[line]}


def decimal(asset: str, base_units: int) -> str:
    """Return an amount of whole coins with its unit; negative amounts have their sign."""
    sign = "-" if base_units < 0 else ""
    return f"{sign}{format_amount(abs(base_units), DECIMALS[asset])} {asset}"


def _evm_lines(devnet: Devnet, chain: str) -> dict[Line, int]:
    place = devnet.contracts[chain]
    holders = {name: evm_address(name) for name in EVM_NAMES} | {"vault": place["vault"]}
    lines = {
        Line(chain, "ALZ", name): _read(devnet, chain, "balanceOf(address)", address)
        for name, address in holders.items()
    }
    lines |= {
        Line(chain, "ALZ", name): _read(devnet, chain, signature)
        for name, signature in (("supply", "totalSupply()"), ("pending", "pending_supply()"))
    }
    lines[Line(chain, "ALZ", "allowance")] = _read(
        devnet, chain, "allowance(address,address)", holders["treasury_evm"], place["vault"]
    )
    return lines | {
        Line(chain, NATIVE[chain], name): int(
            devnet.rpc(chain, "eth_getBalance", holders[name], "latest"), 16
        )
        for name in FUNDED_EVM
    }


def _read(devnet: Devnet, chain: str, signature: str, *addresses: str) -> int:
    words = "".join(address.removeprefix("0x").lower().rjust(64, "0") for address in addresses)
    call = {"to": devnet.contracts[chain]["token"], "data": _TOKEN[signature] + words}
    return int(devnet.rpc(chain, "eth_call", call, "latest"), 16)


def _bitcoin_lines(devnet: Devnet) -> dict[Line, int]:
    """Sum the unspent outputs of each wallet; what is in the mempool is not there yet."""
    owners = {bitcoin_address(name): name for name in BITCOIN_NAMES}
    scan: dict[str, Any] = devnet.rpc(
        "bitcoin", "scantxoutset", "start", [f"addr({address})" for address in owners]
    )
    sums = dict.fromkeys(owners.values(), 0)
    for coin in scan["unspents"]:
        address = coin["desc"].partition("(")[2].partition(")")[0]
        # JSON has it as a number of whole coins; eight places survive a float exactly in text.
        sums[owners[address]] += int(Decimal(f"{coin['amount']:.8f}").scaleb(8))
    return {Line("bitcoin", "BTC", name): amount for name, amount in sums.items()}
