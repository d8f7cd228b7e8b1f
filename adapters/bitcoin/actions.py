"""From a plan's step to what runs: addresses, scripts, caps, worst cases. Asks no node.

A resolved action is JSON::

    {"kind": "transfer"|"pay"|"hold"|"split"|"consolidate", "asset": "BTC", "amount": satoshi,
     "from": our address, "source_script": hex, "fee": {"max_sat_vb", "incremental_sat_vb"},
     "max_inputs": n,
     "to": address, "script": hex, "version": 2|3          (transfer, pay, split)
     "payee": hex key, "payer_key": hex key, "refund_after_blocks": n, "deliver": channel   (hold)
     "count": n                                                                             (split)}
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import coincurve

from adapters.assets import AmountError, AssetFacts, format_amount, parse_amount
from adapters.base import Move, Resolved, StepSpec
from adapters.bitcoin.address import AddressError, dust_sat, own_address, parse_address
from adapters.bitcoin.effects import undo_fee_cap_sat
from adapters.bitcoin.fees import P2WPKH_SCRIPT_BYTES, payment_vsize
from adapters.bitcoin.settings import BitcoinSettings
from adapters.bitcoin.signing import BitcoinSigner
from adapters.errors import Rejected
from adapters.tables import Table, TableError

__all__ = ["ActionResolver", "burn_cap_sat", "effect_cap_sat"]

#: A day-long hold is 144 blocks; nobody means more than two years.
_REFUND_BLOCKS_MAX: Final = 105_120
_SPLIT_MAX: Final = 100
_DELIVERIES: Final = ("secret", "file")


def effect_cap_sat(max_sat_vb: int, vsize: int, dust: int) -> int:
    """Return the most an effect may cost: its cap, and change too small for an output."""
    return max_sat_vb * vsize + dust


def burn_cap_sat(effect_cap: int, incremental_sat_vb: int, vsize: int) -> int:
    """Return the most a burn may cost: what it replaces, and the relay fee for itself.

    So a forward cap is always the burn cap minus the incremental relay fee (DESIGN.md §7).
    """
    return effect_cap + incremental_sat_vb * vsize


@dataclass(frozen=True, slots=True)
class ActionResolver:
    """Resolves steps of one chain.

    Attributes:
        settings: of the chain.
        signers: by name; each is one own P2WPKH address.
        asset: the chain's own asset, in which everything is counted.
    """

    settings: BitcoinSettings
    signers: Mapping[str, BitcoinSigner]
    asset: AssetFacts

    def resolve(self, spec: StepSpec) -> Resolved:
        """Return what ``spec`` means.

        Raises:
            Rejected: with a reason for the plan's author.
        """
        if spec.effect is not None or spec.undo is not None:
            raise Rejected("a Bitcoin step has its own effect and undo; leave both tables out")
        kinds: dict[str, Callable[[StepSpec, Table], Resolved]] = {
            "transfer": self._transfer,
            "pay": self._pay,
            "hold": self._hold,
            "split": self._split,
            "consolidate": self._consolidate,
        }
        resolve = kinds.get(spec.action)
        if resolve is None:
            raise Rejected(f"Bitcoin has no action {spec.action!r}; it has {', '.join(kinds)}")
        if spec.after_pivot and spec.action not in {"transfer", "pay"}:
            raise Rejected(f"{spec.action} can fail for good, so it can not stand after the pivot")
        table = Table("with", spec.params)
        try:
            resolved = resolve(spec, table)
            table.finish()
        except (TableError, AddressError, AmountError) as error:
            raise Rejected(str(error)) from None
        return resolved

    # ------------------------------------------------------------ one action each

    def _transfer(self, spec: StepSpec, table: Table) -> Resolved:
        source, target = self._source(table), self._signer(table, table.text("to"))
        if source == target:
            raise table.error("to", "is the wallet that pays; nothing would move")
        amount = self._amount(table)
        action = self._action("transfer", source, amount) | self._target(target, 2)
        self._above_dust(table, amount, target, "the transferred output")
        returned = amount - undo_fee_cap_sat(action)
        self._above_dust(table, returned, source, "what an undo returns after its highest fee")
        shown = self._shown(amount)
        return self._payment(
            spec,
            action,
            text=f"transfer {shown} from {source} to our own {target}",
            undo_text=f"send {shown} back from {target}, its fee taken from it",
            target=target,
        )

    def _pay(self, spec: StepSpec, table: Table) -> Resolved:
        source = self._source(table)
        target = parse_address(table.text("to"), self.settings.network)
        if target.text in self._own():
            raise table.error("to", "is an address of our own; use transfer, which can be undone")
        amount = self._amount(table)
        self._above_dust(table, amount, target.text, "the payment")
        version = 3 if self.settings.truc else 2
        action = self._action("pay", source, amount) | self._target(target.text, version)
        return self._payment(
            spec, action, text=f"pay {self._shown(amount)} from {source} to {target.text}"
        )

    def _payment(
        self,
        spec: StepSpec,
        action: dict[str, Any],
        *,
        text: str,
        undo_text: str = "",
        target: str | None = None,
    ) -> Resolved:
        """Resolve a transfer (``target``: our own address) or a payment to an outsider."""
        source, amount = str(action["from"]), int(action["amount"])
        caps = self._caps(action, [P2WPKH_SCRIPT_BYTES, len(action["script"]) // 2])
        move = Move(self.asset.name, amount, source, target or "outside")
        if spec.after_pivot:
            return self._resolved(
                action, "retriable", text, {"confirm": caps["forward"]},
                confirm=True, moves=(move,), confirm_text=text,
                reserve_sat=amount + caps["forward"],
            )  # fmt: skip
        if target is None:
            return self._resolved(
                action, "pivot", text, caps,
                kill=("burn",), moves=(move,), reserve_sat=amount + caps["burn"],
            )  # fmt: skip
        return self._resolved(
            action, "undoable", text, caps | {"undo": undo_fee_cap_sat(action)},
            undo=True, kill=("burn",), moves=(move,), undo_text=undo_text,
            reserve_sat=amount + caps["burn"], unique_by="parent",
        )  # fmt: skip

    def _hold(self, _: StepSpec, table: Table) -> Resolved:
        source = self._source(table)
        amount = self._amount(table)
        payee = table.text("payee", pattern="0[23][0-9a-f]{64}")
        try:
            coincurve.PublicKey(bytes.fromhex(payee))
        except ValueError:
            raise table.error("payee", "is no point of secp256k1, so no key opens it") from None
        blocks = table.integer("refund_after_blocks", minimum=1, maximum=_REFUND_BLOCKS_MAX)
        deliver = table.text("deliver", "file")
        if deliver not in _DELIVERIES:
            raise table.error("deliver", f"must be one of {', '.join(_DELIVERIES)} on Bitcoin")
        payer_key = next(
            signer.public_key for signer in self.signers.values()
            if own_address(signer.public_key, self.settings.network) == source
        )  # fmt: skip
        action = self._action("hold", source, amount) | {
            "payee": payee,
            "payer_key": payer_key.hex(),
            "refund_after_blocks": blocks,
            "deliver": deliver,
        }
        caps = self._caps(action, [P2WPKH_SCRIPT_BYTES, 34])
        if amount < 330:
            raise table.error("amount", "is below dust: a P2WSH output is at least 330 satoshi")
        returned = amount - undo_fee_cap_sat(action)
        self._above_dust(table, returned, source, "what a refund returns after its highest fee")
        shown = self._shown(amount)
        return self._resolved(
            action, "hold", f"hold {shown} from {source} for {payee[:16]}…",
            caps | {"undo": undo_fee_cap_sat(action)},
            confirm=True, undo=True, kill=("burn",), reveals=True, deliver=deliver,
            moves=(Move(self.asset.name, amount, source, "escrow"),),
            expiry={"blocks": blocks}, reserve_sat=amount + caps["burn"], unique_by="parent",
            confirm_text=f"the payee redeems {shown} with the preimage",
            undo_text=f"refund {shown} after {blocks} blocks, its fee taken from it",
        )  # fmt: skip

    def _split(self, _: StepSpec, table: Table) -> Resolved:
        source = self._source(table)
        amount = self._amount(table)
        count = table.integer("count", minimum=2, maximum=_SPLIT_MAX)
        self._above_dust(table, amount, source, "each part")
        action = self._action("split", source, amount) | self._target(source, 2) | {"count": count}
        caps = self._caps(action, [P2WPKH_SCRIPT_BYTES] * (count + 1))
        return self._resolved(
            action, "pivot", f"split {count} coins of {self._shown(amount)} off at {source}", caps,
            kill=("burn",), reserve_sat=amount * count + caps["burn"],
        )  # fmt: skip

    def _consolidate(self, _: StepSpec, table: Table) -> Resolved:
        source = self._source(table)
        action = self._action("consolidate", source, 0)
        caps = self._caps(action, [P2WPKH_SCRIPT_BYTES])
        caps.pop("burn")  # a burn of it would do exactly what it does
        return self._resolved(
            action, "pivot", f"join up to {action['max_inputs']} coins at {source}", caps,
            reserve_sat=caps["forward"],
        )  # fmt: skip

    # ------------------------------------------------------------ parts

    def _source(self, table: Table) -> str:
        return self._signer(table, table.text("from", self.settings.signer), "from")

    def _signer(self, table: Table, name: str, key: str = "to") -> str:
        signer = self.signers.get(name)
        if signer is None:
            known = ", ".join(sorted(self.signers)) or "none"
            raise table.error(
                key, f"must name a Bitcoin signer of ours (known: {known}); "
                "to pay an outsider use pay or hold"
            )  # fmt: skip
        return own_address(signer.public_key, self.settings.network)

    def _own(self) -> set[str]:
        network = self.settings.network
        return {own_address(signer.public_key, network) for signer in self.signers.values()}

    def _amount(self, table: Table) -> int:
        amount = table.table("amount")
        name = amount.text("asset")
        if name != self.asset.name:
            raise amount.error("asset", f"must be {self.asset.name}, the only asset of this chain")
        sat = parse_amount(amount.text("value"), self.asset.decimals)
        if not 0 < sat <= 21 * 10**14:
            raise amount.error("value", "must be above zero and at most 21 million")
        return sat

    def _action(self, kind: str, source: str, amount_sat: int) -> dict[str, Any]:
        fee = self.settings.fee
        return {
            "kind": kind,
            "asset": self.asset.name,
            "amount": str(amount_sat),
            "from": source,
            "source_script": parse_address(source, self.settings.network).script.hex(),
            "fee": {
                "max_sat_vb": fee.max_sat_vb,
                "incremental_sat_vb": fee.incremental_sat_vb,
            },
            "max_inputs": self.settings.coins.max_inputs,
        }

    def _target(self, address: str, version: int) -> dict[str, Any]:
        script = parse_address(address, self.settings.network).script
        return {"to": address, "script": script.hex(), "version": version}

    def _caps(self, action: Mapping[str, Any], script_bytes: list[int]) -> dict[str, int]:
        """Return the worst cost of the effect and of its burn."""
        fee, inputs = self.settings.fee, int(action["max_inputs"])
        dust = dust_sat(bytes.fromhex(action["source_script"]))
        effect = effect_cap_sat(fee.max_sat_vb, payment_vsize(inputs, script_bytes), dust)
        burn_vsize = payment_vsize(inputs, [P2WPKH_SCRIPT_BYTES])
        return {
            "forward": effect,
            "burn": burn_cap_sat(effect, fee.incremental_sat_vb, burn_vsize),
        }

    def _above_dust(self, table: Table, sat: int, address: str, what: str) -> None:
        least = dust_sat(parse_address(address, self.settings.network).script)
        if sat < least:
            raise table.error(
                "amount", f"is too small: {what} would be {max(sat, 0)} satoshi, "
                f"below the {least} that nodes relay; raise it or lower the chain's fee cap"
            )  # fmt: skip

    def _shown(self, sat: int) -> str:
        return f"{format_amount(sat, self.asset.decimals)} {self.asset.name}"

    def _resolved(
        self,
        action: dict[str, Any],
        effect_class: Any,
        text: str,
        fees: Mapping[str, int],
        *,
        reserve_sat: int,
        **rest: Any,
    ) -> Resolved:
        """Fill in what all actions share; every fee is borne by the paying wallet."""
        source = str(action["from"])
        settled_ms = self.settings.block_slow_ms * (
            self.settings.confirmations + self.settings.fee.target_blocks - 1
        )
        return Resolved(
            action=action,
            effect_class=effect_class,
            text=text,
            fee_asset=self.asset.name,
            fees=fees,
            payers=dict.fromkeys(fees, source),
            reserve=((source, self.asset.name, reserve_sat),),
            undo_ms=settled_ms if rest.get("undo") else 0,
            confirm_ms=settled_ms if rest.get("confirm") else 0,
            **rest,
        )
