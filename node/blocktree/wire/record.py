"""Records: frozen dataclasses as canonical CBOR arrays `[code, field, field, …]`.

`@record(code)` compiles a writer and a reader from the annotations once, so a record costs a few
concatenations on the way out, and one library call and a type check a field on the way in. What
decodes is exactly what would have been encoded: `decode` writes it again and compares, which
refuses tags, indefinite lengths, over-long integers and trailing bytes at once. Writing is half of
the cost, so it is left out (`exact=False`) where nobody signed or hashed the record's own bytes.

A class may declare one `Body` field (`body_field()`): it travels raw beside the record in its frame
and never passes through CBOR.
"""

import dataclasses
import enum
import types
import typing
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

import cbor2

from blocktree.fault import Fault, Kind
from blocktree.wire import cbor
from blocktree.wire.cbor import Body, Write
from blocktree.wire.fields import BYTES_FIELD, INT_FIELD, SCALARS, Field, Read, read_enum, sequence
from blocktree.wire.making import maker

_BODY = "blocktree body"
_DEPTH_MAX = 32
_READ_ERRORS = (cbor2.CBORError, TypeError, ValueError, RecursionError, OverflowError)
_T = TypeVar("_T")
_R = TypeVar("_R", bound="Record")


class Record:
    """What every record class inherits: `@record(code) @dataclass(frozen=True, slots=True)`."""

    __slots__ = ()
    record_code: ClassVar[int]


@dataclasses.dataclass(frozen=True, slots=True)
class _Codec:
    cls: type
    write: Write
    read: Callable[[list[Any]], Any]
    body: str | None
    attach: Callable[[Any, Body], Any] | None = None  # the same record with this body


_codecs: dict[int, _Codec] = {}


@dataclasses.dataclass(frozen=True, slots=True)
class Opaque(Record):
    """A record that is passed on without being read: its bytes, of whatever class they are."""

    record_code: ClassVar[int] = 0
    data: bytes


def _never(_plain: list[Any]) -> Any:
    raise Fault(Kind.MALFORMED, "no record has the number 0")


_codecs[Opaque.record_code] = _Codec(Opaque, lambda value: value.data, _never, None)


def body_field() -> Any:
    """Declare the field that travels raw in the frame's body; it must be the last field."""
    return dataclasses.field(default=b"", metadata={_BODY: True})


def record(code: int) -> Callable[[type[_R]], type[_R]]:
    """Give a frozen dataclass its number on the wire and compile its codec."""

    def register(cls: type[_R]) -> type[_R]:
        assert hasattr(cls, "__dataclass_fields__"), f"{cls.__name__} is not a dataclass"
        known = _codecs.get(code)
        assert known is None or known.cls.__qualname__ == cls.__qualname__, f"{code:#x} is taken"
        cls.record_code = code
        _codecs[code] = _compile(cls, code)
        return cls

    return register


def encode(value: Record) -> bytes:
    """The canonical bytes of a record, without its body."""
    return _codecs[value.record_code].write(value)


def decode(data: Body, expected: type[_T], *, exact: bool = True) -> _T:
    """Read one record of class `expected` (or of any class, for `Record`).

    Args:
        data: the bytes of the record, and nothing behind them.
        expected: the class.
        exact: whether other encodings than the canonical one are refused.

    Raises:
        Fault: MALFORMED if the bytes are not the encoding of such a record.
    """
    try:
        plain = _load(data)
        value = _open_record(plain)
        canonical = not exact or _close_record(value) == data or cbor2.dumps(plain) == data
    except _READ_ERRORS as cause:
        raise _unreadable(cause) from cause
    if not canonical:
        raise Fault(Kind.MALFORMED, "not a record: its encoding is not canonical")
    if not isinstance(value, expected):
        raise Fault(
            Kind.MALFORMED, f"expected {expected.__name__}, received {type(value).__name__}"
        )
    return value


def decode_any(data: Body) -> Record:
    """Read one record of any class, in any encoding: as `decode(data, Record, exact=False)`.

    Raises:
        Fault: MALFORMED.
    """
    try:
        return typing.cast("Record", _open_record(_load(data)))
    except _READ_ERRORS as cause:
        raise _unreadable(cause) from cause


def decode_each(data: Body, *, raw: bool = False) -> list[Record | Fault]:
    """Read an array of records of any classes; one that cannot be read is a fault in its place.

    Args:
        data: a CBOR array of records, and nothing behind it.
        raw: whether they are passed on without being read, each as `Opaque`.

    Raises:
        Fault: MALFORMED if there is no array.
    """
    try:
        items = _load(data)
    except _READ_ERRORS as cause:
        raise _unreadable(cause) from cause
    if type(items) is not list:
        raise Fault(Kind.MALFORMED, "not an array of records")
    records: list[Record | Fault] = []
    for item in items:
        try:
            records.append(Opaque(cbor2.dumps(item)) if raw else _open_record(item))
        except Fault as fault:
            records.append(fault)
        except _READ_ERRORS as cause:
            records.append(_unreadable(cause))
    return records


def _load(data: Body) -> Any:
    return cbor2.loads(data, max_depth=_DEPTH_MAX, allow_indefinite=False)


def _unreadable(cause: BaseException) -> Fault:
    return Fault(Kind.MALFORMED, f"not a record: {cause}")


def body_of(value: Record) -> Body:
    """The raw body of a record, empty when its class declares none."""
    name = _codecs[value.record_code].body
    return b"" if name is None else getattr(value, name)


def carries_body(value: Record | type[Record]) -> bool:
    """Whether this record class, or that of this record, declares a body."""
    return _codecs[value.record_code].body is not None


def with_body(value: _R, body: Body) -> _R:
    """The same record carrying `body`.

    Raises:
        Fault: MALFORMED if there is a body but the class declares none.
    """
    attach = _codecs[value.record_code].attach
    if attach is None:
        if len(body):
            raise Fault(Kind.MALFORMED, f"{type(value).__name__} does not carry a body")
        return value
    return typing.cast(_R, attach(value, body))


def _compile(cls: type, code: int) -> _Codec:
    hints = typing.get_type_hints(cls)
    plain = [f for f in dataclasses.fields(cls) if not f.metadata.get(_BODY)]
    bodies = [f.name for f in dataclasses.fields(cls) if f.metadata.get(_BODY)]
    assert len(bodies) <= 1, f"{cls.__name__} has two bodies"
    names = [f.name for f in plain]
    fields = [_field(hints[name]) for name in names]
    needed = sum(f.default is f.default_factory is dataclasses.MISSING for f in plain)
    make: Callable[..., Any] = maker(cls)
    return _Codec(
        cls,
        _compile_writer(code, names, fields),
        _compile_reader(cls, make, needed, fields),
        bodies[0] if bodies else None,
        _compile_attach(make, names) if bodies else None,
    )


def _compile_attach(make: Callable[..., Any], names: list[str]) -> Callable[[Any, Body], Any]:
    """The body is the last field, so a record with one is made by position."""
    source = f"lambda v, body: make({', '.join([f'v.{name}' for name in names])}, body)"
    return typing.cast("Callable[[Any, Body], Any]", eval(source, {"make": make}))  # noqa: S307


def _compile_writer(code: int, names: list[str], fields: list[Field]) -> Write:
    """One expression per class, without a loop at run time; byte strings are copied once."""
    scope: dict[str, Any] = {f"w{i}": field.write for i, field in enumerate(fields)}
    scope |= {
        "head": cbor.head,
        "short": cbor.SHORT,
        "small": cbor.SMALL,
        "first": cbor.array_head(len(names) + 1) + cbor.write_int(code),
    }
    parts = [
        _written(name, i, field) for i, (name, field) in enumerate(zip(names, fields, strict=True))
    ]
    source = f"lambda v: b''.join(({', '.join(['first', *parts])},))"
    return typing.cast(Write, eval(source, scope))  # noqa: S307 - our own field names only


def _written(name: str, number: int, field: Field) -> str:
    """The expression that writes one field; what is small is looked up instead of worked out."""
    if field is BYTES_FIELD:
        return f"short[n] if (n := len(v.{name})) < 256 else head(0x40, n), v.{name}"
    if field is INT_FIELD:
        return f"small[n] if 0 <= (n := v.{name}) < 256 else w{number}(n)"
    return f"w{number}(v.{name})"


def _compile_reader(
    cls: type, make: Callable[..., Any], needed: int, fields: list[Field]
) -> Callable[[list[Any]], Any]:
    """A quick way, written out, for what is in order; else the way that says what is wrong."""
    careful = _careful_reader(cls, needed, fields)
    items = [f"a{i}" for i in range(len(fields))]
    checks = [f.quick.format(item) for f, item in zip(fields, items, strict=True) if f.quick]
    values = [
        item if field.quick else f"r{i}({item})"
        for i, (item, field) in enumerate(zip(items, fields, strict=True))
    ]
    if len(fields) < len(dataclasses.fields(cls)):
        values.append("b''")  # the body, which comes beside the record
    source = f"""
def read(plain):
    if len(plain) == {len(fields) + 1}:
        {", ".join(["_", *items])}, = plain
        if {" and ".join(checks) or "True"}:
            try:
                return make({", ".join(values)})
            except Fault as fault:
                raise fault.at(cls.__name__) from None
    return careful(plain)
"""
    scope: dict[str, Any] = {f"r{i}": field.read for i, field in enumerate(fields)}
    scope |= {"cls": cls, "make": make, "careful": careful, "Fault": Fault}
    exec(source, scope)  # noqa: S102 - numbers and our own words only
    return typing.cast("Callable[[list[Any]], Any]", scope["read"])


def _careful_reader(cls: type, needed: int, fields: list[Field]) -> Callable[[list[Any]], Any]:
    most = len(fields)

    def read(plain: list[Any]) -> Any:
        count = len(plain) - 1
        if not needed <= count <= most:
            raise Fault(Kind.MALFORMED, f"{cls.__name__} with {count} fields")
        try:
            return cls(*[f.read(item) for f, item in zip(fields, plain[1:], strict=False)])
        except Fault as fault:
            raise fault.at(cls.__name__) from None

    return read


def _open_record(plain: Any) -> Any:
    if type(plain) is not list or not plain or type(plain[0]) is not int:
        raise Fault(Kind.MALFORMED, "not a record: no code")
    codec = _codecs.get(plain[0])
    if codec is None:
        raise Fault(Kind.MALFORMED, f"no record has the code {plain[0]:#x}")
    return codec.read(plain)


def _close_record(value: Record) -> bytes:
    return _codecs[value.record_code].write(value)


def _field(hint: Any) -> Field:
    while hasattr(hint, "__supertype__"):
        hint = hint.__supertype__
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return _union(typing.get_args(hint))
    if origin is tuple:
        return _tuple(typing.get_args(hint))
    if hint in SCALARS:
        return SCALARS[hint]
    if hint is Record:
        return Field(_close_record, _open_record)
    if isinstance(hint, type) and issubclass(hint, enum.IntEnum):
        return Field(cbor.write_int, read_enum(hint))
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return Field(_close_record, _read_nested((hint,)))
    raise TypeError(f"a record cannot hold {hint}")


def _read_nested(kinds: tuple[type, ...]) -> Read:
    read_it = {code: codec.read for code, codec in _codecs.items() if codec.cls in kinds}

    def read(item: Any) -> Any:
        if type(item) is list and item and type(item[0]) is int and item[0] in read_it:
            return read_it[item[0]](item)
        value = _open_record(item)
        raise Fault(Kind.MALFORMED, f"{type(value).__name__} does not belong here")

    return read


def _union(choices: tuple[Any, ...]) -> Field:
    """`X | None`, or a union of records told apart by their codes."""
    real = tuple(choice for choice in choices if choice is not types.NoneType)
    if len(real) > 1:
        assert all(dataclasses.is_dataclass(choice) for choice in real), choices
        field = Field(_close_record, _read_nested(real))
    else:
        field = _field(real[0])
    if len(real) == len(choices):
        return field
    read = field.read
    return Field(
        cbor.write_optional(field.write), lambda item: None if item is None else read(item)
    )


def _tuple(items: tuple[Any, ...]) -> Field:
    if len(items) == 2 and items[1] is Ellipsis:
        return sequence(_field(items[0]))
    fields = [_field(item) for item in items]

    def read(item: Any) -> Any:
        if type(item) is not list or len(item) != len(fields):
            raise Fault(Kind.MALFORMED, f"expected {len(fields)} items")
        return tuple(field.read(part) for field, part in zip(fields, item, strict=True))

    return Field(cbor.write_fixed([field.write for field in fields]), read)
