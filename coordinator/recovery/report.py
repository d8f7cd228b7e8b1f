"""What is known before anything is sent: the journal, its second place, what the chains show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adapters.base import Adapter
from adapters.survey import Survey
from coordinator.journal.derive import OPERATOR_STREAM
from coordinator.journal.reading import JournalReader
from coordinator.journal.recoveries import Standing
from coordinator.live import Live
from coordinator.operator_stream import Unexplained, fold_operator
from coordinator.ports import Clock, Secrets
from coordinator.recovery.recover import heights_of, surveyors_of
from coordinator.recovery.settling import named_effects
from coordinator.recovery.surveying import Unknown, names_of_sagas, unknown
from coordinator.saga import SagaState, fold
from coordinator.tasks import Asking

__all__ = ["Report", "journal_report", "report_chains"]


@dataclass(slots=True)
class Report:
    """What `coordinator recover` tells.

    Attributes:
        position: where this journal ends.
        sagas: those that are open by what it knows.
        surveys, found: what the chains show, once they were read; no attempt of the journal is
            among ``found``.
        halted: unexplained transactions that nobody has accepted.
    """

    standing: Standing
    position: int
    sagas: Sequence[SagaState]
    halted: Sequence[Unexplained]
    surveys: Mapping[str, Survey] | None = None
    found: Sequence[Unknown] = ()

    @property
    def missing(self) -> int | None:
        """At least how many records are lost; None where nobody can tell."""
        seen = self.standing.witnessed
        if seen is None or self.standing.kind != "old":
            return None
        return max(0, seen.position - self.position)

    def view(self) -> dict[str, Any]:
        """Return it as JSON."""
        seen = self.standing.witnessed
        return {
            "v": 1,
            "type": "recovery",
            "standing": self.standing.kind,
            "text": self.standing.text,
            "position": self.position,
            "witnessed": None if seen is None else {"position": seen.position, "hash": seen.hash},
            "missing": self.missing,
            "sagas": [
                {"saga": state.saga, "plan": state.name, "state": state.state}
                for state in self.sagas
            ],
            "movements": [_movement(item) for item in self.found],
            "unexplained": [
                {
                    "chain": item.chain,
                    "tx": item.tx,
                    "height": item.height,
                    "accounts": list(item.accounts),
                    "texts": list(item.texts),
                }
                for item in self.halted
            ],
        }


def _movement(item: Unknown) -> dict[str, Any]:
    movement = item.movement
    return {
        "chain": item.chain,
        "tx": movement.tx_id,
        "block": movement.block_hash,
        "height": movement.height,
        "time": movement.time_s,
        "explained": item.explained,
        "accounts": list(movement.accounts),
        "claim": [[resource, value] for resource, value in movement.claim],
        "texts": list(movement.texts),
    }


def journal_report(reader: JournalReader, standing: Standing) -> Report:
    """Return what needs no chain."""
    sagas = [fold(reader.read(f"saga:{row.saga}")) for row in reader.sagas(open_only=True)]
    halted = fold_operator(reader.read(OPERATOR_STREAM)).open
    return Report(standing, reader.last_position(), sagas, halted)


async def report_chains(
    report: Report,
    reader: JournalReader,
    adapters: Mapping[str, Adapter],
    secrets: Secrets,
    clock: Clock,
) -> None:
    """Read what our keys did since the backup; sends nothing."""
    surveyors = surveyors_of(adapters)
    heights = await heights_of(reader, adapters, surveyors)
    lives = [
        Live(state, Asking(state.saga, secrets, clock))
        for state in report.sagas
        if set(state.chains) <= set(adapters)
    ]
    names = names_of_sagas(named_effects(lives, surveyors))
    surveys = {
        chain: await surveyor.survey(heights[chain]["since"])
        for chain, surveyor in surveyors.items()
    }
    report.surveys = surveys
    report.found = [
        item for item in unknown(reader, surveys, names) if item.explained or item.movement.claim
    ]
