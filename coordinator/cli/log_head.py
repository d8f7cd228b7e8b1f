"""The log's key history and newest signed head, for commands that look at them."""

from typing import TYPE_CHECKING, Any

from coordinator.cli.text import moment

if TYPE_CHECKING:
    from coordinator.config import Config
    from coordinator.journal.reading import JournalReader
    from proofs.checkpoint_keys import KeyHistory

__all__ = ["head_line", "head_view", "key_history_of"]


def key_history_of(config: "Config", reader: "JournalReader") -> "KeyHistory | None":
    """Return whose signatures count in this journal's log; None where nothing was ever signed.

    Raises:
        JournalError: the log's rotations are not what its keys signed.
        KeysError: the keystore of the log's key can not be read.
    """
    # Where nothing was signed and nothing signs, no signature library is loaded.
    if config.log is None and reader.last_checkpoint() is None:
        return None
    from coordinator.journal.checkpoints import key_history
    from coordinator.log_key import log_address

    origin = None if config.log is None else config.log.origin
    return key_history(reader, origin, log_address(config))


def head_view(reader: "JournalReader", history: "KeyHistory | None") -> dict[str, Any] | None:
    """Return the newest signed head as JSON, None if there is none."""
    head = reader.last_checkpoint()
    if head is None or history is None:
        return None
    return {
        "origin": history.origin,
        "address": history.address_at(head.size).hex(),
        "size": head.size,
        "root": head.root.hex(),
        "signed_ms": head.at_ms,
        "unsigned": reader.last_position() - head.size,
    }


def head_line(view: dict[str, Any] | None) -> str:
    """Return one line about the newest signed head."""
    if view is None:
        return "? nothing was signed: chains.toml has no [log], or no saga was driven since"
    return (
        f"✓ signed head of {view['size']} records, {moment(view['signed_ms'])}, by "
        f"0x{view['address']} ({view['origin']}); {view['unsigned']} records since"
    )
