"""From a plan's step to what runs: addresses, code hashes, gas limits, caps, and what it may cost.

Everything that is fixed here stays fixed for the saga's whole life; nothing here changes a chain.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from adapters.assets import AssetFacts, format_amount
from adapters.base import Move, Resolved, StepSpec
from adapters.errors import Rejected
from adapters.evm.actions import OPERATIONS
from adapters.evm.costs import Costs
from adapters.evm.nodes import Nodes
from adapters.evm.settings import EvmSettings
from adapters.evm.stepread import StepReader
from adapters.tables import Table, TableError

__all__ = ["Resolver"]

_AFTER_PIVOT: Final = frozenset({"transfer", "pay", "approve", "call"})
#: Blocks that pass until a transaction with a fair price is in one, at worst.
_INCLUSION_BLOCKS: Final = 3


@dataclass(frozen=True, slots=True)
class _Step:
    """A step while it is resolved."""

    spec: StepSpec
    action: dict[str, Any]
    moves: tuple[Move, ...]
    text: str
    confirm_text: str = ""
    undo_text: str = ""
    undo: bool = True
    undo_payer: str = ""
    deliver: str | None = None
    expiry: Mapping[str, int] | None = None
    locks: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    gas: int | None = None


class Resolver:
    """Resolves steps of one chain.

    Args:
        signers: address by signer name.
        assets: the assets of this chain by name.
        native: the asset that fees are paid in.
    """

    def __init__(
        self,
        chain: str,
        settings: EvmSettings,
        nodes: Nodes,
        signers: Mapping[str, str],
        assets: Mapping[str, AssetFacts],
        native: AssetFacts,
    ) -> None:
        self._chain = chain
        self._settings = settings
        self._nodes = nodes
        self._signers = signers
        self._assets = assets
        self._native = native
        self._costs = Costs(settings, nodes, native.name)
        self._kinds: Mapping[str, Callable[[StepSpec, StepReader], Any]] = {
            "transfer": self._transfer,
            "pay": self._pay,
            "approve": self._approve,
            "call": self._call,
            "lock": self._lock,
            "hold": self._hold,
            "mint": self._mint,
        }

    async def resolve(self, spec: StepSpec) -> Resolved:
        """Return the step resolved; see `adapters.base.Adapter.resolve`."""
        kind = self._kinds.get(spec.action)
        if kind is None:
            known = ", ".join(sorted(self._kinds))
            raise Rejected(
                f"action {spec.action[:40]!a} is unknown on an EVM chain; known: {known}"
            )
        if spec.after_pivot and spec.action not in _AFTER_PIVOT:
            raise Rejected(f"{spec.action} waits for a decision and can not stand after the pivot")
        for part, wanted in (("effect", spec.effect), ("undo", spec.undo)):
            if wanted is not None and spec.action != "call":
                raise Rejected(f"{spec.action} brings its own {part}; only call declares one")
        table = Table(f"step.{spec.id}.with", spec.params)
        reader = StepReader(
            self._chain, self._settings, self._nodes, self._signers, self._assets, table
        )
        try:
            step = await kind(spec, reader)
            step = replace(step, gas=table.integer("gas", None, minimum=21_000))
            table.finish()
        except TableError as error:
            raise Rejected(str(error)) from None
        return await self._finish(step)

    # --------------------------------------------------------------------------------- actions

    async def _transfer(self, spec: StepSpec, read: StepReader) -> _Step:
        asset, amount = read.amount("amount")
        account, to = read.account(), read.own_signer("to")
        if account == to:
            raise Rejected("transfer goes from an account to itself; name another signer as 'to'")
        shown = f"{format_amount(amount, asset.decimals)} {asset.name}"
        action = {"account": account, "to": to, **await read.value(asset, amount)}
        return _Step(
            spec, action, (Move(asset.name, amount, account, to),),
            text=f"transfer {shown} from {account} to our {to}",
            undo_text=f"transfer {shown} back from {to} to {account}",
            undo_payer=to,
        )  # fmt: skip

    async def _pay(self, spec: StepSpec, read: StepReader) -> _Step:
        asset, amount = read.amount("amount")
        account, to = read.account(), read.address("to")
        if to in self._signers.values():
            raise Rejected(
                f"{to} is our own account; 'transfer' to it can be undone, 'pay' can not"
            )
        shown = f"{format_amount(amount, asset.decimals)} {asset.name}"
        action = {"account": account, "to": to, **await read.value(asset, amount)}
        if to == asset.contract:
            raise Rejected(f"{to} is the token itself; tokens sent there are lost")
        return _Step(
            spec, action, (Move(asset.name, amount, account, "outside"),),
            text=f"pay {shown} from {account} to {to}", undo=False,
        )  # fmt: skip

    async def _approve(self, spec: StepSpec, read: StepReader) -> _Step:
        asset, amount = read.amount("amount", zero=True)
        account, spender = read.account(), read.contract_or_address("spender")
        if asset.contract is None:
            raise Rejected(f"{asset.name} is the chain's own coin; it has no allowances")
        shown = f"{format_amount(amount, asset.decimals)} {asset.name}"
        action = {"account": account, "spender": spender, **await read.value(asset, amount)}
        former = await read.allowance(asset.contract, account, spender)
        warnings: tuple[str, ...] = ()
        if former:
            is_now = f"{format_amount(former, asset.decimals)} {asset.name}"
            warnings = (f"{spender} may take {is_now} already; the undo restores what is there",)
        return _Step(
            spec, action, (),
            text=f"allow {spender} to take {shown} of {account}",
            undo_text=f"restore the former allowance of {spender} on {account}",
            locks=(f"{self._chain}:allowance:{asset.contract}:{account}:{spender}",),
            warnings=warnings,
        )  # fmt: skip

    async def _call(self, spec: StepSpec, read: StepReader) -> _Step:
        account, contract = read.account(), await read.contract("contract")
        declared = read.declared_call(contract, spec.effect, what="step")
        if declared["event"] is None:
            raise Rejected(
                'call needs effect = { event = "Name(types)", where = {…} }: '
                "a transaction's success alone proves nothing"
            )
        undo: dict[str, Any] | None = None
        warnings: tuple[str, ...] = ()
        if spec.undo is not None and not spec.after_pivot:
            undo, warnings = self._undo_call(spec, read, contract.name)
        value = int(declared["value"])
        moves = (Move(self._native.name, value, account, "outside"),) if value else ()
        action = {
            "account": account,
            "contract": contract.address,
            **declared,
            "undo": undo,
            "code": {contract.address: contract.code_hash},
        }
        shown = f"{declared['function']} of {contract.name} ({contract.address})"
        undo_text = f"call {undo['function']} of {contract.name}" if undo else ""
        return _Step(
            spec, action, moves, text=f"call {shown}", undo=undo is not None,
            undo_text=undo_text, warnings=warnings,
        )  # fmt: skip

    def _undo_call(
        self, spec: StepSpec, read: StepReader, contract: str
    ) -> tuple[dict[str, Any], tuple[str, ...]]:
        assert spec.undo is not None
        table = Table(f"step.{spec.id}.undo", spec.undo)
        undo = read.sub(table).declared_call(
            self._settings.contracts[contract], table.raw("effect", None), what="undo"
        )
        table.finish()
        if undo["event"] is None:
            return undo, ("the undo declares no event: its success shows in its status alone",)
        return undo, ()

    async def _lock(self, spec: StepSpec, read: StepReader) -> _Step:
        asset, amount = read.amount("amount")
        account = read.account()
        to = read.address_or_signer("to", account)
        vault = await read.own_contract("vault", "Vault")
        shown = f"{format_amount(amount, asset.decimals)} {asset.name}"
        action = {
            "account": account, "to": to,
            **await read.value(asset, amount), **await read.operation(vault, account),
        }  # fmt: skip
        action["code"] = {**action["code"], vault.address: vault.code_hash}
        return _Step(
            spec, action, (Move(asset.name, amount, account, "escrow"),),
            text=f"lock {shown} of {account} in {vault.name}",
            confirm_text=f"release {shown} to {to}",
            undo_text=f"refund {shown} to {account}",
            locks=(),
        )  # fmt: skip

    async def _hold(self, spec: StepSpec, read: StepReader) -> _Step:
        asset, amount = read.amount("amount")
        account, payee = read.account(), read.address("payee")
        refund_after_s, deliver = read.hold_terms()
        if spec.deadline_s and refund_after_s <= spec.deadline_s:
            raise Rejected(
                f"refund_after_s is {refund_after_s}, which is not beyond the plan's deadline_s of "
                f"{spec.deadline_s}"
            )
        vault = await read.own_contract("vault", "Vault")
        shown = f"{format_amount(amount, asset.decimals)} {asset.name}"
        action = {
            "account": account, "to": payee,
            **await read.value(asset, amount), **await read.operation(vault, account),
        }  # fmt: skip
        action["code"] = {**action["code"], vault.address: vault.code_hash}
        return _Step(
            spec, action, (Move(asset.name, amount, account, "escrow"),),
            text=f"hold {shown} of {account} in {vault.name} for {payee}",
            confirm_text=f"let {payee} redeem {shown}",
            undo_text=f"refund {shown} to {account} once the hold has expired",
            deliver=deliver, expiry={"seconds": refund_after_s},
        )  # fmt: skip

    async def _mint(self, spec: StepSpec, read: StepReader) -> _Step:
        asset, amount = read.amount("amount")
        account, to = read.account(), read.address_or_signer("to", None)
        token = await read.own_contract("token", "Token")
        if asset.contract != token.address:
            raise Rejected(
                f"{asset.name} on {self._chain} is the contract {asset.contract}, "
                f"but {token.name} is {token.address}"
            )
        shown = f"{format_amount(amount, asset.decimals)} {asset.name}"
        action = {
            "account": account, "to": to,
            **await read.value(asset, amount), **await read.operation(token, account),
        }  # fmt: skip
        action["code"] = {token.address: token.code_hash}
        return _Step(
            spec, action, (Move(asset.name, amount, "issued", "pending"),),
            text=f"mint {shown} for {to}, pending",
            confirm_text=f"credit {shown} to {to}",
            undo_text=f"take the pending credit of {shown} back",
        )  # fmt: skip

    # ------------------------------------------------------------------------- what follows from it

    async def _finish(self, step: _Step) -> Resolved:
        """Add gas limits, caps and everything that follows from them."""
        spec, kind = step.spec, step.spec.action
        operation = kind in OPERATIONS
        confirm = operation or spec.after_pivot
        undo = step.undo and not spec.after_pivot
        action = {
            **step.action, **self._costs.caps(), "kind": kind, "after_pivot": spec.after_pivot,
        }  # fmt: skip
        action["gas"] = await self._costs.gas(action, step.gas)
        sends = {
            "forward": not spec.after_pivot,
            # A payee who redeems pays for that himself.
            "confirm": confirm and step.deliver in (None, "calldata"),
            "undo": undo,
        }
        fees = self._costs.fees(action, [direction for direction, ours in sends.items() if ours])
        payers = dict.fromkeys(fees, str(action["account"]))
        if undo and step.undo_payer:
            payers["undo"] = step.undo_payer
        return Resolved(
            action=action,
            effect_class=_class(step, undo=undo),
            text=step.text,
            fee_asset=self._native.name,
            confirm=confirm,
            undo=undo,
            kill=("burn", "tombstone") if operation else ("burn",),
            reveals=kind == "hold",
            deliver=step.deliver,
            moves=step.moves,
            fees=fees,
            payers=payers,
            reserve=self._costs.reserve(step.moves, fees, payers),
            expiry=step.expiry,
            locks=step.locks,
            unique_by="operation" if operation else "claim",
            undo_ms=self._effect_ms() if undo else 0,
            confirm_ms=self._effect_ms() if confirm else 0,
            confirm_text=step.text if spec.after_pivot else step.confirm_text,
            undo_text=step.undo_text if undo else "",
            warnings=step.warnings,
        )

    def _effect_ms(self) -> int:
        blocks = self._settings.finality.blocks + _INCLUSION_BLOCKS
        return self._settings.block_slow_ms * blocks


def _class(step: _Step, *, undo: bool) -> Literal["undoable", "hold", "pivot", "retriable"]:
    if step.spec.after_pivot:
        return "retriable"
    if step.spec.action == "hold":
        return "hold"
    return "undoable" if undo else "pivot"
