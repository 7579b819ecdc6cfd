"""What is wrong with the contracts of a module, and with the actors that play their roles."""

from collections.abc import Iterator
from types import ModuleType

from blocktree.actors.actor import Actor, dispatch_table, played
from blocktree.contract import Contract, Finding, Place, Role, Rule, check, fit
from blocktree.contract.join import joined
from blocktree.fault import Fault


def contracts_in(module: ModuleType) -> list[Contract]:
    """The contracts that a module names, each once, in the order of its lines."""
    found = {id(each): each for each in vars(module).values() if isinstance(each, Contract)}
    return sorted(found.values(), key=lambda contract: (contract.place.file, contract.place.line))


def classes_in(module: ModuleType) -> Iterator[type[Actor]]:
    """The actor classes of a module that say what they play."""
    for each in vars(module).values():
        own = isinstance(each, type) and each.__module__ == module.__name__
        if own and issubclass(each, Actor) and played(each)[0]:
            yield each


def examine(module: ModuleType) -> list[Finding]:
    """Check every contract that a module names, and hold its actor classes against their roles."""
    found = [finding for contract in contracts_in(module) for finding in check(contract)]
    for cls in classes_in(module):
        roles, place = played(cls)
        try:
            methods = dispatch_table(cls)
        except TypeError as cause:
            found.append(Finding(Rule.METHODS, str(cause), place))
            continue
        found += fit(cls, roles, methods, place)
        if not any(check(role.contract) for role in roles if role.contract):
            found += _together(roles, place)
    return found


def _together(roles: tuple[Role, ...], place: Place) -> Iterator[Finding]:
    """Whether one actor can play all these roles."""
    try:
        joined(roles)
    except Fault as fault:
        yield Finding(Rule.METHODS, fault.what, place)
