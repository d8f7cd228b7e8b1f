"""Trouble for the reference scenario, made as the world would: no switch of the engine is used."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from adapters.bitcoin.address import script_of_key
from adapters.bitcoin.signing import LocalBitcoinSigner
from adapters.bitcoin.transactions import Draft, Spend, TxOutput
from adapters.evm import contracts
from coordinator.devnet.identities import FUNDED_EVM, secret_of
from coordinator.devnet.ledger import Line, evm_address
from coordinator.devnet.network import CHAIN_IDS, Devnet, bitcoin_address, miner_address
from tests.contracts.slots import word
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

T = TypeVar("T")
#: Steps that overlap need a coin each.
_COINS_MIN = 12
#: What a new anvil's first block costs.
_BASE_FEE_GWEI = 1


@dataclass
class World:
    """Trouble on a development network, and how it ends; nothing here asks the engine."""

    devnet: Devnet

    def heal(self) -> None:
        """Undo every trouble, whatever became of the test that made it.

        What may have to be waited for comes last: a wait that fails leaves nothing else undone.
        """
        self.calm()
        for chain in CHAIN_IDS:
            self.devnet.rpc(chain, "evm_setAutomine", True)
            for contract in ("vault", "token"):
                self.unpause(chain, contract)
            for name in FUNDED_EVM:
                self.set_balance(chain, evm_address(name), 1_000 * 10**18)
        wait_until(lambda: not self.waiting("bitcoin"), what="an empty mempool", timeout_s=60)
        if len(self.coins("treasury_btc")) < _COINS_MIN:
            richest = max(self.coins("settlement_btc"), key=lambda coin: coin[1])[0]
            self.spend("settlement_btc", [richest], "treasury_btc", fee_sat=10_000, parts=20)
        # Blocks made in a hurry have later times each; the next test's deadlines go by them, too.
        wait_until(self._bitcoin_is_not_ahead, what="the host's clock", timeout_s=120)

    def calm(self) -> None:
        """Nothing waits for a block, the newest one is new, and the next one costs little."""
        self.start_bitcoin()
        for chain in CHAIN_IDS:
            self.drop(chain)
            # Seconds; a reorganisation sets the node's clock back by the age of its oldest block.
            self.devnet.rpc(chain, "evm_setTime", int(time.time()))
            # Where blocks come with transactions only, a price that rose stays.
            self.raise_base_fee(chain, _BASE_FEE_GWEI)
            self.mine(chain, 1)
        for tx, told in self.devnet.rpc("bitcoin", "getprioritisedtransactions").items():
            self.devnet.rpc("bitcoin", "prioritisetransaction", tx, 0, -told["fee_delta"])
        self.devnet.mine_bitcoin(1)

    def _bitcoin_is_not_ahead(self) -> bool:
        tip = self.devnet.rpc("bitcoin", "getbestblockhash")
        return int(self.devnet.rpc("bitcoin", "getblockheader", tip)["time"]) <= time.time()

    def set_balance(self, chain: str, address: str, wei: int) -> int:
        """Give an account this much of the native coin; return what it had."""
        had = int(self.devnet.rpc(chain, "eth_getBalance", address, "latest"), 16)
        self.devnet.rpc(chain, "anvil_setBalance", address, hex(wei))
        return had

    def hold_blocks(self, chain: str) -> None:
        """Transactions wait in the pool from now on."""
        self.devnet.rpc(chain, "evm_setAutomine", False)

    def release_blocks(self, chain: str) -> None:
        """What waits gets a block, and a block comes with each transaction again."""
        self.devnet.rpc(chain, "evm_setAutomine", True)
        self.devnet.rpc(chain, "anvil_mine", "0x1")

    def mine(self, chain: str, blocks: int) -> None:
        """Make blocks at once, with what waits and pays enough."""
        self.devnet.rpc(chain, "anvil_mine", hex(blocks))

    def waiting(self, chain: str) -> list[str]:
        """Ids of the transactions that wait for a block."""
        if chain not in CHAIN_IDS:
            found: list[str] = self.devnet.rpc(chain, "getrawmempool")
            return found
        pool = self.devnet.rpc(chain, "txpool_content")["pending"]
        return [tx["hash"] for txs in pool.values() for tx in txs.values()]

    def pending(self, chain: str, tx_hash: str) -> dict[str, Any]:
        """A transaction of an EVM chain that waits for a block, as its node shows it."""
        pool = self.devnet.rpc(chain, "txpool_content")["pending"]
        return next(tx for txs in pool.values() for tx in txs.values() if tx["hash"] == tx_hash)

    def raise_base_fee(self, chain: str, gwei: int) -> None:
        """Demand for blocks: the next one costs this much; each empty one after it a bit less."""
        self.devnet.rpc(chain, "anvil_setNextBlockBaseFeePerGas", hex(gwei * 10**9))

    def drop(self, chain: str) -> None:
        """The pool forgets what waits in it, as a node does when the payer can not pay."""
        self.devnet.rpc(chain, "anvil_dropAllTransactions")

    def pause(self, chain: str, contract: str) -> None:
        """The owner stops new operations of ``vault`` or ``token``."""
        self._as_owner(chain, contract, "pause()")

    def unpause(self, chain: str, contract: str) -> None:
        """New operations may begin again; harmless where they may already."""
        self._as_owner(chain, contract, "unpause()")

    def give(self, chain: str, address: str, wei: int) -> None:
        """Send an account this much of the native coin, in a block of its own."""
        owner = self.devnet.contracts[chain]["owner"]
        self._send(chain, {"from": owner, "to": address, "value": hex(wei)})

    def _as_owner(self, chain: str, contract: str, signature: str) -> None:
        place = self.devnet.contracts[chain]
        data = contracts.load("Token").method_identifiers[signature]
        self._send(chain, {"from": place["owner"], "to": place[contract], "data": data})

    def _send(self, chain: str, transaction: dict[str, str]) -> None:
        tx_hash = self.devnet.rpc(chain, "eth_sendTransaction", transaction)
        if self.devnet.rpc(chain, "eth_getTransactionReceipt", tx_hash) is None:
            self.devnet.rpc(chain, "anvil_mine", "0x1")

    def set_slot(self, chain: str, contract: str, slot: int, value: int) -> int:
        """Write a storage slot of ``vault`` or ``token``; return what it held."""
        address = self.devnet.contracts[chain][contract]
        had = int(self.devnet.rpc(chain, "eth_getStorageAt", address, word(slot), "latest"), 16)
        self.devnet.rpc(chain, "anvil_setStorageAt", address, word(slot), word(value))
        return had

    def stop_bitcoin(self) -> None:
        """No Bitcoin block comes from now on."""
        (self.devnet.folder / "bitcoin.paused").touch()

    def start_bitcoin(self) -> None:
        """A Bitcoin block comes with each transaction again."""
        (self.devnet.folder / "bitcoin.paused").unlink(missing_ok=True)

    def coins(self, name: str) -> list[tuple[str, int]]:
        """The confirmed coins of a wallet: outpoint and satoshis."""
        address = bitcoin_address(name)
        scan = self.devnet.rpc("bitcoin", "scantxoutset", "start", [f"addr({address})"])
        return [
            (f"{coin['txid']}:{coin['vout']}", round(coin["amount"] * 10**8))
            for coin in scan["unspents"]
        ]

    def spend(
        self, source: str, outpoints: Sequence[str], target: str, *, fee_sat: int, parts: int = 1
    ) -> dict[Line, int]:
        """Spend coins of one wallet to another, in a block at once; return what that moved.

        ``parts``: how many equal coins it becomes; what can not be divided is fee too.
        """
        values = dict(self.coins(source))
        signer, receiver = (LocalBitcoinSigner(secret_of(name)) for name in (source, target))
        # BIP-143: what a P2WPKH input signs is the script of the same key's hash, spelt out.
        code = b"\x76\xa9" + script_of_key(signer.public_key)[1:] + b"\x88\xac"
        total_sat = sum(values[outpoint] for outpoint in outpoints)
        part_sat = (total_sat - fee_sat) // parts
        output = TxOutput(part_sat, script_of_key(receiver.public_key))
        spends = tuple(
            Spend(
                outpoint, values[outpoint], code, source, partial(p2wpkh_witness, signer.public_key)
            )
            for outpoint in outpoints
        )
        raw = at_once(Draft(spends, (output,) * parts).sign({source: signer}))
        self.devnet.rpc("bitcoin", "generateblock", miner_address(), [raw.hex()])
        moved = {Line("bitcoin", "BTC", source): -total_sat}
        line = Line("bitcoin", "BTC", target)
        return moved | {line: moved.get(line, 0) + part_sat * parts}


def p2wpkh_witness(public_key: bytes, signature: bytes) -> tuple[bytes, ...]:
    """The witness of an input that pays from a key of ours (BIP-141)."""
    return (signature, public_key)


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """Run what only looks asynchronous: this may be called while a loop runs."""
    try:
        work.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    raise AssertionError("it waits for something")
