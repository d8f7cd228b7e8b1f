"""Remote signers for tests: started, told how to behave, and asked what they were asked."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import coincurve

from coordinator.signers.kinds import face_of

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
PROCESS = Path(__file__).with_name("remote_signer_process.py")


@dataclass
class Told:
    """A remote signer's folder."""

    folder: Path
    secret: bytes

    @classmethod
    def new(cls, folder: Path, secret: bytes) -> Told:
        folder.mkdir(parents=True)
        (folder / "key").write_text(secret.hex())
        told = cls(folder, secret)
        told.behave("ok")
        return told

    def behave(self, mode: str) -> None:
        """From the next question on; see `tests.remote_signer_process`."""
        path = self.folder / "mode.new"
        path.write_text(mode)
        path.replace(self.folder / "mode")  # nobody reads half of it

    def asked(self) -> list[dict[str, Any]]:
        """Every question so far, in order."""
        path = self.folder / "asked"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def hung(self) -> int:
        """How many questions an HTTP signer has left without an answer."""
        path = self.folder / "hung"
        return len(path.read_text().splitlines()) if path.exists() else 0

    @property
    def public_key(self) -> str:
        return str(coincurve.PrivateKey(self.secret).public_key.format().hex())

    @property
    def address(self) -> str:
        return str(face_of("ethereum", bytes.fromhex(self.public_key)).address)


@dataclass
class HttpSigner(Told):
    """A service that runs."""

    url: str = ""

    def table(self, name: str, *, timeout_ms: int = 20_000, **more: str) -> str:
        """Its ``[signer.NAME]``."""
        lines = "".join(f'{key} = "{value}"\n' for key, value in more.items())
        return (
            f'\n[signer.{name}]\ntype = "http"\nurl = "{self.url}"\naddress = "{self.address}"\n'
            f"timeout_ms = {timeout_ms}\n{lines}"
        )


@contextmanager
def http_signer(
    folder: Path, secret: bytes, token: str | None = None, certificate: Path | None = None
) -> Iterator[HttpSigner]:
    told = Told.new(folder, secret)
    if certificate is not None:
        (folder / "tls.pem").write_bytes(certificate.read_bytes())
    if token is not None:
        (folder / "token").write_text(token)
    with subprocess.Popen(
        [sys.executable, str(PROCESS), "serve", str(folder)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            port = int(process.stdout.readline())
            scheme = "http" if certificate is None else "https"
            yield HttpSigner(folder, told.secret, f"{scheme}://127.0.0.1:{port}")
        finally:
            process.stdin.close()
            process.kill()


@dataclass
class CommandSigner(Told):
    """A program that is started for each question."""

    @property
    def program(self) -> Path:
        return self.folder / "sign"

    def table(
        self, name: str, kind: str, *, network: str = "regtest", timeout_ms: int = 20_000
    ) -> str:
        pinned = (
            f'address = "{self.address}"'
            if kind == "ethereum"
            else f'public_key = "{self.public_key}"\nnetwork = "{network}"'
        )
        return (
            f'\n[signer.{name}]\ntype = "command"\nkind = "{kind}"\n'
            f'argv = ["{self.program}", "{self.folder}"]\ntimeout_ms = {timeout_ms}\n{pinned}\n'
        )


def command_signer(folder: Path, secret: bytes) -> CommandSigner:
    told = Told.new(folder, secret)
    signer = CommandSigner(folder, told.secret)
    signer.program.write_text(f'#!/bin/sh\nexec {sys.executable} {PROCESS} answer "$1"\n')
    signer.program.chmod(0o700)
    return signer
