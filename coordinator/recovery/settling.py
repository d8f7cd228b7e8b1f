"""Each open saga after the survey: lost intents are adopted, then the table says which way it went.

Adopting is writing the intent that was lost, with the bytes that its block has; everything else
then follows by the rules that hold for every saga.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from adapters.base import Direction, Prepared
from adapters.survey import Movement, Survey, Surveyor
from coordinator.errors import PreflightError
from coordinator.intents import intent_data
from coordinator.journal.base import Entry, Raw
from coordinator.live import Live
from coordinator.operator_stream import Answer, question_of
from coordinator.patience import PATIENCE_BLOCKS
from coordinator.preparing import alarm_s
from coordinator.recovery.ground import Ground
from coordinator.recovery.surveying import Unknown, names_of_sagas, unknown
from coordinator.recovery.table import REFUND_PERSONS, Evidence, Way, answered, way_of
from coordinator.saga import Now, SagaState, Step
from coordinator.saga.waits import expiry_s

__all__ = ["Question", "Settler", "named_effects"]

_SETTLED: Final = frozenset({"done", "written_off"})


@dataclass(frozen=True, slots=True)
class Question:
    """What only a person can answer.

    Attributes:
        name: as `answer` and ``--adopt`` give it.
        text: the situation.
        commands: the options to give to `coordinator recover --execute`, each with what it means.
    """

    saga: str
    name: str
    text: str
    commands: tuple[tuple[str, str], ...]


def named_effects(
    sagas: Iterable[Live], surveyors: Mapping[str, Surveyor]
) -> list[tuple[str, str | None]]:
    """Return (chain, name) of every effect of ``sagas``, and let surveys look for them."""
    return [
        (
            step.chain,
            surveyors[step.chain].name_of(
                live.asking.of(live.state, live.state, step, direction).task
            ),
        )
        for live in sagas
        for step in live.state.steps
        for direction in _directions(live.state, step)
    ]


def _directions(state: SagaState, step: Step) -> list[Direction]:
    """Return the directions in which a step can have an effect by now."""
    if not step.forward:
        return ["confirm"]
    found: list[Direction] = ["forward"]
    if state.effort(step.id, "forward").phase == "done":
        found += ["confirm"] if step.confirm else []
        found += ["undo"] if step.undo else []
    return found


class Settler:
    """Settles every open saga from one survey.

    Args:
        answers: what persons have said, by question.
    """

    def __init__(
        self, ground: Ground, surveys: Mapping[str, Survey], answers: Mapping[str, Answer]
    ) -> None:
        self._ground = ground
        self._surveys = surveys
        self._answers = answers
        self.questions: list[Question] = []
        #: saga → what becomes of it.
        self.ways: dict[str, Way] = {}

    async def settle(self) -> None:
        """Adopt, decide, ask; doing it again goes on where it was stopped."""
        for live in self._ground.sagas.values():
            if live.state.state == "running":
                await self._undecided(live)
            else:
                await self._decided(live)
                self.ways.setdefault(live.state.saga, way_of(_evidence_of(live.state, (), (), {})))

    # ------------------------------------------------------------ undecided in the backup

    async def _undecided(self, live: Live) -> None:
        unclear = {
            step.id: "unclear"
            for step in live.state.steps
            if step.forward and not await self._adopt_forward(live, step)
        }
        await self._until_final(live, "forward")
        seen = _evidence_of(
            live.state, self._shown(live, "confirm"), self._shown(live, "undo"), unclear
        )
        way = self._answer(live, seen, way_of(seen))
        self.ways[live.state.saga] = way
        if way.kind == "commit":
            await self._commit(live, way)
            await self._decided(live)
        elif way.kind == "rollback":
            cause = {"kind": "restored", "text": f"journal restored: {way.why}"}
            await self._ground.append(
                live, [Entry("decided", {"decision": "rollback", "cause": cause})]
            )
            await self._decided(live)

    async def _adopt_forward(self, live: Live, step: Step) -> bool:
        """Adopt the forward effect of a step that the backup had not begun; False: a person must
        say which transaction it is, or none.
        """
        if live.state.effort(step.id, "forward").phase != "idle":
            return True
        return await self._adopt(live, step, "forward")

    def _answer(self, live: Live, seen: Evidence, way: Way) -> Way:
        """Take a person's answer where the table asks, or put the question."""
        saga = live.state.saga
        said = self._answers.get(question_of(saga))
        if said is not None and way.kind in ("ask", "rollback"):
            taken = answered(seen, way, said.answer, len(said.by))
            if isinstance(taken, str):
                raise PreflightError(
                    f"saga {saga}: the answer {said.answer} can not be taken: {taken}. Nothing was "
                    f"sent for it. Answer again: coordinator recover --execute --answer {saga}=…"
                )
            if taken is way:
                return way
            who = f"{taken.why}: {', '.join(said.by)}: {said.reason}"
            return Way(taken.kind, who)
        if way.kind == "ask":
            self.questions.append(_way_question(live.state, way))
        return way

    async def _commit(self, live: Live, way: Way) -> None:
        """Write the decision that was lost, and the reveals that share its commit."""
        cause = {"kind": "restored", "text": f"journal restored: {way.why}"}
        entries = [Entry("decided", {"decision": "commit", "cause": cause})]
        clocks = {chain: adapter.clock() for chain, adapter in self._ground.adapters.items()}
        now = Now(self._ground.runner.clock.now_ms(), clocks)
        for step in live.state.steps:
            if step.reveals:
                data = {
                    "step": step.id,
                    "gen": 1,
                    "hashlock": live.state.effort(step.id, "forward").hashlock,
                    "deliver": step.deliver,
                    "until_s": expiry_s(live.state, step, now, share=2),
                }
                entries.append(Entry("reveal", data))
        await self._ground.append(live, entries)

    # ------------------------------------------------------------ decided, in the backup or now

    async def _decided(self, live: Live) -> None:
        """Adopt what landed of a decided saga: its undos in their order, its confirms."""
        await self._until_final(live, None)
        if live.state.state == "undoing":
            for step in reversed(live.state.steps):
                forward = live.state.effort(step.id, "forward")
                if not (step.forward and step.undo and forward.phase == "done"):
                    continue
                if not await self._adopt_open(live, step, "undo"):
                    return
                if live.state.effort(step.id, "undo").phase not in _SETTLED:
                    return  # those before it come after it
        elif live.state.state == "confirming":
            for step in live.state.steps:
                if step.confirm:
                    await self._adopt_open(live, step, "confirm")

    async def _adopt_open(self, live: Live, step: Step, direction: Direction) -> bool:
        effort = live.state.effort(step.id, direction)
        if effort.phase in _SETTLED or effort.phase == "included":
            return True
        clear = await self._adopt(live, step, direction)
        await self._until_final(live, direction)
        return clear

    # ------------------------------------------------------------ adopting

    async def _adopt(self, live: Live, step: Step, direction: Direction) -> bool:
        """Find the transaction that made an effect of the saga, and write its intent.

        Returns False where several could be it, or only a person can tell that one is.
        """
        effort = live.state.effort(step.id, direction)
        generation = effort.generation + (effort.phase == "not_done")
        task = self._ground.task(live, step, direction, generation)
        surveyor = self._ground.surveyors[step.chain]
        name = surveyor.name_of(task)
        fitting = [
            (item, prepared)
            for item in self._unknown(step.chain)
            if (name in item.movement.names if name is not None else not item.explained)
            and (prepared := surveyor.adopted(task, item.movement)) is not None
        ]
        if name is not None:
            if fitting:
                await self._write(live, step, direction, generation, *fitting[0])
            return True
        if not fitting:
            return True
        question = question_of(live.state.saga, step.id, direction)
        said = self._answers.get(question)
        if said is None:
            self._ask_which(live.state, step, direction, [item.movement for item, _ in fitting])
            return False
        if said.answer == "none":
            self._check_none(live.state, question, direction, said)
            return True
        chosen = [pair for pair in fitting if pair[0].movement.tx_id == said.answer]
        if not chosen:
            raise PreflightError(
                f"{said.answer} is no transaction that could be the {direction} of step {step.id} "
                f"of saga {live.state.saga}. Nothing was sent for it. Those that could: "
                f"{', '.join(item.movement.tx_id for item, _ in fitting)}"
            )
        await self._write(live, step, direction, generation, *chosen[0])
        return True

    def _check_none(self, state: SagaState, question: str, direction: str, said: Answer) -> None:
        """A missing forward effect means that no commit was decided, so that a hold is refunded."""
        secret = any(step.reveals for step in state.steps)
        if direction == "forward" and secret and len(said.by) < REFUND_PERSONS:
            raise PreflightError(
                f"saga {state.saga} has a hold whose preimage may be told, and without this effect "
                "it is rolled back: none needs 2 different persons. Nothing was sent for it. "
                f"Answer again: coordinator recover --execute --adopt {question}=none --by A --by B"
            )

    def _unknown(self, chain: str) -> list[Unknown]:
        """Return what is not adopted yet, as the journal is now."""
        journal = self._ground.journal
        names = names_of_sagas(named_effects(self._ground.sagas.values(), self._ground.surveyors))
        return unknown(journal, {chain: self._surveys[chain]}, names)

    async def _write(
        self,
        live: Live,
        step: Step,
        direction: Direction,
        generation: int,
        item: Unknown,
        prepared: Prepared,
    ) -> None:
        journal, movement = self._ground.journal, item.movement
        mine = (f"saga:{live.state.saga}", step.id, direction)
        owners = {claim: journal.claim(item.chain, *claim) for claim in prepared.claim}
        data = intent_data(
            prepared,
            step=step.id,
            direction=direction,
            generation=generation,
            number=len(live.state.effort(step.id, direction).attempts) + 1,
            purpose="effect",
            chain=item.chain,
            until_s=alarm_s(step, PATIENCE_BLOCKS, self._ground.runner.clock.now_ms()),
        )
        # What a self-spend of this recovery had claimed too is not claimed twice.
        data["claim"] = [
            [resource, value]
            for (resource, value), owner in owners.items()
            if owner is None or (owner.stream, owner.step, owner.direction) == mine
        ]
        data["adopted"] = True
        if step.reveals and direction == "forward":
            data["hashlock"] = live.asking.hashlock(step)
        raw = Raw(movement.tx_id, item.chain, movement.raw)
        await self._ground.append(live, [Entry("intent", data)], [raw])
        self._ground.say(
            f"saga {live.state.saga}: {direction} of {step.id} is {movement.tx_id} in block "
            f"{movement.height} of {item.chain}"
        )

    async def _until_final(self, live: Live, direction: Direction | None) -> None:
        """Look until what is in a block is final; what is in none is left as it is."""
        await self._ground.look(live)
        while any(
            effort.phase == "included" and direction in (None, key[1])
            for key, effort in live.state.efforts.items()
        ):
            await self._ground.rest()
            await self._ground.look(live)

    # ------------------------------------------------------------ what the chains show

    def _shown(self, live: Live, direction: Direction) -> tuple[str, ...]:
        """Return the steps whose effect in ``direction`` is in the survey, whoever made it."""
        found = []
        for step in live.state.steps:
            forward = live.state.effort(step.id, "forward")
            wanted = step.confirm if direction == "confirm" else step.undo
            if not wanted or (step.forward and forward.phase != "done"):
                continue
            task = self._ground.task(live, step, direction)
            surveyor = self._ground.surveyors[step.chain]
            name = surveyor.name_of(task)
            if name is not None and any(
                name in movement.names and surveyor.adopted(task, movement) is not None
                for movement in self._surveys[step.chain].movements
            ):
                found.append(step.id)
        return tuple(found)

    def _ask_which(
        self, state: SagaState, step: Step, direction: str, candidates: Sequence[Movement]
    ) -> None:
        name = question_of(state.saga, step.id, direction)
        commands = [
            (f"--adopt {name}={movement.tx_id}", "; ".join(movement.texts))
            for movement in candidates
        ]
        commands.append((f"--adopt {name}=none", "none of them was it: it is not there"))
        self.questions.append(
            Question(
                state.saga,
                name,
                f"saga {state.saga} ({state.name}), {direction} of step {step.id} "
                f"({step.text}): the backup does not know of it, and only its own records would "
                "tell it from an equal one",
                tuple(commands),
            )
        )


def _evidence_of(
    state: SagaState,
    confirmed: tuple[str, ...],
    undone: tuple[str, ...],
    unclear: Mapping[str, Any],
) -> Evidence:
    return Evidence(
        state=state.state,
        forwards={
            step.id: unclear.get(step.id)
            or ("there" if state.effort(step.id, "forward").phase == "done" else "absent")
            for step in state.steps
            if step.forward
        },
        pivot=None if state.pivot is None else state.pivot.id,
        confirmed=confirmed,
        undone=undone,
        secret=frozenset(step.id for step in state.steps if step.reveals),
    )


def _way_question(state: SagaState, way: Way) -> Question:
    name = question_of(state.saga)
    expiries = "; ".join(
        f"{step} can be refunded from {'height' if 'height' in at else 'time'} "
        f"{at.get('height', at.get('time'))}"
        for step, at in sorted(state.expiries.items())
    )
    persons = " --by A --by B" if way.persons > 1 else ""
    return Question(
        state.saga,
        name,
        f"saga {state.saga} ({state.name}): did it commit? {way.why}"
        + (f" ({expiries})" if expiries else ""),
        (
            (f"--answer {name}=commit", "its commit was decided, or a preimage may be told"),
            (f"--answer {name}=rollback{persons}", "it was not, for certain: take everything back"),
        ),
    )
