"""Arguments that are plain texts, paths and numbers are read without pydantic.

typer 0.29 turns every argument through a pydantic adapter, whose import costs more than all of
``coordinator status``. Plain types need none of it; every other type keeps typer's own way.
"""

from pathlib import Path
from typing import Any, Final

from typer import BadParameter, Context

try:
    from typer._coercion import RuntimeParam
except ImportError:  # another typer than the pinned one: its own way then, only slower
    RuntimeParam = None  # type: ignore[assignment,misc]

__all__ = ["read_plainly"]

_PLAIN: Final = (str, Path, int, bool)
_DIGITS_MAX: Final = 18


def read_plainly(command: Any, parent: Context | None) -> None:
    """Give every parameter of a plain type a reader of its own, ``--help`` included."""
    if RuntimeParam is None:
        return
    help_names = {**command.context_settings, "parent": parent}
    help_option = command.get_help_option(Context(command, **help_names))
    for parameter in [*command.params, help_option]:
        kind: Any = getattr(getattr(parameter, "type_descriptor", None), "annotation", None)
        single = kind.__args__[0] if getattr(kind, "__origin__", None) is list else kind
        if single in _PLAIN and hasattr(parameter, "_runtime_param"):
            info = parameter.type_descriptor.parameter_info
            parameter._runtime_param = _Plain(info, single)  # noqa: SLF001 - see the module's text


if RuntimeParam is not None:

    class _Plain(RuntimeParam):
        """Reads a text, path, integer or flag, one or a list of them."""

        def _coerce_value(self, value: Any, param: Any, ctx: Any) -> Any:
            if isinstance(value, list | tuple):
                return [self._one(item, param, ctx) for item in value]
            return self._one(value, param, ctx)

        def _one(self, value: Any, param: Any, ctx: Any) -> Any:
            kind: Any = self.annotation
            if isinstance(value, kind):
                return value
            if kind is int:
                return self._within(_integer(value, param, ctx), param, ctx)
            if kind is bool:
                raise BadParameter(f"{value!r} is not a valid {kind.__name__}", ctx, param)
            return kind(value)

        def _within(self, number: int, param: Any, ctx: Any) -> int:
            """Hold a number to the least and the most that its declaration names."""
            info: Any = self.parameter_info
            least, most = info.min, info.max
            if (least is not None and number < least) or (most is not None and number > most):
                span = f"{least} to {most}" if most is not None else f"at least {least}"
                raise BadParameter(f"{number} is out of range: {span}", ctx, param)
            return number


def _integer(text: str, param: Any, ctx: Any) -> int:
    if not (text.isascii() and text.removeprefix("-").isdigit()) or len(text) > _DIGITS_MAX:
        raise BadParameter(f"{text!r} is not a whole number", ctx, param)
    return int(text)
