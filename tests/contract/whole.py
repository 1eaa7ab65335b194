"""A message of any type of the contract with every field filled, optional ones and elements of lists too."""

from __future__ import annotations

from typing import Any

from msgspec import inspect

_PLAIN: Any = {
    inspect.IntType: 1,
    inspect.FloatType: 0.5,
    inspect.BoolType: True,
    inspect.DateTimeType: "2030-05-06T12:00:00Z",
    inspect.NoneType: None,
    inspect.AnyType: {"any": ["thing"]},
}


def whole(kind: type) -> dict[str, Any]:
    """As plain dictionaries and lists. Raises TypeError for a kind of field this does not know yet."""
    built: dict[str, Any] = _of(inspect.type_info(kind))
    return built


def _of(info: inspect.Type) -> Any:
    if isinstance(info, inspect.StrType):
        return "m1" if info.pattern is None else "0" * 64  # the one pattern of the contract is a SHA-256
    if type(info) in _PLAIN:
        return _PLAIN[type(info)]
    if isinstance(info, inspect.StructType):
        tag = {} if info.tag_field is None else {info.tag_field: info.tag}
        return tag | {field.encode_name: _of(field.type) for field in info.fields}
    if isinstance(info, inspect.EnumType):
        return next(iter(info.cls)).value
    if isinstance(info, inspect.LiteralType):
        return info.values[0]
    if isinstance(info, inspect.UnionType):
        return _of(next(one for one in info.types if not isinstance(one, inspect.NoneType)))
    if isinstance(info, inspect.TupleType):
        return [_of(one) for one in info.item_types]
    if isinstance(info, inspect.CollectionType):
        return [_of(info.item_type)]
    if isinstance(info, inspect.DictType):
        return {_of(info.key_type): _of(info.value_type)}
    raise TypeError(f"no example of {info}")
