"""Versions: what may change while partners of the old version live, and who is in the way."""

import dataclasses

import pytest

from blocktree.contract import Contract, Role, Rule, State, answers, asks, hears, mirror, tells
from blocktree.contract.versions import Change, Peer, compare, gate, readable
from blocktree.contract.written import contract_mark, write_message
from blocktree.fault import Fault, Kind
from contract.words import Close, Get, Got, Open, Opened, Put, Refused


def box(version: int, *more: object, leave_out: object = None, name: str = "box") -> Contract:
    lines = [answers(Get, Got), hears(Put), hears(Close, then="shut"), *more]
    kept = [line for line in lines if getattr(line, "message", None) is not leave_out]
    return Contract(
        name,
        version,
        Role("box", State("shut", answers(Open, Opened, then="open")), State("open", *kept)),  # type: ignore[arg-type]
        mirror("user"),
    )


OLD = box(1)


def test_the_same_again_breaks_nobody() -> None:
    result = compare(OLD, box(2))
    assert result.changes == ()
    assert result.breaks == {"box": (), "user": ()}


def test_a_branch_more_to_take_is_compatible_for_who_takes_it() -> None:
    result = compare(OLD, box(2, hears(Refused)))
    assert result.breaks["box"] == ()
    assert result.changes == (
        Change(added=True, what="box in open: hears Refused, then open"),
        Change(added=True, what="user in open: tells Refused, then open"),
    )
    (broken,) = result.breaks["user"]  # an old box would not know what a new user says
    assert broken.rule is Rule.UNHANDLED


def test_an_optional_branch_is_compatible_on_both_sides() -> None:
    def with_hint(version: int, *more: object) -> Contract:
        return Contract(
            "box",
            version,
            Role("box", State("open", answers(Get, Got), *[hears(Put) for _ in more])),
            Role("user", State("open", asks(Get, Got), *[tells(Put, optional=True) for _ in more])),
        )

    assert compare(with_hint(1), with_hint(2, "hint")).breaks == {"box": (), "user": ()}


def test_a_branch_less_breaks_who_uses_it_with_the_way_there() -> None:
    result = compare(OLD, box(2, leave_out=Get))
    (broken,) = result.breaks["box"]
    assert broken.what == "Get from user can arrive in state open, which does not take it"
    assert [step.what for step in broken.trace][:2] == ["asks Open", "takes Open"]
    assert result.breaks["user"] == (), "a new user says less, which an old box does not mind"


def test_another_answer_breaks_who_asks() -> None:
    new = box(2)
    old_role = new.roles[0]
    lines = (answers(Open, {Opened: "open", Refused: "shut"}),)
    role = Role("box", State("shut", *lines), *old_role.states[1:])
    result = compare(OLD, Contract("box", 2, role, mirror("user")))
    assert [f.rule for f in result.breaks["box"]] == [Rule.UNFIT]
    assert "Refused, which user does not expect" in result.breaks["box"][0].what
    assert result.breaks["user"] == ()


def test_the_gate_names_the_live_peer_that_is_in_the_way() -> None:
    result = compare(OLD, box(2, leave_out=Get))
    old, other = contract_mark(OLD), contract_mark(box(7))
    gate(result, "box", [Peer("/home/a", "user", other), Peer("/home/b", "box", old)])
    with pytest.raises(Fault, match="/home/kitchen runs version 1: Get from user") as raised:
        gate(result, "box", [Peer("/home/kitchen", "user", old), Peer("/home/a", "user", other)])
    assert raised.value.kind is Kind.CONTRACT
    gate(compare(OLD, box(2, hears(Refused))), "box", [Peer("/home/kitchen", "user", old)])


def test_two_contracts_are_not_two_versions() -> None:
    with pytest.raises(Fault, match="two contracts") as raised:
        compare(OLD, box(1, name="chest"))
    assert raised.value.kind is Kind.USAGE


def test_fields_may_only_be_added_at_the_end_and_for_readers_with_a_default() -> None:
    one = write_message(Put)
    field = one.fields[0]
    extra = dataclasses.replace(one, fields=(field, dataclasses.replace(field, name="more")))
    required = dataclasses.replace(field, name="more", optional=False)
    strict = dataclasses.replace(one, fields=(field, required))
    retyped = dataclasses.replace(one, fields=(dataclasses.replace(field, kind="str"),))
    assert readable(one, extra)
    assert not readable(extra, one)
    assert not readable(one, strict)
    assert not readable(one, retyped)
    assert not readable(one, dataclasses.replace(one, body=True))


def test_the_mark_is_of_what_is_said_and_not_of_where_it_is_written() -> None:
    assert contract_mark(box(1)) == contract_mark(OLD)
    assert contract_mark(box(2)) != contract_mark(OLD)
    assert contract_mark(box(1, hears(Refused))) != contract_mark(OLD)
