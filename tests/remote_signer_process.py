"""Remote signers of our own, as processes: an HTTP service like Web3Signer's, and a command.

Both read their behaviour from ``mode`` in a folder each time they are asked, and note each question
in ``asked``; the key is in ``key``, 32 bytes as hex. They share nothing with the coordinator but
secp256k1 and keccak.
"""

from __future__ import annotations

import hashlib
import json
import ssl
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import coincurve
from coincurve.ecdsa import cdata_to_der, deserialize_compact

#: Longer than any patience in tests; a process that hangs ends with its test.
HANG_S = 60
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def keccak(data: bytes) -> bytes:
    from eth_utils.crypto import keccak as hashed  # not every question needs it, and it is slow

    return hashed(data)


class Key:
    """A key in a folder, and how it is to behave."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = coincurve.PrivateKey(bytes.fromhex((folder / "key").read_text()))

    @property
    def mode(self) -> str:
        return (self.folder / "mode").read_text().strip()

    def note(self, question: dict[str, Any]) -> None:
        with (self.folder / "asked").open("a") as file:
            file.write(json.dumps(question) + "\n")

    def note_hung(self) -> None:
        """One more question is left without an answer."""
        with (self.folder / "hung").open("a") as file:
            file.write("1\n")

    def recoverable(self, digest: bytes) -> bytes:
        """r, s, v as the mode wants it; v is 27 or 28."""
        mode = self.mode
        key = coincurve.PrivateKey(b"\x07" * 32) if mode == "other key" else self.key
        made = key.sign_recoverable(b"\x09" * 32 if mode == "other digest" else digest, hasher=None)
        r, s, v = made[:32], int.from_bytes(made[32:64], "big"), made[64] + 27
        if mode == "high s":
            s, v = ORDER - s, 55 - v
        if mode == "wrong parity":
            v = 55 - v
        if mode == "odd v":
            v = 35
        if mode == "small v":
            v -= 27
        whole = r + s.to_bytes(32, "big") + bytes([v])
        return whole[:64] if mode == "short" else whole

    def plain(self, digest: bytes) -> bytes:
        """DER as Bitcoin has it, or 64 bytes, as the mode wants it."""
        compact = self.recoverable(digest)[:64]
        if self.mode in {"compact", "short"}:
            return compact[: 63 if self.mode == "short" else 64]
        der: bytes = cdata_to_der(deserialize_compact(compact))
        if self.mode == "high s":  # the library would put it right
            parts = []
            for number in (compact[:32], compact[32:]):
                digits = number.lstrip(b"\0")
                digits = b"\0" + digits if digits[0] & 0x80 else digits
                parts.append(b"\x02" + bytes([len(digits)]) + digits)
            body = b"".join(parts)
            return b"\x30" + bytes([len(body)]) + body
        if self.mode == "padded":  # a zero byte that DER does not want
            return b"\x30" + bytes([der[1] + 1, 2, der[3] + 1, 0]) + der[4:]
        return der


class Handler(BaseHTTPRequestHandler):
    """The three endpoints."""

    key: Key
    token: str | None = None
    #: Held from the first POST that "hang first" meets on: two may come at once.
    first: ClassVar = threading.Lock()

    def do_GET(self) -> None:
        if self._stopped():
            return
        if self.path == "/upcheck":
            self._answer(200, "OK")
        elif self.path == "/api/v1/eth1/publicKeys":
            keys = [coincurve.PrivateKey(b"\x05" * 32), self.key.key]
            if self.key.mode == "unknown key":
                keys.pop()
            listed = [f"0x{key.public_key.format(compressed=False)[1:].hex()}" for key in keys]
            self._answer(200, json.dumps(["no key", 7, *listed]))
        else:
            self._answer(404, "Resource not found")

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        identifier = self.path.removeprefix("/api/v1/eth1/sign/")
        self.key.note({"path": self.path, "body": body})
        if self._stopped():
            return
        own = self.key.key.public_key.format(compressed=False)[1:].hex()
        if identifier != f"0x{own}":
            self._answer(404, "Public Key not found")
            return
        made = self.key.recoverable(keccak(bytes.fromhex(body["data"][2:])))
        self._answer(200, f"0x{made.hex()}")

    def _stopped(self) -> bool:
        """Misbehave as told; True when there is no more to say."""
        mode, _, rest = self.key.mode.partition(":")
        if self.token is not None and self.headers["Authorization"] != f"Bearer {self.token}":
            self._answer(401, "who are you?")
            return True
        post = self.command == "POST"
        first = mode == "hang first" and post and self.first.acquire(blocking=False)
        if mode == "hang" or (mode == "hang sign" and post) or first:
            self.key.note_hung()
            end_s = time.monotonic() + HANG_S
            while self.key.mode.startswith("hang") and time.monotonic() < end_s:
                time.sleep(0.02)
            return time.monotonic() >= end_s
        if mode == "status":
            self._answer(int(rest), "as it was told")
        elif mode == "redirect":
            self.send_response(307)
            self.send_header("Location", rest)
            self.end_headers()
        elif mode == "text":
            self._answer(200, rest)
        elif mode == "huge":
            self._answer(200, "0x" + "0" * (2 << 20))
        elif mode == "secret":
            self._answer(500, f"my key is {self.key.key.to_hex()}")
        return mode in {"status", "redirect", "text", "huge", "secret"}

    def _answer(self, status: int, text: str) -> None:
        raw = text.encode()
        try:
            self.send_response(status)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)
        except OSError:
            pass  # whoever asked has gone

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def serve(folder: Path) -> None:
    """Serve until standard input ends; print the port."""
    Handler.key = Key(folder)
    token = folder / "token"
    Handler.token = token.read_text() if token.exists() else None
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    tls = folder / "tls.pem"
    if tls.exists():
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdout.write(f"{server.server_address[1]}\n")
    sys.stdout.flush()
    sys.stdin.read()


def answer(folder: Path) -> None:
    """Answer one question from standard input."""
    key = Key(folder)
    question = json.loads(sys.stdin.readline())
    key.note(question)
    mode, _, rest = key.mode.partition(":")
    if mode == "hang" or (mode == "hang sign" and question["do"] == "sign"):
        time.sleep(HANG_S)
    if mode == "child":  # it ends, and leaves somebody behind who keeps its output open
        waits = f"import time; time.sleep({HANG_S})"
        subprocess.Popen([sys.executable, "-c", waits, str(folder)])  # named to be found by it
        return
    if mode == "exit":
        sys.exit(int(rest))
    if mode == "text":
        sys.stdout.write(rest)
        return
    if mode == "huge":
        sys.stdout.write("x" * (1 << 20))
        sys.stdout.flush()
        time.sleep(HANG_S)
    if mode == "refuse" and question["do"] == "sign":
        sys.stdout.write(json.dumps({"error": rest}))
        return
    sys.stdout.write(json.dumps(_answer_to(key, question)) + "\n")


def _answer_to(key: Key, question: dict[str, Any]) -> dict[str, Any]:
    if question["do"] == "public_key":
        other = coincurve.PrivateKey(b"\x07" * 32)
        shown = other if key.mode == "unknown key" else key.key
        return {"public_key": shown.public_key.format().hex()}
    digest, payload = bytes.fromhex(question["digest"]), bytes.fromhex(question["payload"])
    if question["hash"] == "keccak256":
        assert digest == keccak(payload), "the digest is that of what is shown"
        return {"signature": f"0x{key.recoverable(digest).hex()}"}
    if question["do"] == "test":
        assert digest == hashlib.sha256(hashlib.sha256(payload).digest()).digest()
    else:
        assert digest == bip143(payload, question), "the digest is that of the shown input"
    return {"signature": key.plain(digest).hex()}


def bip143(tx: bytes, question: dict[str, Any]) -> bytes:
    """The digest of one input (SIGHASH_ALL), worked out from what the question shows, by hand."""

    def twice(data: bytes) -> bytes:
        return hashlib.sha256(hashlib.sha256(data).digest()).digest()

    inputs, at = tx[4], 5
    assert inputs < 0xFD, "few inputs"
    outpoints, sequences = [], []
    for _ in range(inputs):
        assert tx[at + 36] == 0, "no script: it is unsigned"
        outpoints.append(tx[at : at + 36])
        sequences.append(tx[at + 37 : at + 41])
        at += 41
    outputs, locktime = tx[at + 1 : -4], tx[-4:]
    code, index = bytes.fromhex(question["script_code"]), question["input"]
    preimage = b"".join([
        tx[:4], twice(b"".join(outpoints)), twice(b"".join(sequences)), outpoints[index],
        bytes([len(code)]), code, int(question["amount_sat"]).to_bytes(8, "little"),
        sequences[index], twice(outputs), locktime, (1).to_bytes(4, "little"),
    ])  # fmt: skip
    return twice(preimage)


if __name__ == "__main__":
    {"serve": serve, "answer": answer}[sys.argv[1]](Path(sys.argv[2]))
