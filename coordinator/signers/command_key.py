"""A key behind a command of the operator's: a hardware module's tool, a vault's client, a script.

The program is started for each question, without a shell, with almost no environment, in a session
of its own and the folder ``/``. It reads one JSON line from standard input and writes one to
standard output; what it writes beyond a bound, and whatever of its session is left when the time is
over, is ended. The format is in this folder's README.
"""

import asyncio
import json
import os
import re
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from adapters.errors import Transient
from adapters.json_text import parse_json
from adapters.remote_key import SigningRequest
from coordinator.signers.files import program_trouble
from coordinator.signers.public_keys import compressed
from coordinator.signers.remote import RemoteSource, away, hint, refused
from coordinator.signers.remote_check import TEST_TEXT

__all__ = ["CommandKey"]

_ANSWER_BYTES_MAX: Final = 4096
#: Programs at a time; a question that waits for its turn spends its own time.
_AT_ONCE: Final = 8
_REAPED_S: Final = 1.0
_ENVIRONMENT: Final = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": "/"}
_HEX: Final = re.compile(r"(?:0x)?((?:[0-9a-fA-F]{2}){1,80})")


class CommandKey:
    """Implements `coordinator.signers.remote.Holder`.

    Args:
        name: the signer's name in chains.toml.
        source: its table, with ``argv``.
        shows_errors: the program's standard error is ours; else it is thrown away, because it may
            say anything.
    """

    def __init__(self, name: str, source: RemoteSource, *, shows_errors: bool = False) -> None:
        self.name = name
        self.source = source
        self._errors = None if shows_errors else subprocess.DEVNULL
        self._turns = asyncio.Semaphore(_AT_ONCE)

    def __repr__(self) -> str:
        return f"CommandKey({self.name}, {self.source.place})"

    async def close(self) -> None:
        """Nothing stays open between questions."""

    async def public_key(self) -> bytes:
        """Ask the program for the public half of its key; 33 bytes, compressed."""
        key = compressed(self._bytes(await self._asked({"do": "public_key"}), "public_key"))
        if key is None:
            raise self._away("gave bytes that are no public key")
        return key

    async def signature(self, request: SigningRequest) -> bytes:
        """Return what the program answers, not verified."""
        question = {
            "do": "test" if request.payload == TEST_TEXT else "sign",
            "hash": request.hash,
            "digest": request.digest.hex(),
            "payload": request.payload.hex(),
            **request.facts,
        }
        return self._bytes(await self._asked(question), "signature")

    def _bytes(self, answer: Mapping[str, Any], member: str) -> bytes:
        text = answer.get(member)
        match = _HEX.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise self._away(f"answered without {member} in hex")
        return bytes.fromhex(match[1])

    async def _asked(self, question: Mapping[str, Any]) -> Mapping[str, Any]:
        face = self.source.face
        whose = {"address": face.address} if face.public_key is None else {
            "address": face.address, "public_key": face.public_key,
        }  # fmt: skip
        line = {"v": 1, "signer": self.name, "kind": face.kind, **whose, **question}
        trouble = program_trouble(Path(self.source.argv[0]))
        if trouble is not None:
            raise self._away(trouble)
        try:
            async with asyncio.timeout(self.source.timeout_s), self._turns:
                code, out = await self._run(json.dumps(line, sort_keys=True).encode() + b"\n")
        except TimeoutError:
            why = f"did not answer in {self.source.timeout_s:g} s and was ended"
            raise self._away(why) from None
        except OSError as error:
            raise self._away(f"can not be run: {error.strerror}") from None
        return self._read(code, out)

    def _read(self, code: int, out: bytes) -> Mapping[str, Any]:
        if len(out) > _ANSWER_BYTES_MAX:
            raise self._away(f"answered over {_ANSWER_BYTES_MAX} bytes and was ended")
        try:
            answer = parse_json(out)
        except ValueError:
            answer = None
        if isinstance(answer, dict) and "error" in answer:
            raise refused(self.name, self.source.place, hint(answer["error"]))
        if code != 0:
            raise self._away(f"ended with {code}")
        if not isinstance(answer, dict) or out.strip().count(b"\n"):
            raise self._away("answered with something else than one line with a JSON object")
        return answer

    async def _run(self, line: bytes) -> tuple[int, bytes]:
        """Run the program once; return its exit code and what it wrote, up to a byte too many.

        Raises:
            OSError: it can not be started.
            TimeoutError, CancelledError: from outside; the program is ended.
        """
        loop = asyncio.get_running_loop()
        transport, talk = await loop.subprocess_exec(
            lambda: _Talk(loop.create_future(), loop.create_future()), *self.source.argv,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors,
            env=_ENVIRONMENT, cwd="/", start_new_session=True,
        )  # fmt: skip
        try:
            stdin = transport.get_pipe_transport(0)
            assert isinstance(stdin, asyncio.WriteTransport)
            stdin.write(line)
            stdin.write_eof()
            await talk.over
            return transport.get_returncode() or 0, bytes(talk.out)
        finally:
            if not talk.ended:
                # Its children as well: whoever holds the pipe would keep it open for ever.
                with suppress(ProcessLookupError):
                    os.killpg(transport.get_pid(), signal.SIGKILL)
            transport.close()
            # Nothing withstands that signal, but a process may hang in the kernel beside it.
            await asyncio.wait({talk.exited}, timeout=_REAPED_S)

    def _away(self, why: str) -> Transient:
        return away(self.name, self.source.place, why)


class _Talk(asyncio.SubprocessProtocol):
    """Gathers what the program writes.

    Attributes:
        over: it has ended and nobody writes any more, or it has written too much.
        exited: it has ended.
    """

    def __init__(self, over: "asyncio.Future[None]", exited: "asyncio.Future[None]") -> None:
        self.over = over
        self.exited = exited
        self.out = bytearray()
        self.ended = False

    def pipe_data_received(self, fd: int, data: bytes) -> None:  # noqa: ARG002 - only stdout is piped
        """Keep one byte more than an answer may have, so that too many are noticed."""
        self.out += data[: _ANSWER_BYTES_MAX + 1 - len(self.out)]
        if len(self.out) > _ANSWER_BYTES_MAX:
            self._finish()

    def process_exited(self) -> None:
        """The program has ended; others may still hold its pipes."""
        if not self.exited.done():
            self.exited.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """The program has ended and its pipes are closed."""
        self.ended = True
        self._finish()

    def _finish(self) -> None:
        if not self.over.done():
            self.over.set_result(None)
