"""A role as a table of at most 2 KiB, for devices: what may come, what may be said, what follows.

The bytes are those of `SPEC.md` ("The device table"). `Walk` is the same monitor that a device
runs, over the same bytes; `tests/vectors/contract` hold both to one behaviour.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from blocktree.contract.branch import Message, Verb
from blocktree.contract.contract import Role
from blocktree.contract.machine import Node, Turn, machine
from blocktree.contract.walk import reached
from blocktree.contract.written import contract_hash
from blocktree.fault import Fault, Kind

MAGIC = b"BTC1"
TABLE_BYTES_MAX = 2048
_COUNT_MAX = 254
_NONE = 255
KINDS = (Verb.HEARS, Verb.ANSWERS, Verb.TELLS, Verb.ASKS)


@dataclass(frozen=True, slots=True)
class Edge:
    """One message at one node. `after`: pairs of answer (an index, 255: none) and node."""

    message: int
    kind: Verb
    refused: int
    after: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Point:
    """One node of a table. `lost` is the node after the loss of the partner, 255: begin anew."""

    name: str
    lost: int
    edges: tuple[Edge, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A device table that was read."""

    role: str
    mark: bytes  # the first eight bytes of the contract's hash
    messages: tuple[tuple[int, str], ...]  # code and name
    points: tuple[Point, ...]


def encode_table(role: Role) -> bytes:
    """The table of a role, as one partner sees it; its contract must have passed `check`.

    Raises:
        Fault: TOO_LARGE if it does not fit.
    """
    assert role.contract is not None
    nodes = reached(machine(role.contract, role))
    messages = sorted({m for node in nodes for m in _named(node)}, key=lambda m: m.record_code)
    number = {message: index for index, message in enumerate(messages)}
    place = {id(node): index for index, node in enumerate(nodes)}
    if len(nodes) > _COUNT_MAX or len(messages) > _COUNT_MAX:
        raise _too_large(role, f"{len(nodes)} states and {len(messages)} messages")
    parts = [MAGIC, bytes((len(messages), len(nodes))), contract_hash(role.contract)[:8]]
    parts.append(_text(str(role)))
    for message in messages:
        if message.record_code > 0xFFFF:
            raise _too_large(role, f"the code {message.record_code:#x} of {message.__name__}")
        parts += [message.record_code.to_bytes(2), _text(message.__name__)]
    for node in nodes:
        edges = [_edge(m, kind, turn, number, place) for m, kind, turn in _edges(node)]
        lost = _NONE if node.lost is None else _at(node.lost, place)
        parts += [_text(node.name), bytes((lost, len(edges))), *sorted(edges)]
    table = b"".join(parts)
    if len(table) > TABLE_BYTES_MAX:
        raise _too_large(role, f"{len(table)} bytes")
    return table


def read_table(data: bytes) -> Table:
    """Read a device table.

    Raises:
        Fault: MALFORMED, TOO_LARGE.
    """
    if len(data) > TABLE_BYTES_MAX:
        raise Fault(Kind.TOO_LARGE, f"a table has at most {TABLE_BYTES_MAX} bytes")
    reader = _Reader(data)
    if reader.take(4) != MAGIC:
        raise Fault(Kind.MALFORMED, "not a device table")
    count, points = reader.byte(), reader.byte()
    mark, role = reader.take(8), reader.text()
    messages = tuple((int.from_bytes(reader.take(2)), reader.text()) for _ in range(count))
    read = tuple(_read_point(reader, count, points) for _ in range(points))
    if reader.left or not read:
        raise Fault(Kind.MALFORMED, "a table with too many bytes, or without states")
    return Table(role, mark, messages, read)


class Walk:
    """One conversation, held to a table by the names of messages."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._names = [name for _, name in table.messages]
        self._pending: Edge | None = None
        self.at = 0

    @property
    def point(self) -> Point:
        """Where the conversation is."""
        return self._table.points[self.at]

    def expected(self) -> list[str]:
        """The names of what may come."""
        if self._pending is not None:
            return []
        takes = [e for e in self.point.edges if e.kind in (Verb.HEARS, Verb.ANSWERS)]
        return sorted(self._names[edge.message] for edge in takes)

    def take(self, name: str) -> None:
        """A message came.

        Raises:
            Fault: CONTRACT if it may not; nothing has changed then.
        """
        self._step(name, (Verb.HEARS, Verb.ANSWERS), "come")

    def say(self, name: str) -> None:
        """A message is to be said.

        Raises:
            Fault: CONTRACT if it may not.
        """
        self._step(name, (Verb.TELLS, Verb.ASKS), "be said")

    def answer(self, name: str | None = None) -> None:
        """The question that was taken or said is answered; None: it was done.

        Raises:
            Fault: CONTRACT for another answer, or without a question.
        """
        edge = self._question()
        for answer, then in edge.after:
            if name == (None if answer == _NONE else self._names[answer]):
                self.at, self._pending = then, None
                return
        raise Fault(Kind.CONTRACT, f"{name or 'nothing'} is no answer here")

    def refuse(self) -> None:
        """The question is refused.

        Raises:
            Fault: CONTRACT without a question.
        """
        self.at, self._pending = self._question().refused, None

    def lose(self) -> None:
        """The partner is gone."""
        lost = self.point.lost
        self.at, self._pending = 0 if lost == _NONE else lost, None

    def _question(self) -> Edge:
        if self._pending is None:
            raise Fault(Kind.CONTRACT, "an answer without a question")
        return self._pending

    def _step(self, name: str, kinds: tuple[Verb, Verb], how: str) -> None:
        edges = () if self._pending is not None else self.point.edges
        for edge in edges:
            if edge.kind in kinds and self._names[edge.message] == name:
                if edge.kind in (Verb.HEARS, Verb.TELLS):
                    self.at = edge.after[0][1]
                else:
                    self._pending = edge
                return
        wanted = " or ".join(self.expected()) or "nothing"
        what = f"{name} may not {how} in state {self.point.name}, which expects {wanted}"
        raise Fault(Kind.CONTRACT, what)


def _edges(node: Node) -> Iterator[tuple[Message, Verb, Turn]]:
    for turns in (node.takes, node.sends):
        for message in sorted(turns, key=lambda each: each.record_code):
            yield message, turns[message].branches[0].verb, turns[message]


def _named(node: Node) -> Iterator[Message]:
    for message, _, turn in _edges(node):
        yield message
        yield from (answer for answer in turn.after if answer is not None)


def _edge(
    message: Message, kind: Verb, turn: Turn, number: dict[Message, int], place: dict[int, int]
) -> bytes:
    after = sorted(
        (_NONE if answer is None else number[answer], _at(node, place))
        for answer, node in turn.after.items()
    )
    head = (number[message], KINDS.index(kind), _at(turn.refused, place), len(after))
    return bytes((*head, *(part for pair in after for part in pair)))


def _at(node: Node, place: dict[int, int]) -> int:
    return place.get(id(node), 0)


def _text(text: str) -> bytes:
    data = text.encode()
    if len(data) > _COUNT_MAX:
        raise Fault(Kind.TOO_LARGE, f"a name of {len(data)} bytes")
    return bytes((len(data),)) + data


def _too_large(role: Role, what: str) -> Fault:
    return Fault(
        Kind.TOO_LARGE,
        f"{what} do not fit a device table of {TABLE_BYTES_MAX} bytes",
        path=str(role),
        next_step="split the contract, or shorten the names of its states and messages",
    )


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def take(self, count: int) -> bytes:
        if count > self.left:
            raise Fault(Kind.MALFORMED, "a table that ends too early")
        self._at += count
        return self._data[self._at - count : self._at]

    def byte(self) -> int:
        return self.take(1)[0]

    def text(self) -> str:
        try:
            return self.take(self.byte()).decode()
        except UnicodeDecodeError as cause:
            raise Fault(Kind.MALFORMED, "a name that is not text") from cause


def _read_point(reader: _Reader, messages: int, points: int) -> Point:
    name, lost = reader.text(), reader.byte()
    edges = tuple(_read_edge(reader, messages, points) for _ in range(reader.byte()))
    if lost >= points and lost != _NONE:
        raise Fault(Kind.MALFORMED, "a table that leads nowhere")
    return Point(name, lost, edges)


def _read_edge(reader: _Reader, messages: int, points: int) -> Edge:
    message, kind, refused, count = reader.take(4)
    after = tuple((reader.byte(), reader.byte()) for _ in range(count))
    good = message < messages and kind < len(KINDS) and refused < points and after
    if not good or any(
        to >= points or (answer >= messages and answer != _NONE) for answer, to in after
    ):
        raise Fault(Kind.MALFORMED, "a table that leads nowhere")
    return Edge(message, KINDS[kind], refused, after)
