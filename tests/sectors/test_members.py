"""Who belongs to the tree, as the state records it."""

from dataclasses import replace

import pytest

from blocktree.fault import Fault, Kind
from blocktree.keys import (
    Credential,
    Member,
    MemberKind,
    join_from_ticket,
    member_of,
    new_credential,
    new_ticket,
)
from blocktree.names import Path
from blocktree.sectors import members
from blocktree.sectors.transaction import Join, Outcome, Remove
from blocktree.wire import encode
from keys.forge import NOW, a_tree, drawn
from sectors.house import ANNA, BOB, OWNER, TREE, House

PI = Path(f"/{TREE.tree}/pi-1")
TICKET = new_ticket(OWNER, MemberKind.NODE, PI, now=NOW, draw=drawn(41))


def node(seed: int) -> Credential:
    return join_from_ticket(TICKET, now=NOW, draw=drawn(seed))


def join(house: House, who: Credential, *addresses: str, time_ns: int = 5) -> Outcome:
    return house.apply(Join(encode(member_of(who.identity, addresses)), time_ns))


def test_the_first_members_belong_from_the_beginning() -> None:
    house = House()
    assert {row.member for row in house.state.members()} == {
        encode(member_of(one.identity)) for one in (OWNER, ANNA, BOB)
    }
    assert house.state.identify(ANNA.principal) == ANNA.identity
    assert house.state.members_changed_at() == 2


def test_a_ticket_admits_one_principal() -> None:
    house, pi = House(), node(1)
    assert join(house, pi).members_changed
    again = join(house, pi)
    assert (again.kind, again.members_changed) == (None, False)
    other = node(2)
    assert join(house, other).kind is Kind.EXISTS
    assert house.apply(Remove(pi.principal, 9)).members_changed
    assert join(house, other).kind is Kind.SPENT
    with pytest.raises(Fault, match="does not belong"):
        house.state.identify(pi.principal)
    assert house.state.members_changed_at() == house.index - 1


def test_a_member_may_say_where_it_is_reached_now() -> None:
    house, pi = House(), node(1)
    join(house, pi, "10.0.0.1:7", time_ns=5)
    assert join(house, pi, "10.0.0.2:7", time_ns=8).members_changed
    row = members.find(house.table, pi.principal)
    assert row is not None
    assert row == members.Membership(encode(member_of(pi.identity, ("10.0.0.2:7",))), 5)


def test_a_path_has_one_member_until_that_one_is_removed() -> None:
    house = House()
    first = new_credential(OWNER, MemberKind.NODE, PI, now=NOW, draw=drawn(51))
    second = new_credential(OWNER, MemberKind.NODE, PI, now=NOW, draw=drawn(52))
    join(house, first)
    assert join(house, second).kind is Kind.EXISTS
    house.apply(Remove(first.principal, 6))
    assert join(house, second).members_changed


def test_who_was_removed_needs_a_new_ticket_to_come_back() -> None:
    house, pi = House(), node(1)
    join(house, pi)
    house.apply(Remove(pi.principal, 6))
    assert join(house, pi).kind is Kind.DENIED
    fresh = new_ticket(OWNER, MemberKind.NODE, PI, now=NOW, draw=drawn(42))
    back = join_from_ticket(fresh, now=NOW, draw=drawn(1))
    assert join(house, back, time_ns=7).members_changed
    assert house.state.identify(back.principal) == back.identity


def test_who_was_removed_is_still_known_by_name() -> None:
    house = House()
    assert house.apply(Remove(BOB.principal, 6)).members_changed
    assert not house.apply(Remove(BOB.principal, 7)).members_changed
    assert members.identify(house.table, BOB.principal, former=True) == BOB.identity
    row = members.find(house.table, BOB.principal)
    assert row is not None
    assert (row.belongs, row.removed_ns) == (False, 6)


def test_the_owner_cannot_be_removed_nor_a_stranger() -> None:
    house = House()
    assert house.apply(Remove(OWNER.principal, 6)).kind is Kind.DENIED
    assert house.apply(Remove(node(1).principal, 6)).kind is Kind.NOT_FOUND


def test_a_member_that_is_none_is_refused() -> None:
    house = House()
    assert house.apply(Join(b"", 1)).kind is Kind.MALFORMED
    pi = node(1)
    with pytest.raises(Fault):
        members.identify(house.table, pi.principal, former=True)
    wrong: Member = replace(member_of(pi.identity), path=Path(f"/{TREE.tree}/pi-2"))
    assert house.apply(Join(encode(wrong), 1)).kind is Kind.DAMAGED
    stranger = a_tree(seed=9).user
    assert house.apply(Join(encode(member_of(stranger.identity)), 1)).kind is Kind.WRONG_TREE
    early = House(begun=False)
    assert early.apply(Join(encode(member_of(BOB.identity)), 1)).kind is Kind.NOT_FOUND
    elsewhere = replace(member_of(pi.identity), chain=())
    assert house.apply(Join(encode(elsewhere), 1)).kind is Kind.MALFORMED
