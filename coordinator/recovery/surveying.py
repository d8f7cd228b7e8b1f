"""What our keys did that the journal does not know of, and what of it a saga explains."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from adapters.survey import Movement, Survey
from coordinator.journal.base import ClaimRow
from coordinator.journal.derive import SAGA_PREFIX
from coordinator.unexplained import Claims, is_attempt

__all__ = ["Unknown", "names_of_sagas", "unknown"]


@dataclass(frozen=True, slots=True)
class Unknown:
    """A movement that is no attempt of the journal.

    Attributes:
        named: the effect of a saga that the journal knows is in it, by its name.
        claimed: it consumed what an effort of such a saga has claimed: a replacement of its.
    """

    chain: str
    movement: Movement
    named: bool
    claimed: bool

    @property
    def explained(self) -> bool:
        """Whether a saga that the journal knows accounts for it."""
        return self.named or self.claimed


def unknown(
    journal: Claims, surveys: Mapping[str, Survey], names: Mapping[str, Collection[str]]
) -> list[Unknown]:
    """Return the movements that no attempt of the journal is, oldest first on each chain.

    Args:
        names: by chain, those of the effects of sagas that the journal knows.
    """
    found = []
    for chain, survey in sorted(surveys.items()):
        known = set(names.get(chain, ()))
        for movement in survey.movements:
            if is_attempt(journal, movement.tx_id):
                continue
            owners = [journal.claim(chain, *claim) for claim in movement.claim]
            found.append(
                Unknown(chain, movement, bool(known & movement.names), any(map(_of_saga, owners)))
            )
    return found


def _of_saga(owner: ClaimRow | None) -> bool:
    """Whether a saga claimed it. What a self-spend of ours claimed and another transaction
    consumed is not explained by that.
    """
    return owner is not None and owner.stream.startswith(SAGA_PREFIX)


def names_of_sagas(named: Iterable[tuple[str, str | None]]) -> dict[str, set[str]]:
    """Gather (chain, name) by chain, leaving out what has no name."""
    found: dict[str, set[str]] = {}
    for chain, name in named:
        if name is not None:
            found.setdefault(chain, set()).add(name)
    return found
