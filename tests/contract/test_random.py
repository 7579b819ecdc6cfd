"""Contracts nobody would write: whatever they are, the check ends and says what it found."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from blocktree.contract import (
    Branch,
    Contract,
    Finding,
    Role,
    Rule,
    State,
    after,
    answers,
    asks,
    check,
    hears,
    lanes,
    lost,
    machine,
    mirror,
    tells,
)
from blocktree.contract.compact import Walk, encode_table, read_table
from blocktree.contract.draw import dot, mermaid
from blocktree.contract.stub import stub
from blocktree.contract.written import contract_hash
from contract.words import Close, Get, Got, Open, Piece, Put

STATES = ("a", "b", "c", "nowhere")
ROLES = ("left", "right", "third")
WORDS = (Close, Get, Open, Piece, Put)
MOMENTS_MAX = 300
then = st.sampled_from(("", *STATES))
word = st.sampled_from(WORDS)
ANSWERS: list[Any] = [Got, (Got, Put), {Got: "a", Put: "b"}, ()]
answer_of = st.sampled_from(ANSWERS)
partner = st.sampled_from(("", *ROLES))


@st.composite
def branches(draw: st.DrawFn) -> Branch:
    """One branch, right or wrong."""
    what, role = draw(word), draw(partner)
    match draw(st.integers(0, 5)):
        case 0:
            return hears(what, sender=role, then=draw(then))
        case 1:
            return tells(what, to=role, then=draw(then), optional=draw(st.booleans()))
        case 2:
            answer = draw(answer_of)
            return answers(what, answer, sender=role, then=draw(then), later=draw(st.booleans()))
        case 3:
            answer = draw(answer_of)
            return asks(what, answer, to=role, then=draw(then), refused=draw(then))
        case 4:
            return after(draw(st.floats(-1, 10)), then=draw(then))
        case _:
            return lost(role, then=draw(then))


@st.composite
def contracts(draw: st.DrawFn, *, names: tuple[str, ...] = ROLES) -> Contract:
    """Two or three roles with a few states each."""
    roles = []
    for name in names[: draw(st.integers(1, len(names)))]:
        states = draw(st.lists(st.sampled_from(STATES[:3]), min_size=0, max_size=3))
        roles.append(
            Role(name, *[State(s, *draw(st.lists(branches(), max_size=3))) for s in states])
        )
    return Contract("random", draw(st.integers(0, 2)), *roles)


@st.composite
def pairs(draw: st.DrawFn) -> Contract:
    """A role that hears and answers, and its mirror: often right, so that it is explored."""
    states = ("a", "b", "c")[: draw(st.integers(1, 3))]
    target = st.sampled_from(("", *states))
    made = []
    for name in states:
        words = draw(st.lists(word, min_size=1, max_size=3, unique=True))
        lines = [
            hears(w, then=draw(target))
            if draw(st.booleans())
            else answers(w, Got, then=draw(target), later=draw(st.booleans()))
            for w in words
        ]
        made.append(State(name, *lines))
    return Contract("pair", 1, Role("left", *made), mirror("right"))


def judged(contract: Contract) -> list[Finding]:
    found = check(contract, configs_max=MOMENTS_MAX)
    for finding in found:
        assert finding.rule in Rule
        assert finding.place.file.endswith("test_random.py")
        assert len(str(finding).splitlines()) == 1
        assert lanes(finding) or not finding.trace
    return found


@given(contracts())
@settings(max_examples=150, deadline=None)
def test_no_contract_crashes_the_check(contract: Contract) -> None:
    judged(contract)


@given(pairs())
@settings(max_examples=80, deadline=None)
def test_what_passes_the_check_can_be_compiled_drawn_and_stubbed(contract: Contract) -> None:
    if judged(contract):
        return
    assert len(contract_hash(contract)) == 32
    assert dot(contract).startswith("digraph")
    assert mermaid(contract).startswith("stateDiagram")
    for role in contract.roles:
        walk = Walk(read_table(encode_table(role)))
        assert tuple(walk.expected()) == machine(contract, role).expected
        compile(stub(role), "stub", "exec")


def test_too_many_moments_are_a_finding_and_not_a_long_wait() -> None:
    letters = [
        State(f"s{i}", *[hears(w, then=f"s{(i + n) % 9}") for n, w in enumerate(WORDS, 1)])
        for i in range(9)
    ]
    contract = Contract("wide", 1, Role("left", *letters), mirror("right"))
    found = check(contract, configs_max=50)
    assert [f.rule for f in found][-1] in (Rule.TOO_LARGE, Rule.UNHANDLED)
    assert any(f.rule is Rule.TOO_LARGE and "split it in two" in f.what for f in found)
