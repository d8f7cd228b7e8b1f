"""Verification of a settlement bundle: every check, what it found, and the verdict.

``verify_bundle`` never raises: what is damaged or hostile is a report with a failed check.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from proofs import canonical
from proofs.bundle_evidence import Evidence, check_evidence
from proofs.bundle_form import Bundle, read_bundle
from proofs.bundle_log import (
    LogFacts,
    verify_checkpoint,
    verify_consistency,
    verify_inclusion,
)
from proofs.bundle_payload import payload_of
from proofs.bundle_secrets import check_secrets
from proofs.errors import ProofError, Refused
from proofs.participants import verify_signature
from proofs.report import Check, Report, failed, passed, report_of, unverified
from proofs.saga_rules import check_rules, course_of
from proofs.saga_state import Course
from proofs.trust import Trust

__all__ = ["verify_bundle"]

_NO_TRUST: Final = "no trust file was given"
#: Members of the payload that a report's facts repeat.
_TOLD: Final = ("name", "digest", "records", "finality", "participants")
_T = TypeVar("_T")


def verify_bundle(raw: bytes, trust: Trust | None) -> Report:
    """Check a bundle against what the verifier trusts.

    Args:
        raw: the file.
        trust: the verifier's own; None leaves everything that needs trust "not verified".
    """
    found = _Verification(trust)
    try:
        found.run(raw)
    except Exception as error:  # noqa: BLE001 - a hostile file must never end in a traceback
        text = f"the verifier itself failed ({type(error).__name__}); please report this file"
        found.checks.append(unverified("form.internal", text))
    return found.report()


class _Verification:
    """One verification; its methods add checks in the order of the report."""

    def __init__(self, trust: Trust | None) -> None:
        self.trust = trust
        self.checks: list[Check] = []
        self.bundle: Bundle | None = None
        self.course: Course | None = None
        self.evidence = Evidence()
        self.log: LogFacts | None = None
        #: saga and outcome, known once the payload was found equal.
        self.saga = ""
        self.outcome = ""
        self.equal = False

    def run(self, raw: bytes) -> None:
        bundle = self._try("form.bundle", "canonical, bounded, every part used", read_bundle, raw)
        if bundle is None:
            return
        self.bundle = bundle
        chained = self._check_records(bundle)
        rules = check_rules(bundle.records)
        self.checks += rules
        if not chained or rules[0].status != "passed":
            self.checks.append(unverified("payload.equal", "the records make no saga"))
            return
        self.course = course_of(bundle.records)
        self._check_payload(bundle)
        self._check_evidence(bundle, self.course)
        self._check_log(bundle)
        self._check_signatures(bundle, self.course)
        self.checks += check_secrets(self.course, bundle.records, bundle.evidence)

    def _try(self, name: str, good: str, check: Callable[..., _T], *args: Any) -> _T | None:
        """Run one check; its refusal is a failed line."""
        try:
            value = check(*args)
        except ProofError as refused:
            self.checks.append(failed(name, refused))
            return None
        self.checks.append(passed(name, good))
        return value

    # ------------------------------------------------------------ records

    def _check_records(self, bundle: Bundle) -> bool:
        """Check that the records are one stream, whole from its first record on."""
        before = len(self.checks)
        count = len(bundle.records)
        self._try("records.stream", "one saga's stream, format 1", _check_stream, bundle)
        self._try("records.sequence", f"1 to {count} without a gap", _check_sequence, bundle)
        self._try("records.hash-chain", "each names the one before it", _check_chain, bundle)
        self._try("records.digest", "the digest is the plan's", _check_digest, bundle)
        return all(check.status == "passed" for check in self.checks[before:])

    def _check_payload(self, bundle: Bundle) -> None:
        name = "payload.equal"
        try:
            payload = payload_of(bundle.records, bundle.hashes)
        except Refused as refused:
            self.checks.append(failed(name, refused))
            return
        self.saga, self.outcome = payload["saga"], payload["outcome"]
        if canonical.encode(payload) != canonical.encode(bundle.payload):
            other = sorted(
                key
                for key in payload.keys() | bundle.payload.keys()
                if payload.get(key) != bundle.payload.get(key)
            )
            text = f"it differs from what the records say in {', '.join(other) or 'a type'}"
            self.checks.append(failed(name, text[:300]))
        else:
            self.equal = True
            self.checks.append(passed(name, "what the records say, byte for byte"))

    # ------------------------------------------------------------ evidence

    def _check_evidence(self, bundle: Bundle, course: Course) -> None:
        self.evidence = check_evidence(course, bundle.records, bundle.evidence, self.trust)
        self.checks += self.evidence.checks

    # ------------------------------------------------------------ log

    def _check_log(self, bundle: Bundle) -> None:
        trust = self.trust.log if self.trust is not None else None
        if bundle.log is None or trust is None:
            lack = "the bundle has no part of an audit log"
            if bundle.log is not None:
                lack = "the trust file names no log" if self.trust is not None else _NO_TRUST
            for name in ("checkpoint", "inclusion"):
                self.checks.append(unverified(f"log.{name}", lack))
            return
        by = f"log key 0x{trust.address.hex()}"
        try:
            self.log = verify_checkpoint(bundle.log, trust)
        except ProofError as refused:
            self.checks.append(failed("log.checkpoint", refused))
            self.checks.append(unverified("log.inclusion", "the checkpoint is not trusted"))
            return
        checkpoint = self.log.checkpoint
        handed = f", handed on {self.log.rotations} times" if self.log.rotations else ""
        text = f"{checkpoint.origin} at {checkpoint.size} records{handed}"
        if trust.checkpoint is None:
            text += "; you hold no earlier checkpoint, so a fork would not show"
        self.checks.append(passed("log.checkpoint", text, by=by))
        try:
            verify_inclusion(bundle.log, bundle.bodies, checkpoint)
        except ProofError as refused:
            self.checks.append(failed("log.inclusion", refused))
        else:
            text = f"all {len(bundle.bodies)} records are leaves under it"
            self.checks.append(passed("log.inclusion", text, by=by))
        if trust.checkpoint is not None:
            self.checks.append(_consistent(bundle, trust.checkpoint, self.log))

    # ------------------------------------------------------------ signatures

    def _check_signatures(self, bundle: Bundle, course: Course) -> None:
        named: Mapping[str, str] = course.plan.get("participants", {})
        self._check_identities(named)
        payload = canonical.encode(bundle.payload)
        entries = {entry["role"]: entry for entry in bundle.signatures}
        name = "signatures.participant"
        for role in sorted(named.keys() | entries.keys()):
            if role not in named:
                self.checks.append(failed(name, "the plan names no such participant", role))
            elif role not in entries:
                self.checks.append(failed(name, "signature-missing: it has not signed", role))
            else:
                self._check_signature(entries[role], payload, named[role])

    def _check_signature(self, entry: Mapping[str, str], payload: bytes, address: str) -> None:
        name, role = "signatures.participant", entry["role"]
        try:
            verify_signature(
                entry, saga=self.saga, outcome=self.outcome, payload=payload, address=address
            )
        except ProofError as refused:
            self.checks.append(failed(name, refused, role))
        else:
            self.checks.append(passed(name, f"0x{address} signed saga, outcome and payload", role))

    def _check_identities(self, named: Mapping[str, str]) -> None:
        """Check that the plan's participants are those that the verifier knows."""
        name = "signatures.identities"
        known = self.trust.participants if self.trust is not None else {}
        if known and known != named:
            self.checks.append(failed(name, "the plan names others than the trust file"))
        elif known:
            roles = ", ".join(sorted(named))
            self.checks.append(passed(name, f"{roles}, as the plan names them", by="trust file"))
        elif named:
            lack = "the trust file names no participants" if self.trust is not None else _NO_TRUST
            self.checks.append(unverified(name, lack))
        else:
            self.checks.append(passed(name, "the plan names no participants"))

    # ------------------------------------------------------------ report

    def report(self) -> Report:
        facts = _facts(self) if self.equal else {}
        return report_of(tuple(self.checks), self.saga, self.outcome, facts)


def _check_stream(bundle: Bundle) -> None:
    first = bundle.records[0]
    data = first["data"]
    saga = data.get("saga") if isinstance(data, dict) else None
    if first["stream"] != f"saga:{saga}":
        raise Refused("record-stream", "the stream is not that of the saga in its first record")
    for at, record in enumerate(bundle.records, 1):
        if record["stream"] != first["stream"]:
            raise Refused("record-stream", f"record {at} is of another stream")
        if type(record["v"]) is not int or record["v"] != 1:
            raise Refused("record-version", f"record {at} has another format version than 1")


def _check_sequence(bundle: Bundle) -> None:
    for at, record in enumerate(bundle.records, 1):
        if type(record["seq"]) is not int or record["seq"] != at:
            raise Refused(
                "record-sequence", f"record {at} calls itself {ascii(record['seq'])[:40]}"
            )


def _check_chain(bundle: Bundle) -> None:
    before = "0" * 64
    for at, (record, digest) in enumerate(zip(bundle.records, bundle.hashes, strict=True), 1):
        if record["prev"] != before:
            raise Refused("record-chain", f"record {at} does not name the hash of the one before")
        before = digest


def _check_digest(bundle: Bundle) -> None:
    data = bundle.records[0]["data"]
    if not isinstance(data, dict) or not isinstance(data.get("plan"), dict):
        raise Refused("plan-digest", "the first record has no plan")
    if canonical.digest(data["plan"]) != data.get("digest"):
        raise Refused("plan-digest", "the plan has another digest than the first record names")


def _consistent(bundle: Bundle, known: tuple[int, bytes], facts: LogFacts) -> Check:
    name = "log.consistency"
    assert bundle.log is not None
    try:
        shown = verify_consistency(bundle.log, facts.checkpoint, *known)
    except ProofError as refused:
        return failed(name, refused)
    if not shown:
        lack = f"no proof between {known[0]} and {facts.checkpoint.size} records in the bundle"
        return unverified(name, f"{lack}; ask for one with your checkpoint's size")
    text = f"one log with your checkpoint at {known[0]} records"
    return passed(name, text, by=f"checkpoint at {known[0]}")


def _facts(found: _Verification) -> dict[str, Any]:
    """Return what reports show; texts and blocks only where evidence was read."""
    assert found.bundle is not None
    payload, evidence, log = found.bundle.payload, found.evidence, found.log
    effects = []
    for effect in payload["effects"]:
        subject = f"{effect['step']}/{effect['dir']}"
        shown = {
            "shown": evidence.shown.get(subject, ""),
            "blocks": evidence.blocks.get(subject, []),
        }
        effects.append({**effect, **shown})
    return {
        **{name: payload[name] for name in _TOLD},
        "effects": effects,
        "log": None
        if log is None
        else {
            "origin": log.checkpoint.origin,
            "size": log.checkpoint.size,
            "root": log.checkpoint.root.hex(),
            "address": log.address.hex(),
        },
    }
