"""JSON from another machine or version, checked and made dataclasses."""

from dataclasses import fields, is_dataclass
from typing import Any, get_args, get_origin, get_type_hints


def decode(kind: Any, value: Any, at: str = "verdict") -> Any:
    """Return a JSON value as `kind`: a dataclass, a list, tuple or dict, an optional or a plain type.

    Names that a dataclass does not have are ignored. Raises ValueError that names the place if the value does not fit.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if isinstance(kind, type) and is_dataclass(kind) and isinstance(value, dict):
        hints = get_type_hints(kind)
        for each in fields(kind):  # also one with a default: what was not written was not looked at
            if each.name not in value:
                raise ValueError(f"{at}.{each.name} is missing")
        return kind(
            **{each.name: decode(hints[each.name], value[each.name], f"{at}.{each.name}") for each in fields(kind)}
        )
    if origin in (list, tuple) and isinstance(value, list):
        return origin(decode(arguments[0], item, f"{at}[{number}]") for number, item in enumerate(value))
    if origin is dict and isinstance(value, dict):
        return {name: decode(arguments[1], item, f"{at}[{name!r}]") for name, item in value.items()}
    if type(None) in arguments:
        return None if value is None else decode(arguments[0], value, at)
    if kind is float and type(value) is int:
        return float(value)
    if isinstance(kind, type) and type(value) is kind:
        return value
    raise ValueError(f"{at} is {value!r:.40}, not {getattr(kind, '__name__', kind)}")
