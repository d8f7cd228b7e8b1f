"""What a step may cost: gas limits, caps, who pays, and what is set aside for it."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from adapters.base import Move
from adapters.evm.actions import OPERATIONS, call_of, trial_task
from adapters.evm.fees import Price, effect_caps
from adapters.evm.nodes import Nodes
from adapters.evm.preflight import estimate
from adapters.evm.settings import EvmSettings

__all__ = ["Costs"]

#: Gas limits where the call can not be simulated at plan time, with room for odd tokens.
_GAS: Final[Mapping[str, int]] = {
    "send": 21_000, "transfer": 100_000, "approve": 80_000, "call": 300_000,
    "lock": 320_000, "hold": 380_000, "mint": 220_000,
    "release": 180_000, "redeem": 200_000, "refund": 180_000, "credit": 180_000,
    "cancel": 150_000, "burn": 21_000,
}  # fmt: skip
#: The calls of each action: forward, confirm, undo.
_CALLS: Final[Mapping[str, tuple[str, str | None, str | None]]] = {
    "transfer": ("transfer", None, "transfer"),
    "pay": ("transfer", None, None),
    "approve": ("approve", None, "approve"),
    "call": ("call", None, "call"),
    "lock": ("lock", "release", "refund"),
    "hold": ("hold", "redeem", "refund"),
    "mint": ("mint", "credit", "cancel"),
}
#: A gas estimate holds for the state it was made on; this is the room for another one.
_MARGIN_PCT: Final = 30


class Costs:
    """Works out costs for one chain.

    Args:
        native: name of the asset that fees are paid in.
    """

    def __init__(self, settings: EvmSettings, nodes: Nodes, native: str) -> None:
        self._settings = settings
        self._nodes = nodes
        self._native = native
        self._full = Price(settings.fee.max_fee_wei, settings.fee.max_tip_wei)
        self._jam = Price(settings.fee.jam_fee_wei, settings.fee.jam_tip_wei)

    def caps(self) -> dict[str, Any]:
        """Return the part of an action that bounds its prices."""
        return {
            "caps": {
                "forward": effect_caps(self._full).json(),
                "full": self._full.json(),
                "jam": self._jam.json(),
            },
            "tip": str(self._settings.fee.tip_wei),
        }

    async def gas(self, action: Mapping[str, Any], wanted: int | None) -> dict[str, int]:
        """Fix gas limits: the plan's own, else ours, doubled until today's estimate fits.

        An estimate as such would give the plan another digest whenever the state moves, and the
        same command would no longer attach to the saga it started.
        """
        kind = action["kind"]
        forward, confirm, undo = _CALLS[kind]
        plain = kind in ("transfer", "pay") and action["token"] is None
        fixed = wanted or self._settings.gas.get(forward)
        gas = {"forward": fixed or _GAS["send" if plain else forward]}
        if fixed is None:
            needed = await estimate(self._nodes, call_of(trial_task({**action, "gas": gas})))
            while needed is not None and gas["forward"] < _with_margin(needed):
                gas["forward"] *= 2
        if confirm is not None:
            gas["confirm"] = self._limit(confirm)
        if undo is not None:
            # The way back of a transfer, an allowance or a call costs about what the way out does.
            back = gas["forward"] if undo == forward else 0
            gas["undo"] = max(back, 0 if plain else self._limit(undo))
        gas["burn"] = self._settings.gas.get("burn") or await self._burn_gas(action["account"])
        if kind in OPERATIONS:
            gas["tombstone"] = self._limit("cancel")
        return gas

    def fees(self, action: Mapping[str, Any], directions: Sequence[str]) -> dict[str, int]:
        """Return the worst cost of these directions, and of the burn, in base units."""
        gas, caps = action["gas"], action["caps"]
        fees = {"burn": gas["burn"] * self._full.max_fee_wei}
        for direction in directions:
            call = "forward" if action["after_pivot"] else direction
            cap = "forward" if direction == "forward" else "full"
            fees[direction] = gas[call] * int(caps[cap]["max_fee"])
        return fees

    def reserve(
        self,
        moves: Sequence[Move],
        fees: Mapping[str, int],
        payers: Mapping[str, str],
    ) -> tuple[tuple[str, str, int], ...]:
        """Return what the step can take from our accounts, summed by account and asset."""
        sums: dict[tuple[str, str], int] = {}
        parts = [(payers[direction], self._native, fee) for direction, fee in fees.items()]
        parts += [(move.source, move.asset, move.amount) for move in moves if _account(move.source)]
        for account, asset, amount in parts:
            sums[account, asset] = sums.get((account, asset), 0) + amount
        return tuple((account, asset, amount) for (account, asset), amount in sums.items())

    def _limit(self, call: str) -> int:
        return self._settings.gas.get(call, _GAS[call])

    async def _burn_gas(self, account: str) -> int:
        """Return what sending nothing to oneself needs; more than 21000 on some rollups."""
        call = {"from": account, "to": account, "value": "0x0"}
        (answer,) = await self._nodes.batch([("eth_estimateGas", (call,))])
        needed = int(answer, 16) if isinstance(answer, str) else _GAS["burn"]
        return _with_margin(needed)


def _account(holder: str) -> bool:
    return holder.startswith("0x")


def _with_margin(gas: int) -> int:
    """Return a limit with room; a plain transfer of coins needs exactly 21000 and no room."""
    return gas if gas == 21_000 else gas * (100 + _MARGIN_PCT) // 100
