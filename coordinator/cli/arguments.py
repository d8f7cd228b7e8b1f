"""Arguments that several commands read alike."""

import getpass
import os
import re
import shutil

from coordinator.alarm import split_command
from coordinator.cli.mistakes import WrongUsage

__all__ = ["login_name", "parse_address", "parse_command"]


def parse_command(option: str, text: str | None) -> list[str] | None:
    """Return the words of a command for alarms, which must be there before it is needed.

    Raises:
        WrongUsage: there is no such program, or its quotes are wrong.
    """
    if text is None:
        return None
    try:
        words = split_command(text)
    except ValueError as error:
        raise WrongUsage(f"{option} {text!r}: {error}. Nothing was sent.") from None
    if shutil.which(words[0]) is None:
        raise WrongUsage(
            f"{option} {words[0]!r} is no program that can be run here. Nothing was sent."
        )
    return words


def parse_address(option: str, text: str) -> bytes:
    """Return the 20 bytes of an Ethereum address, with or without ``0x``.

    Raises:
        WrongUsage: it is none.
    """
    digits = text.removeprefix("0x")
    if not re.fullmatch("[0-9a-fA-F]{40}", digits):
        raise WrongUsage(f"{option} {text!r} is not 40 hex digits. Nothing was done.")
    return bytes.fromhex(digits)


def login_name() -> str:
    """Return who is logged in; a container may run under a number that has no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
