"""A value that may be used and never shown."""

import hmac
from typing import Final, NoReturn, final

__all__ = ["Secret"]

_MASK: Final = "***"


@final
class Secret:
    """Secret bytes: every printed form is ``***``, and `reveal` is the only way out.

    It can not be pickled, copied, hashed, or reached through ``vars``; equality takes the same
    time wherever two values differ. The bytes are overwritten by `wipe` and when the last
    reference goes. That is best effort: Python may have copied them before (the caller's own
    ``bytes``, what `reveal` returned, the page file), so it narrows a memory image's yield and
    promises nothing.
    """

    __slots__ = ("_value",)
    __hash__ = None  # type: ignore[assignment]  # a hash is an oracle for guesses

    def __init__(self, value: bytes | bytearray) -> None:
        self._value = bytearray(value)

    def reveal(self) -> bytes:
        """Return a copy of the bytes; keep it in a local name for as short as possible.

        Raises:
            RuntimeError: the secret was wiped.
        """
        if not self._value:
            raise RuntimeError("this secret was wiped")
        return bytes(self._value)

    def wipe(self) -> None:
        """Overwrite the bytes and forget them; safe to call twice."""
        self._value[:] = bytes(len(self._value))
        self._value.clear()

    def __del__(self) -> None:
        # __init__ may have failed before the slot was filled.
        if hasattr(self, "_value"):
            self.wipe()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value, other._value)

    def __repr__(self) -> str:
        return _MASK

    def __format__(self, spec: str) -> str:
        return format(_MASK, spec)

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a secret can not be pickled or copied")

    def __getstate__(self) -> NoReturn:
        raise TypeError("a secret can not be pickled or copied")
