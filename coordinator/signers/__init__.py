"""Keys: encrypted at rest, opened into values that do not print, handed to whoever signs.

Importing this package imports no cryptography; what is heavy is imported where a keystore is
opened or made. The file formats are described in this folder's README.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from coordinator.signers.environment import check_env_allowed
    from coordinator.signers.holds import HoldSecrets
    from coordinator.signers.keystore import (
        Listed,
        check_keystore,
        create_keystore,
        import_key,
        keystore_path,
        list_keystores,
        open_keystore,
        read_keystore,
    )
    from coordinator.signers.kinds import KINDS, Opened, PublicFace
    from coordinator.signers.literals import looks_like_secret
    from coordinator.signers.opening import SignerSource, open_seed, open_signer
    from coordinator.signers.passphrase import Passphrases, is_source
    from coordinator.signers.process import forbid_core_dumps
    from coordinator.signers.remote import Holder, RemoteSource, open_holder, open_remote
    from coordinator.signers.remote_check import check_remote, compare_remote
    from coordinator.signers.secret import Secret

__all__ = [
    "KINDS",
    "HoldSecrets",
    "Holder",
    "Listed",
    "Opened",
    "Passphrases",
    "PublicFace",
    "RemoteSource",
    "Secret",
    "SignerSource",
    "check_env_allowed",
    "check_keystore",
    "check_remote",
    "compare_remote",
    "create_keystore",
    "forbid_core_dumps",
    "import_key",
    "is_source",
    "keystore_path",
    "list_keystores",
    "looks_like_secret",
    "open_holder",
    "open_keystore",
    "open_remote",
    "open_seed",
    "open_signer",
    "read_keystore",
]

#: Name → the module that has it; imported when asked for, so that reading a journal stays quick.
_HOMES: Final = {
    "HoldSecrets": "holds",
    "Holder": "remote",
    "KINDS": "kinds",
    "Listed": "keystore",
    "Opened": "kinds",
    "Passphrases": "passphrase",
    "PublicFace": "kinds",
    "RemoteSource": "remote",
    "Secret": "secret",
    "SignerSource": "opening",
    "check_env_allowed": "environment",
    "check_keystore": "keystore",
    "check_remote": "remote_check",
    "compare_remote": "remote_check",
    "create_keystore": "keystore",
    "forbid_core_dumps": "process",
    "import_key": "keystore",
    "is_source": "passphrase",
    "keystore_path": "keystore",
    "list_keystores": "keystore",
    "looks_like_secret": "literals",
    "open_holder": "remote",
    "open_keystore": "keystore",
    "open_remote": "remote",
    "open_seed": "opening",
    "open_signer": "opening",
    "read_keystore": "keystore",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
