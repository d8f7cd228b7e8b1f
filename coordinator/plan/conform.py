"""Hold a JSON value against a schema of ours: the part of JSON Schema 2020-12 that they use.

Known keywords: type, const, enum, pattern (anchored), maxLength, minimum, maximum, properties,
required, additionalProperties, propertyNames, items, prefixItems, minItems, maxItems, anyOf, $ref
to ``#/$defs/…``. A schema with any other keyword is a bug and raises `AssertionError`.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

__all__ = ["problems"]

_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "object": (dict,), "array": (list,), "string": (str,), "integer": (int,), "boolean": (bool,),
    "null": (type(None),),
}  # fmt: skip
_ANNOTATIONS: Final = frozenset({"$schema", "$id", "$defs", "title", "description", "default"})
_KEYWORDS: Final = frozenset({
    "type", "const", "enum", "pattern", "maxLength", "minimum", "maximum", "properties",
    "required", "additionalProperties", "propertyNames", "items", "prefixItems", "minItems",
    "maxItems", "anyOf", "$ref",
})  # fmt: skip


def problems(value: Any, schema: Mapping[str, Any]) -> Iterator[str]:
    """Yield "PLACE: what is wrong" for everything in ``value`` that ``schema`` does not allow."""
    yield from _check(value, schema, schema.get("$defs", {}), "")


def _check(value: Any, schema: Any, defs: Mapping[str, Any], place: str) -> Iterator[str]:
    if schema is True:
        return
    if schema is False:
        yield f"{place}: does not belong here"
        return
    unknown = set(schema) - _KEYWORDS - _ANNOTATIONS
    assert not unknown, f"schema keyword {unknown} is not implemented"
    if "$ref" in schema:
        yield from _check(value, defs[schema["$ref"].removeprefix("#/$defs/")], defs, place)
    if "anyOf" in schema:
        tries = [list(_check(value, option, defs, place)) for option in schema["anyOf"]]
        if all(tries):
            # The option of the right type says more than "is no null".
            yield min(tries, key=lambda wrong: (": is no " in wrong[0], len(wrong)))[0]
    if "type" in schema and not _is_type(value, schema["type"]):
        yield f"{place or 'the value'}: is no {schema['type']}"
        return
    yield from _check_leaf(value, schema, place or "the value")
    if type(value) is dict:
        yield from _check_object(value, schema, defs, place)
    elif type(value) is list:
        yield from _check_array(value, schema, defs, place)


def _is_type(value: Any, name: str) -> bool:
    return type(value) in _TYPES[name]


def _check_leaf(value: Any, schema: Mapping[str, Any], place: str) -> Iterator[str]:
    if "const" in schema and (value != schema["const"] or type(value) is bool):
        yield f"{place}: must be {schema['const']!a}"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{place}: must be one of {', '.join(map(str, schema['enum']))}"
    if type(value) is str:
        if "pattern" in schema and not re.fullmatch(schema["pattern"], value):
            yield f"{place}: does not have the form {schema['pattern']}"
        if len(value) > schema.get("maxLength", len(value)):
            yield f"{place}: is longer than {schema['maxLength']} characters"
    if type(value) is int:
        if value < schema.get("minimum", value):
            yield f"{place}: is below {schema['minimum']}"
        if value > schema.get("maximum", value):
            yield f"{place}: is above {schema['maximum']}"


def _check_object(
    value: dict[str, Any], schema: Mapping[str, Any], defs: Mapping[str, Any], place: str
) -> Iterator[str]:
    for key in schema.get("required", ()):
        if key not in value:
            yield f"{place or 'the value'}: {key!r} is missing"
    known = schema.get("properties", {})
    for key, item in value.items():
        inner = f"{place}.{key}" if place else key
        if "propertyNames" in schema:
            yield from _check(key, schema["propertyNames"], defs, f"name {key[:60]!a}")
        yield from _check(
            item, known.get(key, schema.get("additionalProperties", True)), defs, inner
        )


def _check_array(
    value: list[Any], schema: Mapping[str, Any], defs: Mapping[str, Any], place: str
) -> Iterator[str]:
    if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
        yield f"{place}: has {len(value)} items"
    first = schema.get("prefixItems", [])
    for number, item in enumerate(value):
        inner = first[number] if number < len(first) else schema.get("items", True)
        yield from _check(item, inner, defs, f"{place}[{number + 1}]")
