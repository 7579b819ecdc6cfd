"""Protocol contracts: who may say what next, declared once and used for everything else.

`SPEC.md` shows a contract and states the rules; `tests/contract` proves them on contracts that are
right and on contracts that are wrong.
"""

from blocktree.contract.branch import Branch, Verb, after, answers, asks, hears, lost, tells
from blocktree.contract.check import check
from blocktree.contract.contract import Contract, Role, State, mirror
from blocktree.contract.finding import Finding, Rule, Step, raise_first
from blocktree.contract.fit import fit
from blocktree.contract.machine import Node, Turn, machine
from blocktree.contract.place import Place
from blocktree.contract.trace import lanes

__all__ = [
    "Branch",
    "Contract",
    "Finding",
    "Node",
    "Place",
    "Role",
    "Rule",
    "State",
    "Step",
    "Turn",
    "Verb",
    "after",
    "answers",
    "asks",
    "check",
    "fit",
    "hears",
    "lanes",
    "lost",
    "machine",
    "mirror",
    "raise_first",
    "tells",
]
