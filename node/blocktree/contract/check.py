"""The static check of a contract: everything that is wrong with it, in the order of its lines."""

from blocktree.contract.contract import Contract
from blocktree.contract.explore import CONFIGS_MAX, explore
from blocktree.contract.finding import Finding
from blocktree.contract.structure import check_names, check_roles


def check(contract: Contract, *, configs_max: int = CONFIGS_MAX) -> list[Finding]:
    """What is wrong with a contract; nothing if it is right.

    Each stage needs the one before: names, then whether the roles know each other, then every
    moment that they can come to together, at most `configs_max`.
    """
    found = check_names(contract) or check_roles(contract)
    if not found:
        found = explore(contract, configs_max=configs_max)
    return sorted(found, key=lambda f: (f.place.file, f.place.line, f.what))
