"""The static check: each wrong contract is refused with the right line, right ones pass."""

import re
from pathlib import Path

import pytest

from blocktree.actors.examine import examine
from blocktree.cli.contractfile import load
from blocktree.contract import Contract, Rule, check, lanes
from contract import test_dispatch

WRONG = sorted((Path(__file__).parent / "wrong").glob("*.py"))
_MARK = re.compile(r"# wrong: (.+)$")


def wanted(path: Path) -> list[tuple[int, str]]:
    """Line and rule of each comment that says what is wrong there."""
    lines = enumerate(path.read_text().splitlines(), 1)
    return [(number, mark[1]) for number, line in lines if (mark := _MARK.search(line))]


@pytest.mark.parametrize("path", WRONG, ids=lambda path: path.stem)
def test_a_wrong_contract_is_refused_with_the_right_line(path: Path) -> None:
    found = examine(load(str(path)))
    assert {(f.place.line, f.rule.value) for f in found} == set(wanted(path))
    assert all(f.place.file == str(path) for f in found)


def test_there_are_at_least_twelve_wrong_contracts_and_each_rule_has_one() -> None:
    rules = {rule for path in WRONG for _, rule in wanted(path)}
    assert len(WRONG) >= 12
    assert rules == {rule.value for rule in Rule}


@pytest.mark.parametrize("contract", [test_dispatch.BOX, test_dispatch.DOOR], ids=str)
def test_right_contracts_pass(contract: Contract) -> None:
    assert check(contract) == []


def test_a_deadlock_is_shown_as_the_shortest_way_to_it_in_lanes() -> None:
    all_found = examine(load(str(WRONG[0].parent / "three_wait_in_a_ring.py")))
    (found,) = [finding for finding in all_found if finding.rule is Rule.DEADLOCK]
    assert lanes(found) == [
        "one              two                 three",
        "──────────────   ─────────────────   ──────────────",
        "asks Get → two   ·                   ·",
        "·                asks Open → three   ·",
        "·                ·                   asks Put → one",
    ]
