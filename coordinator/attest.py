"""A participant's signature under a settlement bundle (EIP-712), made with a signer of ours."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from coordinator.config import Config
from coordinator.errors import CoordinatorError, KeysError
from coordinator.plan.participants import checksummed
from coordinator.signers import Passphrases, open_signer, read_keystore
from proofs import bundle_form, canonical, participants
from proofs.bundle import verify_bundle

__all__ = ["Attested", "NoParticipant", "NotSigned", "attest", "refusals"]

#: How a verifier's reason begins where a participant has not signed yet.
_MISSING: Final = "signature-missing"


class NotSigned(CoordinatorError):
    """The bundle is not one that may be signed so; nothing was signed."""

    exit_code = 40


class NoParticipant(CoordinatorError):
    """The plan names no such participant; nothing was signed."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Attested:
    """The bundle with the signature; ``fresh`` is False if it had it already."""

    raw: bytes
    saga: str
    outcome: str
    role: str
    address: str
    fresh: bool


def attest(
    raw: bytes, role: str, signer: str, config: Config, passphrases: Passphrases
) -> Attested:
    """Sign a bundle as ``role`` with the key of ``signer``.

    The bundle is verified first, except for what only a trust file could tell and for signatures
    that are still missing: nobody signs here what does not hold together.

    Raises:
        NotSigned: the bundle does not verify.
        NoParticipant: the plan has no such participant.
        KeysError: there is no such signer, it is another participant's key, or does not open.
    """
    bundle = _sound(raw)
    payload = bundle.payload
    address = _address_of(payload, role)
    sign = _signing(config, passphrases, signer, address, role)
    saga, outcome = str(payload["saga"]), str(payload["outcome"])
    encoded = canonical.encode(payload)
    if any(entry["role"] == role for entry in bundle.signatures):
        return Attested(raw, saga, outcome, role, address, fresh=False)
    signature = sign(participants.digest_of(saga, outcome, role, encoded))
    entry = participants.entry_of(role, address, signature)
    participants.verify_signature(
        entry, saga=saga, outcome=outcome, payload=encoded, address=address
    )
    return Attested(
        bundle_form.with_signature(raw, entry), saga, outcome, role, address, fresh=True
    )


def refusals(raw: bytes) -> list[str]:
    """Return why a verifier who trusts nothing refuses a bundle, missing signatures aside."""
    return [
        f"{check.name}{f' {check.subject}' if check.subject else ''}: {check.reason}"
        for check in verify_bundle(raw, None).checks
        if check.status == "failed" and not check.reason.startswith(_MISSING)
    ]


def _sound(raw: bytes) -> bundle_form.Bundle:
    """Return the bundle if nothing in it is wrong but, perhaps, that signatures are missing."""
    wrong = refusals(raw)
    if wrong:
        raise NotSigned(
            f"the bundle does not verify: {wrong[0]}. Nothing was signed. See: coordinator verify "
            "BUNDLE"
        )
    return bundle_form.read_bundle(raw)


def _address_of(payload: Mapping[str, Any], role: str) -> str:
    named = payload["participants"]
    if role in named:
        return str(named[role])
    known = ", ".join(sorted(named)) or "none"
    raise NoParticipant(
        f"the plan of this saga names no participant {role!r}; it names: {known}. Nothing was "
        "signed. Participants stand under [participants] in the plan, before it runs."
    )


def _signing(
    config: Config, passphrases: Passphrases, signer: str, address: str, role: str
) -> Callable[[bytes], bytes]:
    """Return what makes 65 bytes r, s, v of a digest, if the signer has the role's address."""
    source = config.signers.get(signer)
    if source is None:
        known = ", ".join(sorted(config.signers)) or "none"
        raise KeysError(
            f"there is no [signer.{signer}] in {config.path}; known: {known}. Nothing was signed."
        )
    if source.remote is not None:
        raise KeysError(
            f"signer {signer} is remote (type {source.type}) and signs transactions of steps only; "
            "name a keystore that holds the role's key. Nothing was signed."
        )
    if source.path is not None:
        face = read_keystore(source.path, f"signer {signer}: keystore").face
        if face is not None and face.address is not None:
            _require(signer, face.kind, face.address, address, role)
    opened = open_signer(signer, source, passphrases, devnet=config.devnet)
    _require(signer, opened.kind, str(opened.address), address, role)

    def sign(digest: bytes) -> bytes:
        from coincurve import PrivateKey

        made = PrivateKey(opened.secret.reveal()).sign_recoverable(digest, hasher=None)
        return made[:64] + bytes([27 + made[64]])

    return sign


def _require(signer: str, kind: str, found: str, wanted: str, role: str) -> None:
    if kind != "ethereum":
        raise KeysError(
            f"signer {signer} is a key of kind {kind}; participants sign with kind ethereum. "
            "Nothing was signed."
        )
    if found.lower() != f"0x{wanted}":
        raise KeysError(
            f"signer {signer} is {found}, and participant {role} of the plan is "
            f"{checksummed(wanted)}. Nothing was signed."
        )
