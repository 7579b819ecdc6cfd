"""Conversations: with each partner, where it stands, as the table of what may come next.

For a class that plays roles, `tables_of` compiles each node of its machine to a dictionary: class
of message to method and following table. A receive is then the look-up it would be anyway, in the
table of the conversation. Roles in which nothing ever changes have one table for everybody.
"""

import asyncio
import inspect
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from blocktree.actors.actor import Actor, Call, Method, dispatch_table, played
from blocktree.contract import Node, Turn, fit, raise_first
from blocktree.contract.fit import answer_hint
from blocktree.contract.join import joined
from blocktree.fault import Fault, Kind
from blocktree.link import Link
from blocktree.names import Address, Path
from blocktree.wire import Record

TALKS_MAX = 4096  # conversations of one actor that are under way
OF_ONE_PROCESS_MAX = 256  # of them, with actors of one other process
_TABLES = "_blocktree_tables"


class Table(dict[type, "tuple[Method, Table]"]):
    """What may come at one point of a conversation: the method, and the table that follows.

    `plain` holds the part whose methods are no coroutines. `node` is the point of the contract,
    None for a class without one.
    """

    __slots__ = ("lost", "node", "plain", "sends", "why")

    def __init__(self, node: Node | None = None) -> None:
        self.node = node
        self.plain: dict[type, tuple[Method, Table]] = {}
        self.sends: dict[type, Following] = {}
        self.lost: Table | None = None
        self.why = ""  # nothing more is taken and nobody is to blame: the reason is known


@dataclass(frozen=True, slots=True)
class Following:
    """The tables that can follow a message, by the class of the answer (None: told, or done)."""

    tables: dict[Any, Table]
    refused: Table

    def after(self, answer: Record | None) -> Table:
        """The table after this answer; an answer that the contract does not know moves nothing."""
        kind = None if answer is None or None in self.tables else type(answer)
        return self.tables.get(kind, self.refused)


@dataclass(frozen=True, slots=True)
class Fork:
    """Said by a compiled method instead of its answer: which table follows depends on that."""

    result: Any
    following: Following
    fault: Fault | None = None


@dataclass(frozen=True, slots=True)
class Tables:
    """The compiled tables of a class: where a conversation starts, and whether it can move."""

    start: Table
    moves: bool
    sends: frozenset[type]


class Talk:
    """One conversation. `table` says what may come; after the loss of an answer it is `anew`."""

    __slots__ = ("anew", "table")

    def __init__(self, table: Table, anew: Table | None = None) -> None:
        self.table = table
        self.anew = table if anew is None else anew

    def undo(self, table: Table | None, after: Table | None) -> None:
        """Go to `table`, if the conversation is still where `after` was."""
        if table is not None and self.table is after:
            self.table = table

    def sent(self, message: Record, answer: Record | None = None) -> None:
        """The actor said something that was taken, or answered with `answer`."""
        following = self.table.sends.get(type(message))
        if following is not None:
            self.table = following.after(answer)

    def unsent(self, message: Record, fault: Fault) -> None:
        """The actor asked something that was refused, or of which nobody knows what became."""
        following = self.table.sends.get(type(message))
        if fault.kind is Kind.UNREACHABLE:
            self.table = self.anew
        elif following is not None:
            self.table = following.refused


class Talks:
    """The conversations of one actor, by who is on the other side."""

    def __init__(self, start: Table, before: "Talks | None" = None) -> None:
        self._start = start
        self._anew = _anew(start)
        self._talks: dict[tuple[Address, bytes], Talk] = {}
        self._count: Counter[bytes] = Counter()  # of each other process
        if before is not None:  # a fresh actor: who goes on where it was is told to begin anew
            self._talks = {key: Talk(self._anew, self._anew) for key in before.under_way()}
            self._count = Counter(process for _, process in self._talks)

    def under_way(self) -> list[tuple[Address, bytes]]:
        """With whom there are conversations that have begun."""
        return [key for key, talk in self._talks.items() if talk.table is not self._start]

    def find(self, sender: Address, process: bytes) -> Talk:
        """The conversation with an actor, a new one if there is none.

        Raises:
            Fault: BUSY if too many others are under way.
        """
        key = (sender, process)
        talk = self._talks.get(key)
        if talk is None:
            of_one = self._count[process]
            if len(self._talks) >= TALKS_MAX or (process and of_one >= OF_ONE_PROCESS_MAX):
                raise Fault(Kind.BUSY, "too many conversations are under way")
            talk = self._talks[key] = Talk(self._start, self._anew)
            self._count[process] = of_one + 1
        return talk

    def crowded(self) -> bool:
        """Forget conversations that have not begun, if there are too many; whether it did so."""
        if len(self._talks) < TALKS_MAX:
            return False
        start = self._start
        self._talks = {key: t for key, t in self._talks.items() if t.table is not start}
        self._count = Counter(process for _, process in self._talks)
        return True

    def lost(self, *, process: bytes = b"", actor: Address | None = None) -> bool:
        """A process, or an actor of this one, is gone: its conversations end or go on as declared.

        Returns:
            Whether there were any.
        """
        keys = [k for k in self._talks if (k[1] == process if actor is None else k[0] == actor)]
        for key in keys:
            table = self._talks[key].table.lost
            if table is None:
                del self._talks[key]
                self._count[key[1]] -= 1
            else:
                self._talks[key].table = table
        if not self._count[process]:
            del self._count[process]
        return bool(keys)

    def left(self, process: Path) -> None:
        """A process of that path is gone; of several, nobody is blamed who goes on."""
        for key, talk in self._talks.items():
            if key[0].process == process and talk.table is not self._start:
                talk.table = self._anew if talk.table.lost is None else talk.table.lost


def process_of(link: Link | None) -> bytes:
    """Which process is at the other end, this run of it; b"" is this process itself."""
    return b"" if link is None else link.peer.principal + link.instance


def tables_of(cls: type[Actor]) -> Tables:
    """The tables of a class, compiled at the first call.

    Raises:
        TypeError: as `dispatch_table`.
        Fault: CONTRACT if the class does not fit its roles.
    """
    tables = cls.__dict__.get(_TABLES)
    if not isinstance(tables, Tables):
        tables = _compile(cls)
        setattr(cls, _TABLES, tables)
    return tables


def stopped(table: Table, why: str) -> Table:
    """The end of a conversation that broke its contract: nothing is taken any more."""
    end = Table(table.node)
    end.lost, end.why = table.lost, why
    return end


def broken(node: Node, message: str) -> str:
    """The sentence for a message that may not come at a node."""
    wanted = " or ".join(node.expected) or "nothing"
    return f"{message} may not come in state {node.name}, which expects {wanted}"


def _anew(start: Table) -> Table:
    """As `start`, but who says something else is not to blame."""
    table = Table(start.node)
    table.update(start)
    table.plain.update(start.plain)
    table.sends, table.why = start.sends, "it has forgotten this conversation: begin it anew"
    return table


def _compile(cls: type[Actor]) -> Tables:
    methods = dispatch_table(cls)
    roles, place = played(cls)
    if not roles:
        table = Table()
        for message, method in methods.items():
            _enter(table, message, method, table)
        return Tables(table, moves=False, sends=frozenset())
    raise_first(fit(cls, roles, methods, place))
    nodes = _Nodes(methods, joined(roles))
    moves = len(nodes.tables) > 1
    return Tables(nodes.start, moves, frozenset(m for n in nodes.nodes() for m in n.sends))


class _Nodes:
    """Compiles the nodes of a machine to tables."""

    def __init__(self, methods: dict[type, Method], start: Node) -> None:
        self._methods = methods
        self.tables: dict[int, Table] = {}
        self._nodes: list[Node] = []
        self.start = self.tables[id(start)] = Table(start)
        self._nodes.append(start)
        while self._nodes:
            self._fill(self._nodes.pop())

    def nodes(self) -> Iterator[Node]:
        """All of them."""
        return (table.node for table in self.tables.values() if table.node is not None)

    def _table(self, node: Node) -> Table:
        if node.over:
            return self.start
        table = self.tables.get(id(node))
        if table is None:
            table = self.tables[id(node)] = Table(node)
            self._nodes.append(node)
        return table

    def _fill(self, node: Node) -> None:
        table = self.tables[id(node)]
        table.lost = None if node.lost is None else self._table(node.lost)
        table.sends = {message: self._following(turn) for message, turn in node.sends.items()}
        for message, turn in node.takes.items():
            method = self._methods[message]
            following = self._following(turn)
            only = turn.only
            after = None if only is None else self._table(only)
            quick = after is not None and following.refused is table
            if quick and (after is table or not _answers_later(method)):
                assert after is not None
                _enter(table, message, method, after)
            else:
                _enter(table, message, _forking(method, following), Table(node))

    def _following(self, turn: Turn) -> Following:
        after = {answer: self._table(node) for answer, node in turn.after.items()}
        return Following(after, self._table(turn.refused))


def _enter(table: Table, message: type, method: Method, after: Table) -> None:
    table[message] = (method, after)
    if not inspect.iscoroutinefunction(method):
        table.plain[message] = (method, after)


def _answers_later(method: Method) -> bool:
    """Whether it may be still at work when it has returned."""
    answers, later = answer_hint(method)
    sure = all(a is None or (isinstance(a, type) and issubclass(a, Record)) for a in answers)
    return not inspect.iscoroutinefunction(method) and (later or not sure)


def _forking(method: Method, following: Following) -> Method:
    def fork(actor: Any, message: Any, call: Call) -> Fork:
        try:
            return Fork(method(actor, message, call), following)
        except Fault as fault:
            return Fork(None, following, fault)

    return fork


def move(
    talk: Talk, pending: Table, following: Following, later: "asyncio.Future[Record | None]"
) -> None:
    """A promised answer decides what follows, unless the conversation has ended meanwhile."""
    if talk.table is pending:
        good = not later.cancelled() and later.exception() is None
        talk.table = following.after(later.result()) if good else following.refused
