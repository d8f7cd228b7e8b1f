"""Inputs of a plan: typed values that ``--set`` may change, and ``@name``, which stands for them.

There are no expressions: a value is replaced whole or not at all.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from adapters.assets import AmountError, parse_amount
from adapters.tables import MAX_INTEGER, Table, TableError
from coordinator.plan.names import ASSET, IDENTIFIER, name_problem
from coordinator.signers.literals import looks_like_secret

__all__ = [
    "SAGA_NAME",
    "Input",
    "Substitution",
    "apply_sets",
    "check_input_name",
    "read_input",
]

#: The one name that stays in the plan: every saga has its own 32 bytes for it.
SAGA_NAME: Final = "@saga.id32"
#: Widest number of decimals of any asset; each asset's own number is checked on resolution.
_ANY_DECIMALS: Final = 36

#: Form of each typed input; checksums and networks are the adapters' to verify.
_FORMS: Final = {
    "evm_address": (r"0x[0-9a-fA-F]{40}", "0x and 40 hex digits"),
    "btc_pubkey": (r"0[23][0-9a-f]{64}", "33 bytes in lower-case hex, 02… or 03…"),
    "btc_address": (r"[0-9A-Za-z]{14,100}", "a Base58 or Bech32 address"),
    "text": (r".{1,512}", "a text of at most 512 characters"),
    "integer": (r"-?(?:0|[1-9][0-9]{0,77})", "a decimal integer of at most 78 digits"),
}
_HASH: Final = re.compile(r"(?:0x)?[0-9a-fA-F]{64}")
_NAME_INSIDE: Final = re.compile(r"@([a-z][a-z0-9_-]*)")


@dataclass(frozen=True, slots=True)
class Input:
    """One declared input; ``asset`` is set for amounts, ``kind`` is ``amount`` or a type's name."""

    name: str
    kind: str
    value: str | int
    asset: str | None = None

    def substitute(self) -> Any:
        """Return what stands in the plan instead of ``@name``."""
        return self.value if self.asset is None else {"asset": self.asset, "value": self.value}


def read_input(table: Table, name: str) -> Input:
    """Return the input that ``[input]`` declares: ``{asset, value}`` or ``{type, value}``.

    Raises:
        TableError: unknown type, or a value that is none of its type.
    """
    if "asset" in table and "type" in table:
        raise table.error("type", "and 'asset' exclude each other")
    if "asset" in table:
        asset = table.text("asset")
        if problem := name_problem(asset, ASSET):
            raise table.error("asset", problem)
        found = Input(name, "amount", _amount(table, table.raw("value")), asset)
    else:
        kind = table.text("type")
        if kind not in _FORMS:
            raise table.error("type", f"must be one of {', '.join(_FORMS)}")
        found = Input(name, kind, _typed(table, kind, table.raw("value")))
    table.finish()
    return found


def apply_sets(inputs: Mapping[str, Input], sets: Mapping[str, str]) -> dict[str, Input]:
    """Return the inputs with the values of ``--set``, checked as those of the file are.

    Raises:
        TableError: no such input, or a value that is none of its type.
    """
    changed = dict(inputs)
    for name, text in sets.items():
        if name not in inputs:
            known = ", ".join(sorted(inputs)) or "none"
            raise TableError(f"--set {name[:60]!a} names no input of this plan; it has: {known}")
        table = Table(f"--set {name}", {"value": text})
        given = table.text("value")
        kind = inputs[name].kind
        value = _amount(table, given) if kind == "amount" else _typed(table, kind, given)
        changed[name] = replace(inputs[name], value=value)
    return changed


class Substitution:
    """Replaces ``@name`` and remembers which inputs were used."""

    def __init__(self, inputs: Mapping[str, Input]) -> None:
        self._inputs = inputs
        self.used: set[str] = set()

    def apply(self, value: Any, where: str) -> Any:
        """Return ``value`` with every text that is ``@name`` replaced, at any depth.

        Raises:
            TableError: an unknown name, or a name inside a longer text.
        """
        if isinstance(value, Mapping):
            return {key: self.apply(item, f"{where}.{key}") for key, item in value.items()}
        if isinstance(value, list):
            return [self.apply(item, f"{where}[{n}]") for n, item in enumerate(value, start=1)]
        return self._text(value, where) if isinstance(value, str) else value

    def _text(self, text: str, where: str) -> Any:
        if text == SAGA_NAME:
            return text
        if text.startswith("@"):
            found = self._inputs.get(text[1:])
            if found is None:
                raise TableError(f"{where} names {text[:60]!a}; {self._known()}")
            self.used.add(found.name)
            return found.substitute()
        inside = [name for name in _NAME_INSIDE.findall(text) if name in self._inputs]
        if inside or SAGA_NAME in text:
            name = f"@{inside[0]}" if inside else SAGA_NAME
            raise TableError(
                f"{where} has {name} inside a longer text; only a whole value is replaced"
            )
        if kind := _secret(text):
            raise TableError(f"{where} holds {kind}; a plan is stored and shown, it holds no keys")
        return text

    def _known(self) -> str:
        names: Iterable[str] = (f"@{name}" for name in sorted(self._inputs))
        return f"known here: {', '.join((*names, SAGA_NAME))}"


def _amount(table: Table, value: Any) -> str:
    if type(value) is not str:
        raise table.error("value", 'must be a decimal text such as "0.015"')
    try:
        parse_amount(value, _ANY_DECIMALS)
    except AmountError as error:
        raise table.error("value", f"is wrong: {error}") from None
    return value


def _typed(table: Table, kind: str, value: Any) -> str | int:
    form, words = _FORMS[kind]
    if kind == "integer" and type(value) is int:
        return value
    if type(value) is not str or not re.fullmatch(form, value):
        raise table.error("value", f"is no {kind}: {words}")
    if secret := _secret(value):
        raise table.error("value", f"holds {secret}; a plan is stored and shown, it holds no keys")
    if kind == "integer":
        number = int(value)
        return number if abs(number) <= MAX_INTEGER else str(number)
    return value


def _secret(text: str) -> str | None:
    """Name a key in ``text``; 32 bytes in hex and sentences are ordinary data of a plan."""
    return None if _HASH.fullmatch(text) or " " in text else looks_like_secret(text)


def check_input_name(name: str) -> str | None:
    """Return why ``name`` can not name an input, or None; ``saga`` is taken."""
    if name == "saga":
        return "'saga' is taken by the values of the saga itself"
    return name_problem(name, IDENTIFIER)
