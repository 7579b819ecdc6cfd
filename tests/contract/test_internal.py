"""Everything that is an actor inside Blocktree has a contract that is right, and plays its role."""

import importlib
import pkgutil

import pytest

import blocktree
from blocktree.actors import Actor
from blocktree.actors.actor import dispatch_table, played
from blocktree.actors.examine import examine
from blocktree.contract import Contract, check, fit
from blocktree.store import contracts


def _modules() -> list[str]:
    found = pkgutil.walk_packages(blocktree.__path__, "blocktree.")
    return [module.name for module in found if ".cli" not in module.name]


def _actors() -> list[type[Actor]]:
    for name in _modules():
        importlib.import_module(name)
    open_classes, found = [Actor], []
    while open_classes:
        for cls in open_classes.pop().__subclasses__():
            open_classes.append(cls)
            if cls.__module__.startswith("blocktree.") and ".examples" not in cls.__module__:
                found.append(cls)
    return found


CONTRACTS = [each for each in vars(contracts).values() if isinstance(each, Contract)]


@pytest.mark.parametrize("contract", CONTRACTS, ids=str)
def test_the_contracts_of_the_sector_service_are_right(contract: Contract) -> None:
    assert check(contract) == []


def test_every_actor_class_plays_a_role_and_fits_it() -> None:
    classes = [cls for cls in _actors() if dispatch_table(cls) and not cls.raw]
    assert len(classes) >= 5
    for cls in classes:
        roles, place = played(cls)
        assert roles, f"{cls.__module__}.{cls.__qualname__} has no contract: @plays(role)"
        assert fit(cls, roles, dispatch_table(cls), place) == []


def test_no_module_names_a_wrong_contract() -> None:
    assert [f for name in _modules() for f in examine(importlib.import_module(name))] == []
