"""The example of `contract/SPEC.md` is right, fits its class, and breaks as the page says."""

import re
from pathlib import Path
from typing import Any

from blocktree import actors, contract
from blocktree.actors.actor import dispatch_table, played
from blocktree.contract import Contract, Rule, check, fit
from contract import thermostat

SPEC = Path(contract.__file__).parent / "SPEC.md"


def example(text: str) -> dict[str, Any]:
    scope: dict[str, Any] = {"__name__": "spec"}
    for source in (contract, actors, thermostat):
        scope.update(vars(source))
    exec(compile(text, str(SPEC), "exec"), scope)
    return scope


def code() -> str:
    found = re.search(r"```python\n(.*?)```", SPEC.read_text(), re.DOTALL)
    assert found is not None
    return found[1]


def test_the_example_is_right() -> None:
    scope = example(code())
    assert isinstance(scope["THERMOSTAT"], Contract)
    assert check(scope["THERMOSTAT"]) == []
    roles, place = played(scope["Room"])
    assert fit(scope["Room"], roles, dispatch_table(scope["Room"]), place) == []


def test_without_the_line_that_the_page_speaks_of_it_is_refused() -> None:
    broken = code().replace(", hears(Warm)),", "),")
    assert broken != code()
    (found,) = check(example(broken)["THERMOSTAT"])
    assert found.rule is Rule.UNHANDLED
    assert found.what == "Warm from room can arrive in state calm, which does not take it"
    assert [step.what for step in found.trace][-2:] != []
