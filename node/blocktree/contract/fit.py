"""Whether an actor class can play its roles: the methods it has against the messages they take."""

import types
import typing
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from blocktree.contract.branch import RECEIVES, Branch, Message, Verb
from blocktree.contract.contract import Role
from blocktree.contract.finding import Finding, Rule
from blocktree.contract.place import Place
from blocktree.wire import Record


def fit(
    cls: type,
    roles: Sequence[Role],
    methods: Mapping[type, Callable[..., Any]],
    place: Place,
) -> list[Finding]:
    """What keeps `cls`, with these methods for messages, from playing these roles.

    Missing methods, methods for messages that no role takes, and methods whose annotated answer is
    not one that the contract allows. `place` is where the class says what it plays.
    """
    takes: dict[Message, list[tuple[Role, Branch]]] = {}
    for role in roles:
        for _, branch in role.branches():
            if branch.verb in RECEIVES and branch.message is not None:
                takes.setdefault(branch.message, []).append((role, branch))
    played = " and ".join(str(role) for role in roles)
    findings = []
    for message, some in takes.items():
        if message not in methods:
            role, branch = some[0]
            does = f"{role} {branch.verb.value}"
            what = f"{cls.__name__} has no method for {message.__name__}, which {does}"
            findings.append(Finding(Rule.METHODS, what, place))
        elif wrong := _wrong_answer(methods[message], some):
            findings.append(Finding(Rule.METHODS, wrong, place_of(methods[message])))
    for message, method in methods.items():
        if message not in takes:
            what = f"{method.__qualname__} takes {message.__name__}, which {played} does not"
            findings.append(Finding(Rule.METHODS, what, place_of(method)))
    return findings


def place_of(method: Callable[..., Any]) -> Place:
    """Where a method is defined."""
    code = method.__code__
    return Place(code.co_filename, code.co_firstlineno)


def answer_hint(method: Callable[..., Any]) -> tuple[set[Any], bool]:
    """The classes that a method answers with (None for nothing), and whether later."""
    hint = typing.get_type_hints(method).get("return", Any)
    later = False
    origin = typing.get_origin(hint)
    if isinstance(origin, type) and issubclass(origin, Awaitable):
        hint, later = typing.get_args(hint)[-1], True
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    choices = typing.get_args(hint) if union else (hint,)
    return {None if choice is types.NoneType else choice for choice in choices}, later


def _wrong_answer(method: Callable[..., Any], some: list[tuple[Role, Branch]]) -> str:
    given, _ = answer_hint(method)
    if not all(c is None or (isinstance(c, type) and issubclass(c, Record)) for c in given):
        return ""  # not said: nothing can be held against it
    for role, branch in some:
        allowed: set[Any] = {answer for answer, _ in branch.outcomes} or {None}
        if branch.verb is Verb.HEARS:
            continue
        if wrong := sorted(_answer_name(c) for c in given - allowed if c is not Record):
            wanted = " or ".join(sorted(map(_answer_name, allowed)))
            return f"{method.__qualname__} answers with {', '.join(wrong)}; {role} answers {wanted}"
    return ""


def _answer_name(answer: Any) -> str:
    return "nothing" if answer is None else str(answer.__name__)
