"""Makes frozen records by position, four times as fast as their own constructor.

A frozen dataclass sets each field through `object.__setattr__`, which took a fifth of the time of
reading a record. Here an object of a class with the same slots, and no ban, is filled and then
given the record's class: CPython allows that between classes of one layout.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar, cast

_T = TypeVar("_T")


def maker(cls: type[_T]) -> Callable[..., _T]:
    """A function that makes an object of the dataclass `cls` from all its fields, in order.

    It is `cls` itself if the class does more than to keep its fields in slots.
    """
    fields = dataclasses.fields(cast("Any", cls))
    names = tuple(field.name for field in fields)
    plain = all(field.init and not field.kw_only for field in fields)
    if not plain or hasattr(cls, "__post_init__") or cls.__dict__.get("__slots__") != names:
        return cls
    loose = type(cls.__name__, cls.__bases__, {"__slots__": names})
    body = "".join([f"    made.{name} = {name}\n" for name in names])
    source = (
        f"def make({', '.join(names)}):\n"
        f"    made = new(loose)\n{body}    made.__class__ = cls\n    return made\n"
    )
    scope: dict[str, object] = {"new": object.__new__, "loose": loose, "cls": cls}
    exec(source, scope)  # noqa: S102 - field names only
    return cast("Callable[..., _T]", scope["make"])
