"""Where the value was: per asset and chain, what left, what came back, what it cost. Integers only.

A *flow* is one asset on one chain out of one origin: accounts of ours, or issued anew (a mint). Its
amounts are those that the plan declares for each step; whether they moved is what the records say.
Always: taken = returned + kept + delivered + out + given up.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from adapters.assets import format_amount
from coordinator.journal.base import Record
from coordinator.saga import SagaState, Step

__all__ = ["PLACES", "Flow", "FlowTracer", "Point", "place_of"]

#: Where a step's value can be, in the order in which pictures stack it below what is at home.
PLACES: Final = ("kept", "out", "doubt", "delivered", "given_up")
_ISSUED: Final = "issued"
_FOREIGN: Final = frozenset({"issued", "outside", "pending"})
#: Targets that are no account; what moves to an account goes to one of ours (`adapters.base.Move`).
_NO_ACCOUNT: Final = frozenset({*_FOREIGN, "escrow", "destroyed"})

FlowKey = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Point:
    """From record ``seq`` on, this much of a flow was at each place (``home`` and `PLACES`)."""

    seq: int
    at_ms: int
    text: str
    amounts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Flow:
    """One asset on one chain.

    Attributes:
        origin: ``ours`` (left accounts of ours), ``issued`` (new coins) or ``outside``.
        taken: base units that moved, whatever became of them.
        returned: by undos; kept: moved to another account of ours; delivered: to where the plan
            wants it, for good; out: in escrow or pending, neither returned nor delivered;
            given_up: by a write-off.
        doubt: sent, and the records do not know whether it moved; not counted as taken.
        fees: what transactions of ours cost, in this asset on this chain.
        planned: what all steps would move.
    """

    asset: str
    chain: str
    origin: str
    decimals: int
    taken: int
    returned: int
    kept: int
    delivered: int
    out: int
    given_up: int
    doubt: int
    fees: int
    planned: int
    points: tuple[Point, ...]

    @property
    def net(self) -> int:
        """What accounts of ours have more than before; new coins are nobody's loss."""
        moved = self.returned + self.kept - self.taken if self.origin == "ours" else 0
        return moved - self.fees

    @property
    def balanced(self) -> bool:
        """Whether every unit that was taken is accounted for."""
        gone = self.delivered + self.out + self.given_up
        return self.taken == self.returned + self.kept + gone

    def words(self, base_units: int) -> str:
        """Return an amount of this flow in whole coins, without its asset's name."""
        return format_amount(base_units, self.decimals)


def place_of(state: SagaState, step: Step) -> str:
    """Return where the value of ``step`` is: ``home``, ``back`` or one of `PLACES`."""
    forward = state.effort(step.id, "forward")
    confirm = state.effort(step.id, "confirm").phase
    undo = state.effort(step.id, "undo").phase
    if not step.forward:
        return _PLACE_AFTER[confirm]
    if forward.phase in ("idle", "not_done") or (
        forward.phase == "written_off" and not forward.attempts
    ):
        return "home"
    if undo == "done":
        return "back"
    if "written_off" in (forward.phase, confirm, undo):
        return "given_up"
    if forward.phase == "unknown":
        return "doubt"
    committed = state.state in ("confirming", "committed")
    over = step.pivot or (committed and not step.confirm)
    if confirm == "done" or (over and forward.phase == "done"):
        return "delivered"
    return "out"


#: Phase of the confirm of a step that acts only after the decision → where its value is.
_PLACE_AFTER: Final = {
    "idle": "home",
    "not_done": "home",
    "unknown": "doubt",
    "included": "out",
    "done": "delivered",
    "written_off": "given_up",
}


class FlowTracer:
    """Reads the records of one saga in order, each with the state after it."""

    def __init__(self) -> None:
        self._fees: dict[tuple[str, str], int] = {}
        self._paid: dict[tuple[str, str, int], int] = {}
        self._points: dict[FlowKey, list[Point]] = {}
        self._places: dict[str, str] = {}

    def see(self, state: SagaState, record: Record) -> None:
        """Take one more record into account."""
        self._pay(state, record)
        changed = [
            (step, place)
            for step in state.steps
            if (place := place_of(state, step)) != self._places.get(step.id)
        ]
        if not changed:
            return
        self._places |= {step.id: place for step, place in changed}
        for key in _keys(state):
            self._note(state, record, key, changed)

    def _note(
        self, state: SagaState, record: Record, key: FlowKey, changed: list[tuple[Step, str]]
    ) -> None:
        mine = [(step, place) for step, place in changed if key in _keys_of(state, step)]
        if not mine:
            return
        amounts = dict.fromkeys(("home", *PLACES), 0)
        for step in state.steps:
            for move_key, target, amount in _moves(state, step):
                if move_key == key:
                    place = _place_at(step, target, self._places[step.id])
                    amounts["home" if place == "back" else place] += amount
        text = "start" if record.seq == 1 else ", ".join(_TOLD[p].format(s.id) for s, p in mine)
        self._points.setdefault(key, []).append(Point(record.seq, record.at_ms, text, amounts))

    def _pay(self, state: SagaState, record: Record) -> None:
        if record.kind not in ("done", "not_done", "withdrawn"):
            return
        effort = (record.data["step"], record.data["dir"])
        step = state.step(effort[0])
        purse = (step.fee_asset, step.chain)
        if record.kind == "withdrawn":
            last = state.effort(*effort).generation
            self._fees[purse] = self._fees.get(purse, 0) - self._paid.pop((*effort, last), 0)
            return
        fee, generation = int(record.data["facts"].get("fee", "0")), record.data["gen"]
        # An outcome is told twice if the claim that it had left open is consumed as well.
        counted = self._paid.get((*effort, generation), 0)
        self._paid[*effort, generation] = fee
        self._fees[purse] = self._fees.get(purse, 0) + fee - counted

    def flows(self, state: SagaState) -> tuple[Flow, ...]:
        """Return every flow of the plan, then assets that only paid fees."""
        keys = _keys(state)
        keys += [(a, c, "ours") for a, c in self._fees if (a, c, "ours") not in keys]
        return tuple(self._flow(state, key) for key in keys)

    def _flow(self, state: SagaState, key: FlowKey) -> Flow:
        asset, chain, origin = key
        sums = dict.fromkeys(("home", "back", *PLACES), 0)
        for step in state.steps:
            for move_key, target, amount in _moves(state, step):
                if move_key == key:
                    sums[_place_at(step, target, self._places[step.id])] += amount
        return Flow(
            asset=asset,
            chain=chain,
            origin=origin,
            decimals=int(state.plan["assets"][asset]),
            taken=sum(sums.values()) - sums["home"] - sums["doubt"],
            returned=sums["back"],
            kept=sums["kept"],
            delivered=sums["delivered"],
            out=sums["out"],
            given_up=sums["given_up"],
            doubt=sums["doubt"],
            fees=self._fees.get((asset, chain), 0) if origin == "ours" else 0,
            planned=sum(sums.values()),
            points=tuple(self._points.get(key, ())),
        )


#: Place → what happened to the step when its value came there.
_TOLD: Final = {
    "home": "{} is not done",
    "back": "{} taken back",
    "out": "{} in a block",
    "doubt": "{} sent",
    "delivered": "{} delivered",
    "given_up": "{} written off",
}


def _place_at(step: Step, target: str, place: str) -> str:
    """Return ``kept`` for what is out or delivered, and yet with an account of ours."""
    ours = target not in _NO_ACCOUNT and not step.pivot
    return "kept" if ours and place in ("out", "delivered") else place


def _moves(state: SagaState, step: Step) -> list[tuple[FlowKey, str, int]]:
    """Return flow, target and amount of each move of a step."""
    return [
        (
            (move["asset"], step.chain, _origin(move["source"])),
            str(move["target"]),
            int(move["amount"]),
        )
        for move in state.plan["steps"][step.index]["moves"]
    ]


def _origin(source: str) -> str:
    if source not in _FOREIGN:
        return "ours"
    return _ISSUED if source in (_ISSUED, "pending") else "outside"


def _keys_of(state: SagaState, step: Step) -> list[FlowKey]:
    return [key for key, _, _ in _moves(state, step)]


def _keys(state: SagaState) -> list[FlowKey]:
    keys = [key for step in state.steps for key in _keys_of(state, step)]
    return list(dict.fromkeys(keys))
