"""What a stranger finds who gets a saga's bundle, and asks the nodes himself."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from coordinator.app import configured_nodes, passphrases_for, statements_of
from coordinator.export import covering_head, export_bundle
from coordinator.journal.reading import open_readonly
from coordinator.log_key import log_address
from coordinator.notary import open_notary
from coordinator.testimony import ask, extended, needed_blocks, new_trust
from proofs.bundle import verify_bundle
from proofs.trust import read_trust

if TYPE_CHECKING:
    from coordinator.config import Config

__all__ = ["expect_valid_bundle"]


async def expect_valid_bundle(config: Config, saga: str) -> tuple[bytes, bytes]:
    """Export an ended saga and verify it as a stranger would; return bundle and trust file."""
    passphrases = passphrases_for(config, interactive=False)
    notary = open_notary(config, passphrases, now_ms=lambda: time.time_ns() // 1_000_000)
    assert notary is not None
    notary.start()
    assert notary.stop() == ()
    reader = open_readonly(config.journal_path)
    try:
        head = covering_head(reader, reader.read(f"saga:{saga}"))
        assert head is not None
        bundle = export_bundle(reader, saga, head).raw
    finally:
        reader.shut()
    trust = new_trust()
    address = log_address(config)
    assert config.log is not None
    assert address is not None
    trust["log"] = {"origin": config.log.origin, "address": address.hex(), "checkpoint": None}
    heard = await ask(needed_blocks(bundle), configured_nodes(config), statements_of)
    raw = extended(trust, heard, statements_of, needed=None, at_s=int(time.time()))
    report = verify_bundle(bundle, read_trust(raw))
    wrong = [check for check in report.checks if check.status != "passed"]
    assert report.verdict == "valid", wrong
    return bundle, raw
