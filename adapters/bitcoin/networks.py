"""The Bitcoin networks this adapter knows, and what tells them apart."""

from dataclasses import dataclass
from typing import Final

__all__ = ["NETWORKS", "Network"]


@dataclass(frozen=True, slots=True)
class Network:
    """Constants of one network (chainparams of Bitcoin Core).

    Attributes:
        name: as chains.toml has it.
        rpc_name: ``chain`` in the node's ``getblockchaininfo``.
        library_name: python-bitcoinlib's name for it.
        genesis: hash of block 0, in the byte order that people read.
        hrp: human-readable part of segwit addresses (BIP-173).
        p2pkh, p2sh: version bytes of base58 addresses.
        public: strangers mine it, so its coins or its peers are real.
    """

    name: str
    rpc_name: str
    library_name: str
    genesis: str
    hrp: str
    p2pkh: int
    p2sh: int
    public: bool


#: testnet4 is left out: python-bitcoinlib 0.12 does not know its parameters.
NETWORKS: Final = {
    network.name: network
    for network in (
        Network(
            name="mainnet",
            rpc_name="main",
            library_name="mainnet",
            genesis="000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f",
            hrp="bc",
            p2pkh=0,
            p2sh=5,
            public=True,
        ),
        Network(
            name="testnet3",
            rpc_name="test",
            library_name="testnet",
            genesis="000000000933ea01ad0ee984209779baaec3ced90fa3f408719526f8d77f4943",
            hrp="tb",
            p2pkh=111,
            p2sh=196,
            public=True,
        ),
        Network(
            name="signet",
            rpc_name="signet",
            library_name="signet",
            genesis="00000008819873e925422c1ff0f99f7cc9bbb232af63a077a480a3633bee1ef6",
            hrp="tb",
            p2pkh=111,
            p2sh=196,
            public=True,
        ),
        Network(
            name="regtest",
            rpc_name="regtest",
            library_name="regtest",
            genesis="0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206",
            hrp="bcrt",
            p2pkh=111,
            p2sh=196,
            public=False,
        ),
    )
}
