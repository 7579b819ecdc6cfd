"""Messages for people: from names and fields to the bytes of a record, and back, by a description.

Nothing here knows the classes: an actor says what it takes (`actors.description`), and that is what
a person or a script can write.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cbor2

from blocktree.actors import Done
from blocktree.actors.description import Description, Field, Shape
from blocktree.fault import Fault, Kind
from blocktree.wire import Opaque


@dataclass(frozen=True, slots=True)
class Said:
    """A message or an answer as a person reads it."""

    name: str
    fields: Mapping[str, Any]

    def __str__(self) -> str:
        """One line: `Total total=10 additions=5`."""
        return " ".join([self.name, *(f"{name}={_text(v)}" for name, v in self.fields.items())])


def shape_of(description: Description, name: str) -> Shape:
    """The message of that name that an actor takes.

    Raises:
        Fault: USAGE, naming those that it takes.
    """
    taken = [shape for shape in description.shapes if shape.taken]
    for shape in taken:
        if shape.name == name:
            return shape
    known = ", ".join(shape.name for shape in taken) or "nothing"
    raise Fault(Kind.USAGE, f"{description.actor} takes no {name}", next_step=f"it takes: {known}")


def write_message(description: Description, name: str, given: Mapping[str, str]) -> Opaque:
    """The message called `name` with the fields that were given as text.

    Raises:
        Fault: USAGE for a message, field or value that does not fit.
    """
    shape = shape_of(description, name)
    known = [field.name for field in shape.fields]
    for unknown in sorted(set(given) - set(known)):
        what = f"{name} has no field {unknown}"
        raise Fault(Kind.USAGE, what, next_step=f"it has: {', '.join(known) or 'none'}")
    values: list[Any] = [shape.code]
    for number, field in enumerate(shape.fields):
        if field.name in given:
            values.append(_value(field, given[field.name]))
        elif field.required:
            what = f"{name} needs {field.name}=…"
            raise Fault(Kind.USAGE, what, next_step=f"of kind {field.kind}")
        elif field.default:
            values.append(cbor2.loads(field.default))
        elif any(later.name in given for later in shape.fields[number:]):
            raise Fault(Kind.USAGE, f"{name} needs {field.name}=… for what comes behind it")
        else:
            break
    return Opaque(cbor2.dumps(values))


def read_answer(description: Description, data: bytes) -> Said:
    """What an actor answered.

    Raises:
        Fault: MALFORMED if that is no record.
    """
    try:
        plain = cbor2.loads(data)
    except (cbor2.CBORError, ValueError) as cause:
        raise Fault(Kind.MALFORMED, f"an answer that is no record: {cause}") from None
    if not isinstance(plain, list) or not plain or not isinstance(plain[0], int):
        raise Fault(Kind.MALFORMED, "an answer that is no record")
    code, values = plain[0], plain[1:]
    if code == Done.record_code:
        return Said("done", {})
    for shape in description.shapes:
        if shape.code == code:
            names = [field.name for field in shape.fields]
            return Said(shape.name, dict(zip(names, values, strict=False)))
    return Said(f"record {code:#06x}", {str(n): value for n, value in enumerate(values)})


def parse_fields(words: tuple[str, ...]) -> dict[str, str]:
    """`name=value` words.

    Raises:
        Fault: USAGE for a word without `=`.
    """
    given = {}
    for word in words:
        name, mark, value = word.partition("=")
        if not mark or not name:
            raise Fault(Kind.USAGE, f"{word!r} is not FIELD=VALUE")
        given[name] = value
    return given


def plain_json(value: Any) -> Any:
    """A value of CBOR as JSON can hold it: bytes in hexadecimal."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list | tuple):
        return [plain_json(each) for each in value]
    if isinstance(value, dict):
        return {str(key): plain_json(each) for key, each in value.items()}
    return value if isinstance(value, bool | int | float | str | None) else str(value)


def _value(field: Field, text: str) -> Any:
    try:
        match field.kind:
            case "int":
                return int(text, 0)
            case "float":
                return float(text)
            case "bool":
                return {"true": True, "yes": True, "1": True, "false": False, "no": False}[text]
            case "bytes":
                return bytes.fromhex(text.removeprefix("0x"))
            case "text":
                return text
            case _:
                return json.loads(text)
    except (ValueError, KeyError):
        what = f"{field.name}={text} is no {field.kind}"
        raise Fault(Kind.USAGE, what, next_step="JSON" if field.kind == "other" else "") from None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(plain_json(value))
