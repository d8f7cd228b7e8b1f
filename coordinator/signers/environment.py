"""Where keys may come from the environment: on a machine's own development chains only.

Environment variables are inherited by child processes, shown by process tools and kept in crash
reports, so outside a devnet they are no place for a key.
"""

from collections.abc import Iterable
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from coordinator.errors import KeysError

__all__ = ["PUBLIC_GENESIS", "check_env_allowed", "is_loopback"]

#: Genesis hashes of public networks, test networks included, without 0x. The list can not be
#: complete; it is the last of three conditions, after the operator's word and loopback nodes.
PUBLIC_GENESIS: Final = {
    "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f": "Bitcoin",
    "000000000933ea01ad0ee984209779baaec3ced90fa3f408719526f8d77f4943": "Bitcoin testnet3",
    "00000000da84f2bafbbc53dee25a72ae507ff4914b867c565be350b0da8bf043": "Bitcoin testnet4",
    "00000008819873e925422c1ff0f99f7cc9bbb232af63a077a480a3633bee1ef6": "Bitcoin signet",
    "d4e56740f876aef8c010b86a40d5f56745a118d0906a34e69aec8c0db1cb8fa3": "Ethereum",
    "25a5cc106eea7138acab33231d7160d69cb777ee0c2c553fcddf5138993e6dd9": "Ethereum Sepolia",
    "b5f7f912443c940f21fd611f12828d75b534364ed9e95ca4e307729a4661bde4": "Ethereum Holesky",
    "bbe312868b376a3001692a646dd2d7d1e4406380dfd86b98aa8a34d1557c971b": "Ethereum Hoodi",
    "a9c28ce2141b56c474f1dc504bee9b01eb1bd7d1a507580d5519d4437a97de1b": "Polygon",
    "7202b2b53c5a0836e773e319d18922cc756dd67432f9a1f65352b61f4406c697": "Polygon Amoy",
    "7ca38a1916c42007829c55e69d3e9a73265554b586a499015373241b8a3fa48b": "OP Mainnet",
    "7ee576b35482195fc49205cec9af72ce14f003b9ae69f6ba0faef4514be8b442": "Arbitrum One",
    "f712aa9241cc24369b143cf6dce85f0902a9731e70d66818a3a5845b296c73dd": "Base",
    "0d21840abff46b96c84b2ac9e10e4f5cdaeb5693cb665db62a2f3b02d2d57b5b": "BNB Smart Chain",
    "4f1dd23188aab3a76b463e4af801b52b1248ef073c648cbdc4c9333d3da79756": "Gnosis",
    "31ced5b9beb7f8782b014660da0cb18cc409f121f408186886e1ca3e8eeca96b": "Avalanche C-Chain",
}

_ADVICE: Final = "Put the key into an encrypted keystore: coordinator keys add. Nothing was sent."


def check_env_allowed(
    *, devnet: bool, rpc_urls: Iterable[str], genesis_hashes: Iterable[str]
) -> None:
    """Refuse keys and passphrases from the environment unless everything is a local devnet.

    Args:
        devnet: the configuration's ``devnet`` flag.
        rpc_urls: every node of every enabled chain, references already resolved.
        genesis_hashes: genesis of every enabled chain as read from its node, with or without 0x.

    Raises:
        KeysError: the flag is not set, a node is not on loopback, a genesis is that of a known
            public network, or no node or genesis was given, in which case nothing is shown.
    """
    if not devnet:
        raise KeysError(f"keys from the environment need devnet = true. {_ADVICE}")
    urls, hashes = tuple(rpc_urls), tuple(genesis_hashes)
    if not urls or not hashes:
        raise KeysError(
            "keys from the environment need the nodes and the genesis of every chain to be known "
            f"first. {_ADVICE}"
        )
    for url in urls:
        if not is_loopback(url):
            raise KeysError(
                f"keys from the environment need nodes on loopback, {_host(url)} is not. {_ADVICE}"
            )
    for genesis in hashes:
        network = PUBLIC_GENESIS.get(genesis.lower().removeprefix("0x"))
        if network is not None:
            raise KeysError(
                f"keys from the environment are refused: a node serves {network}, a public "
                f"network (or a fork of it). {_ADVICE}"
            )


def is_loopback(url: str) -> bool:
    """Tell whether ``url`` names this machine: 127.0.0.0/8, ::1 or the name localhost."""
    try:
        host = urlsplit(url).hostname
        return host is not None and (host == "localhost" or ip_address(host).is_loopback)
    except ValueError:
        return False


def _host(url: str) -> str:
    """Return the host for a message: the rest of a URL may hold an access key."""
    try:
        return urlsplit(url).hostname or "a URL without host"
    except ValueError:
        return "a malformed URL"
