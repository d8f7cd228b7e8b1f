"""The simulated chain behind the adapter protocol."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Any

from adapters.assets import parse_amount
from adapters.base import (
    Attempt,
    BlockEvent,
    ChainClock,
    ClaimBook,
    Move,
    Observation,
    Prepared,
    Proof,
    Purpose,
    Resolved,
    Settled,
    Signed,
    StepSpec,
    Submission,
    Task,
)
from adapters.errors import Rejected
from proofs import canonical
from proofs.errors import ProofUnavailable
from tests.sim.chain import SimChain
from tests.sim.ledger import Receipt
from tests.sim.looking import observe, touches
from tests.sim.nodes import Panel
from tests.sim.preparing import (
    BURN_CAP,
    CALLS,
    FORWARD_CAP,
    call_of,
    check,
    choose_coins,
    fill,
    opening_args,
    prepare,
)

__all__ = ["SimAdapter"]


class SimAdapter:
    """Implements `adapters.base.Adapter` on a `SimChain`."""

    def __init__(self, chain: SimChain, assets: Mapping[str, int]) -> None:
        self._chain = chain
        self._assets = assets
        self._moved = asyncio.Event()
        #: the first block that `follow` read, and what older ones hold that is still to be told.
        self._read_from = 0
        self._older: list[Signed] = []
        #: what is made of several nodes; one needs no such thing.
        self._panel = Panel(chain) if len(chain.nodes) > 1 else None

    @property
    def chain(self) -> str:
        return self._chain.name

    async def open(self) -> None:
        if self._moved.set not in self._chain.listeners:
            self._chain.listeners.append(self._moved.set)

    async def close(self) -> None:
        if self._moved.set in self._chain.listeners:
            self._chain.listeners.remove(self._moved.set)

    def terms(self) -> Mapping[str, Any]:
        return {
            "kind": f"sim-{self._chain.kind}",
            "genesis": self._chain.blocks[0].hash,
            "finality_blocks": self._chain.confirmations,
            "block_time_ms": {"fast": 1_000, "slow": 1_000},
            "fee_caps": {"forward": str(FORWARD_CAP), "burn": str(BURN_CAP)},
            "nodes": len(self._chain.nodes),
            "fee": {"bump_blocks": self._chain.bump_blocks},
            "native": self._chain.native,
            "proof": self._chain.proof,
        }

    # ------------------------------------------------------------ plans

    async def resolve(self, spec: StepSpec) -> Resolved:
        kind, params = spec.action, spec.params
        known = {"transfer", "pay", "hold"}
        if self._chain.kind == "nonce":
            known |= {"lock", "mint"}
        if kind not in known:
            raise Rejected(f"{self.chain} has no action {kind}")
        asset, source, target = params["amount"]["asset"], params["from"], params["to"]
        amount = parse_amount(params["amount"]["value"], self._assets[asset])
        if source not in self._chain.ours:
            raise Rejected(f"{source} is no signer of ours")
        if kind == "transfer" and target not in self._chain.ours:
            raise Rejected(f"{target} is no signer of ours; use pay")
        action = {
            "kind": kind,
            "asset": asset,
            "amount": str(amount),
            "from": source,
            "to": target,
        }
        return self._resolved(spec, action, amount)

    def _resolved(self, spec: StepSpec, action: dict[str, Any], amount: int) -> Resolved:
        kind, asset, source = spec.action, action["asset"], action["from"]
        held = {"lock": "escrow", "hold": "escrow", "mint": "pending"}.get(kind, action["to"])
        effect_class = {"hold": "hold", "pay": "pivot"}.get(kind, "undoable")
        if spec.after_pivot:
            effect_class = "retriable"
        native, escrowed = self._chain.native, kind in {"lock", "hold", "mint"}
        reserve = [] if kind == "mint" else [(source, asset, amount)]
        return Resolved(
            action=action,
            effect_class=effect_class,  # type: ignore[arg-type]  # from the table above
            text=f"{kind} {amount} {asset} on {self.chain}",
            confirm_text=f"confirm of {spec.id}",
            undo_text=f"undo of {spec.id}",
            fee_asset=native,
            confirm=spec.after_pivot or escrowed,
            undo=effect_class in {"undoable", "hold"},
            kill=("burn", "tombstone") if escrowed and self._by_operation(kind) else ("burn",),
            reveals=kind == "hold",
            deliver=spec.params.get("deliver", "secret") if kind == "hold" else None,
            moves=(Move(asset, amount, "issued" if kind == "mint" else source, held),),
            fees=dict.fromkeys(("forward", "confirm", "undo"), FORWARD_CAP) | {"burn": BURN_CAP},
            payers={
                "forward": source,
                "confirm": source,
                "undo": action["to"] if kind == "transfer" else source,
                "burn": source,
            },
            reserve=(*reserve, (source, native, BURN_CAP + 2 * FORWARD_CAP)),
            expiry=self._expiry(spec) if kind == "hold" else None,
            unique_by=self._unique_by(kind),
            undo_ms=4_000,
            confirm_ms=4_000,
        )

    def _by_operation(self, kind: str) -> bool:
        return self._chain.kind == "nonce" and kind in {"lock", "hold", "mint"}

    def _expiry(self, spec: StepSpec) -> Mapping[str, int]:
        if self._chain.kind == "coins":
            return {"blocks": int(spec.params.get("refund_after_blocks", 200))}
        return {"seconds": int(spec.params.get("refund_after_s", 200))}

    def _unique_by(self, kind: str) -> Any:
        if self._chain.kind == "coins":
            return "parent"
        return "operation" if self._by_operation(kind) else "claim"

    async def simulate(self, resolved: Resolved) -> str | None:
        action = resolved.action
        args = opening_args(action, "0" * 64, self._chain.time_s(), "0" * 64, 1 << 40)
        check(self._chain, action, CALLS[action["kind"], "forward"], args)
        return None

    async def choose_coins(self, action: Mapping[str, Any], book: ClaimBook) -> tuple[str, ...]:
        return choose_coins(self._chain, action, book)

    # ------------------------------------------------------------ following

    def clock(self) -> ChainClock:
        tip = self._chain.tip
        if self._panel is not None:
            height = min(self._panel.height(), tip.height)
            tip = self._chain.blocks[height]
        return ChainClock(tip.height, tip.time_s)

    async def follow(self, since: int) -> AsyncIterator[BlockEvent]:
        await self.open()
        feed, cursor = self._chain.feed, 0
        while cursor < len(feed) and feed[cursor][0].height < since:
            cursor += 1
        panel = self._panel
        self._read_from = max(since, 1)
        while True:
            shown = len(feed) if panel is None else panel.seen()
            doubted = panel is not None and panel.moved
            if cursor >= shown and not doubted and not self._older:
                self._moved.clear()
                await self._moved.wait()
                continue
            touched = panel.doubts() if panel is not None and doubted else set()
            reorganised = doubted
            signed, self._older = self._older, []
            while cursor < shown:
                block, removed = feed[cursor]
                cursor += 1
                reorganised = reorganised or removed
                for receipt in block.receipts:
                    touched |= touches(receipt.tx)
                    if not removed and receipt.tx.sender in self._chain.ours:
                        signed.append(_signed(receipt))
            yield BlockEvent(self.clock(), frozenset(touched), reorganised, tuple(signed))

    async def cover(self, since: int) -> None:
        """Every block is always in view; what our keys signed in older ones is told once."""
        for block in self._chain.blocks[since : self._read_from]:
            self._older += [_signed(r) for r in block.receipts if r.tx.sender in self._chain.ours]
        self._read_from = min(self._read_from, since)
        if self._older:
            self._moved.set()

    def keep_from(self, height: int) -> None:
        """Every block is always in view."""

    def nudge(self) -> None:
        """New blocks announce themselves."""

    def keys(self, task: Task, attempts: Sequence[Attempt]) -> frozenset[str]:
        keys = set()
        for attempt in attempts:
            for resource, value in attempt.claim:
                keys.add(f"{resource}/{value}")
        if self._chain.kind == "nonce":
            keys.add(task.op_id)
        elif task.direction != "forward" and task.forward is not None:
            keys.add(f"{task.forward['outpoint']}/0")
        return frozenset(keys)

    # ------------------------------------------------------------ acting

    async def preflight(self, task: Task) -> None:
        if self._panel is not None:
            await self._panel.ask()
        op, args = call_of(task)
        check(self._chain, task.action, op, args)

    async def prepare(
        self, task: Task, purpose: Purpose, book: ClaimBook, former: Sequence[Attempt]
    ) -> Prepared:
        if self._panel is not None:
            await self._panel.ask()
        return prepare(self._chain, task, purpose, book, former)

    def sequences(self) -> Collection[str]:
        return self._chain.ours if self._chain.kind == "nonce" else ()

    async def unused(self, resource: str) -> int:
        if self._panel is not None:
            await self._panel.ask()
        return self._chain.ledger.nonces[resource]

    async def fill(self, resource: str, value: int, former: Sequence[Attempt] = ()) -> Prepared:
        return fill(self._chain, resource, value, former)

    async def submit(self, tx_id: str, raw: bytes) -> Submission:
        if self._panel is not None:
            return await self._panel.submit(tx_id, raw)
        hint, fund = self._chain.submit(tx_id, raw)
        return Submission(not hint, hint, fund)

    async def observe(self, task: Task, attempts: Sequence[Attempt]) -> Observation:
        if self._panel is not None:
            return await self._panel.observe(task, attempts, self.keys(task, attempts))
        return observe(self._chain, task, attempts)

    async def prove(self, task: Task, settled: Settled) -> tuple[Proof, ...]:
        """A simulated chain's evidence says no more than that the block is the chain's."""
        if self._chain.trouble.unprovable:
            raise ProofUnavailable("root_mismatch", "on purpose")
        blocks = self._chain.blocks
        block = blocks[settled.height] if settled.height < len(blocks) else None
        if block is None or block.hash != settled.block_hash:
            raise ProofUnavailable("not_in_block", f"no block {settled.block_hash}")
        if settled.tx_id not in {receipt.tx.tx_id for receipt in block.receipts}:
            raise ProofUnavailable("not_in_block", f"{settled.tx_id} is not in it")
        body = {
            "kind": "sim.block/v1",
            "chain": self.chain,
            "block": block.hash,
            "tx": settled.tx_id,
            "op": task.op_id,
            "dir": task.direction,
        }
        return (Proof("sim.block/v1", canonical.encode(body)),)

    async def balance(self, holder: str, asset: str) -> int:
        return self._chain.ledger.balances[holder, asset]


def _signed(receipt: Receipt) -> Signed:
    tx = receipt.tx
    text = f"{tx.op} {dict(tx.args)}"
    return Signed(
        tx.tx_id,
        receipt.block_hash,
        receipt.height,
        receipt.time_s,
        tx.claims,
        (tx.sender,),
        (text,),
    )
