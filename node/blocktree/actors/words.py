"""What every actor takes, whatever its class: questions about itself, and words of its own cell."""

from collections.abc import Awaitable
from dataclasses import dataclass

from blocktree.actors.actor import Actor, Call, Method
from blocktree.actors.conversations import Fork
from blocktree.actors.description import (
    Contracts,
    Describe,
    Description,
    GetContracts,
    contracts_of,
    describe,
)
from blocktree.actors.watches import Watch
from blocktree.wire import Record


@dataclass(frozen=True, slots=True)
class Broken(Record):
    """Said by `take` to the worker: this came of a message, see to it."""

    cause: BaseException


@dataclass(frozen=True, slots=True)
class Unfinished(Record):
    """Said by `take` to the worker: run this to its end."""

    rest: Awaitable[Record | None] | Fork


def _raise(_actor: Actor, message: Broken, _call: Call) -> None:
    raise message.cause


def _finish(_actor: Actor, message: Unfinished, _call: Call) -> Awaitable[Record | None] | Fork:
    return message.rest


def _watch(actor: Actor, _message: Watch, call: Call) -> None:
    actor.runtime.household.watches.add(actor.address.actor, call)


def _describe(actor: Actor, _message: Describe, _call: Call) -> Description:
    return describe(actor)


def _contracts(actor: Actor, _message: GetContracts, _call: Call) -> Contracts:
    return contracts_of(actor)


OWN_WORDS: dict[type, Method] = {
    Broken: _raise,
    Unfinished: _finish,
    Watch: _watch,
    Describe: _describe,
    GetContracts: _contracts,
}
