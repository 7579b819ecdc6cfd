"""What an actor class is: methods marked `@receives`, found by the class of the message.

The dispatch table is a plain dictionary, compiled once for each actor class from annotations. A
class that plays roles of contracts has such a table for each state (`conversations`).
"""

import types
import typing
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, TypeVar

from blocktree.contract import Place, Role
from blocktree.contract.place import here
from blocktree.keys import Identity
from blocktree.link import Link
from blocktree.names import Address, Path
from blocktree.wire import Record, record

if TYPE_CHECKING:
    from blocktree.actors.runtime import Runtime
    from blocktree.actors.timers import Timer

Result = Record | Awaitable[Record | None] | None
_Method = TypeVar("_Method", bound=Callable[..., Any])
_MARK = "blocktree receives"
_TABLE = "_blocktree_table"
_ROLES = "_blocktree_roles"
_Class = TypeVar("_Class", bound="type[Actor]")


@record(0x0801)
@dataclass(frozen=True, slots=True)
class Done(Record):
    """The answer to an ask whose method returned nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """Where a message came from; the same object for many messages, so known by identity.

    Args:
        sender: the actor that sent it; its process path is proved when `peer` is set.
        peer: who the sending process proved to be, None for this process itself.
        link: the link it came on, None for this process itself. Pass it as `via=` to reach that
            very process again: several may run under one path.
        path: the path it was sent to, None if it was sent to the actor itself.
    """

    sender: Address
    peer: Identity | None = None
    link: Link | None = None
    path: Path | None = None


class Actor:
    """Inherit from it and mark methods with `@receives`.

    A method takes `(self, message: SomeRecord, call: Call)`; the annotation may be a union. A plain
    `def` returns the answer, None, or an awaitable for a later answer, which the mailbox does not
    wait for. An `async def` runs to its end before the next message is taken: it must not ask its
    own actor, nor one that is asking it. A raised `Fault` is the answer; any other exception is a
    crash: the asker gets FAILED, and the runtime restarts the actor.
    """

    runtime: "Runtime"  # both are set by `spawn`
    address: Address
    condition: str = ""  # one line on how it is, for people; set it whenever it changes
    latest: str = ""  # the last thing worth knowing, such as a reading
    raw: typing.ClassVar[bool] = False  # takes `Opaque` messages of whatever class

    def after(self, seconds: float, message: Record) -> "Timer":
        """Have a message to this actor itself come after some time, through its mailbox."""
        return self.runtime.timers(self.address).start(message, seconds)

    def every(self, seconds: float, message: Record) -> "Timer":
        """Have a message to this actor itself come again and again, until it is cancelled."""
        return self.runtime.timers(self.address).start(message, seconds, seconds)

    async def started(self) -> None:
        """Runs before the first message, and again after a restart."""

    async def stopped(self) -> None:
        """Runs after the last message."""

    def gone(self, peer: Identity) -> None:
        """The last link to a process is lost. For who passes messages on; conversations know."""


Method = Callable[[Any, Any, Call], Any]


def receives(method: _Method) -> _Method:
    """Mark a method as the one that takes messages of its annotated class."""
    setattr(method, _MARK, True)
    return method


def plays(*roles: Role) -> Callable[[_Class], _Class]:
    """Say which roles of contracts an actor class plays, above the class.

    Its methods must be what the roles take and answer, which is checked when it is first spawned,
    and by `bt contract check` and `tests`; and what it receives is held to the contracts.
    """
    place = here(str(PurePath(__file__).parent))

    def mark(cls: _Class) -> _Class:
        setattr(cls, _ROLES, (roles, place))
        return cls

    return mark


def played(cls: type[Actor]) -> tuple[tuple[Role, ...], Place]:
    """The roles that a class plays, and where that is said; no roles for most."""
    found = getattr(cls, _ROLES, ((), Place()))
    return typing.cast("tuple[tuple[Role, ...], Place]", found)


def dispatch_table(cls: type[Actor]) -> dict[type, Method]:
    """Message class to method, compiled at the first call for each class.

    Raises:
        TypeError: naming the method whose annotations do not fit, or the class taken twice.
    """
    table = cls.__dict__.get(_TABLE)
    if table is None:
        table = _compile(cls)
        setattr(cls, _TABLE, table)
    return typing.cast("dict[type, Method]", table)


def _compile(cls: type[Actor]) -> dict[type, Method]:
    table: dict[type, Method] = {}
    for name in dir(cls):
        method = getattr(cls, name)
        if not getattr(method, _MARK, False):
            continue
        for message in _messages(method):
            if message in table:
                raise TypeError(f"{cls.__qualname__} receives {message.__name__} twice")
            table[message] = method
    return table


def _messages(method: Callable[..., Any]) -> tuple[type, ...]:
    hints = typing.get_type_hints(method)
    names = method.__code__.co_varnames[: method.__code__.co_argcount]
    if len(names) != 3 or hints.get(names[2]) is not Call:
        raise TypeError(f"{method.__qualname__} must take (self, message: Record, call: Call)")
    hint = hints.get(names[1])
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    choices = typing.get_args(hint) if union else (hint,)
    for choice in choices:
        if not (isinstance(choice, type) and issubclass(choice, Record) and choice is not Record):
            raise TypeError(f"{method.__qualname__} receives {choice}, which is not a record")
    return choices
