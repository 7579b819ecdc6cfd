"""CBOR that nearly is a record: of each field its type, and now and then something else."""

import dataclasses
import enum
import types
import typing
from typing import Any

import cbor2
from hypothesis import strategies as st

from blocktree.wire import Record

INTEGERS = st.one_of(
    st.integers(0, 300), st.integers(-(1 << 63), (1 << 64) - 1), st.sampled_from([1 << 64, -1])
)
ANYTHING = st.one_of(
    st.none(), st.booleans(), INTEGERS, st.binary(max_size=40), st.text(max_size=9), st.just([])
)
_SCALARS: dict[Any, st.SearchStrategy[Any]] = {
    int: INTEGERS,
    bytes: st.one_of(st.binary(max_size=40), st.sampled_from([bytes(16), bytes(32)])),
    str: st.text(max_size=20),
    bool: st.booleans(),
    float: st.floats(allow_nan=False),
}


def plain_record(cls: type[Record], depth: int = 0) -> st.SearchStrategy[bytes]:
    """Encoded arrays that decode as this class, mostly."""
    return _array(cls, depth).map(lambda plain: cbor2.dumps(plain, canonical=True))


def _array(cls: type, depth: int) -> st.SearchStrategy[list[Any]]:
    hints = typing.get_type_hints(cls)
    names = [f.name for f in dataclasses.fields(cls) if not f.metadata]
    code = st.just(cls.record_code)  # type: ignore[attr-defined]
    return st.tuples(code, *[_usually(_plain(hints[name], depth)) for name in names]).map(list)


def _usually(good: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.integers(0, 19).flatmap(lambda dice: ANYTHING if dice == 0 else good)


def _plain(hint: Any, depth: int) -> st.SearchStrategy[Any]:
    while hasattr(hint, "__supertype__"):
        hint = hint.__supertype__
    if hint in _SCALARS:
        return _SCALARS[hint]
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        choices = [each for each in arguments if each is not types.NoneType]
        options = [_plain(each, depth) for each in choices]
        return st.one_of(*options, *([st.none()] if len(choices) < len(arguments) else []))
    if typing.get_origin(hint) is tuple:
        if arguments[-1:] == (Ellipsis,):
            return st.lists(_plain(arguments[0], depth), max_size=2)
        return st.tuples(*[_plain(each, depth) for each in arguments]).map(list)
    if isinstance(hint, type) and issubclass(hint, enum.IntEnum):
        return st.sampled_from([int(each) for each in hint])
    if dataclasses.is_dataclass(hint) and depth < 3 and hasattr(hint, "record_code"):
        return _array(typing.cast("type", hint), depth + 1)
    return ANYTHING
