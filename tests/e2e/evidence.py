"""What a stranger finds who gets a saga's bundle, asks the nodes himself, and has only proofs/."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from coordinator.app import passphrases_for
from coordinator.export import covering_head, export_bundle
from coordinator.families import configured_nodes, statements_of
from coordinator.journal.reading import open_readonly
from coordinator.log_key import log_address
from coordinator.notary import open_notary
from coordinator.testimony import ask, extended, needed_blocks, new_trust
from tests.e2e.stranger import Stranger

if TYPE_CHECKING:
    from coordinator.config import Config

__all__ = ["expect_valid_bundle"]


async def expect_valid_bundle(config: Config, saga: str) -> tuple[bytes, bytes]:
    """Export an ended saga and verify it in a folder with a copy of proofs/ alone; return bundle
    and trust file.
    """
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
    stranger = Stranger.settled_in(config.path.parent / "stranger")
    with tempfile.TemporaryDirectory(dir=stranger.folder) as folder:
        files = Path(folder, "bundle.json"), Path(folder, "trust.json")
        for path, content in zip(files, (bundle, raw), strict=True):
            path.write_bytes(content)
        told = stranger.verify(files[0], "--trust", str(files[1]), code=0)
    assert told["verdict"] == "valid"
    return bundle, raw
