"""What ``pause`` and ``unpause`` are about: exactly one saga, signer, chain, or everything."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from coordinator.cli.arguments import login_name
from coordinator.cli.mistakes import WrongUsage

if TYPE_CHECKING:
    from coordinator.config import Config

__all__ = ["Target", "accounts_of", "parse_target"]

#: Shorter texts are names of signers; addresses of every chain are longer.
_ADDRESS_MIN: Final = 26


@dataclass(frozen=True)
class Target:
    """One scope, who asks, and why."""

    scope: str
    name: str
    by: str
    reason: str


def parse_target(
    saga: str | None,
    signer: str | None,
    chain: str | None,
    by: str | None,
    reason: str,
    *,
    everything: bool,
) -> Target:
    """Return what is meant.

    Raises:
        WrongUsage: none of them was named, or more than one, or without a reason.
    """
    named = [
        ("saga", saga),
        ("signer", signer),
        ("chain", chain),
        ("all", "" if everything else None),
    ]
    chosen = [(scope, name) for scope, name in named if name is not None]
    if len(chosen) != 1 or chosen[0] in {("saga", ""), ("signer", ""), ("chain", "")}:
        raise WrongUsage(
            "give exactly one of SAGA, --signer NAME, --chain NAME, --all. Nothing was recorded."
        )
    if not reason.strip() or (by is not None and not by.strip()):
        raise WrongUsage("--reason and --by must not be empty. Nothing was recorded.")
    return Target(*chosen[0], (by or login_name()).strip(), reason)


def accounts_of(config: "Config", target: Target) -> tuple[str, ...]:
    """Return the addresses of the signer that is meant; none for other scopes.

    Raises:
        WrongUsage: the configuration has no such chain or signer, or its address is not known.
    """
    if target.scope == "chain" and target.name not in config.chains:
        raise WrongUsage(
            f"chains.toml has no chain {target.name}; it has {', '.join(sorted(config.chains))}. "
            "Nothing was recorded."
        )
    if target.scope != "signer":
        return ()
    if target.name not in config.signers:
        if len(target.name) >= _ADDRESS_MIN:
            return (target.name,)
        known = ", ".join(sorted(config.signers)) or "none"
        raise WrongUsage(
            f"chains.toml has no signer {target.name}; it has {known}. Nothing was recorded."
        )
    from coordinator.keyring import watched_accounts

    found = {watched_accounts(config, chain).get(target.name) for chain in config.chains}
    accounts = tuple(sorted(found - {None}))  # type: ignore[type-var]  # None was taken away
    if not accounts:
        raise WrongUsage(
            f"the address of signer {target.name} is written nowhere; name it by its address: "
            "--signer ADDRESS. Nothing was recorded."
        )
    return tuple(str(account) for account in accounts)
