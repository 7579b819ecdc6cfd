"""Who answers where, as a leader remembers it: nobody twice, and nobody who is dead for long."""

import pytest

from blocktree.fault import Fault, Kind
from blocktree.names import Path, PrincipalId
from blocktree.store.place_messages import HEARTBEAT_S, LEASE_S, OFFER_S, Provider, Stay
from blocktree.store.registry import BACK_S, COMES_S, SAFE_S, SESSIONS_MAX, Registry, nearest

PRINTER, DOOR = Path("/bt1x/services/printer"), Path("/bt1x/door")
ONE, TWO = Path("/bt1x/pi-1"), Path("/bt1x/pi-2")
A, B = b"a" * 16, b"b" * 16


def test_a_provider_that_dies_is_gone_within_two_heartbeats() -> None:
    registry = Registry(0.0)
    registry.offer(A, ONE, PRINTER, "printer", 10.0)
    assert registry.offers_at(PRINTER, 10.0 + OFFER_S) == [Provider(PRINTER, ONE, "printer")]
    assert registry.offers_at(PRINTER, 10.01 + 2 * HEARTBEAT_S) == []
    assert registry.offered(20.0) == []


def test_a_heartbeat_without_a_list_goes_on_with_what_was_told() -> None:
    registry = Registry(0.0)
    stays = (Stay(PRINTER, "printer"), Stay(DOOR, "door", 7))
    registry.renew(A, ONE, 3, stays, 1.0)
    registry.renew(A, ONE, 3, (), 2.5)
    assert [p.actor for p in registry.offers_at(PRINTER, 4.4)] == ["printer"]
    assert registry.claims_of(A) == {DOOR: 7}


def test_a_revision_that_this_leader_was_not_told_has_to_be_told() -> None:
    registry = Registry(0.0)
    for known in ((), (Stay(PRINTER, "printer"),)):
        if known:
            registry.renew(A, ONE, 1, known, 1.0)
        with pytest.raises(Fault) as fault:
            registry.renew(A, ONE, 2, (), 1.0)
        assert fault.value.kind is Kind.NOT_FOUND


def test_what_a_list_leaves_out_is_offered_no_more() -> None:
    registry = Registry(0.0)
    registry.renew(A, ONE, 1, (Stay(PRINTER, "p"), Stay(DOOR, "d")), 1.0)
    registry.renew(A, ONE, 2, (Stay(DOOR, "d"),), 1.1)
    assert registry.offered(1.2) == [DOOR]
    registry.withdraw(A, DOOR)
    assert registry.offered(1.2) == []


def test_a_holder_is_replaced_only_when_its_lease_has_surely_ended() -> None:
    registry = Registry(0.0)
    assert registry.extend(DOOR, 100.0)
    with pytest.raises(Fault) as fault:
        registry.begin(DOOR, 100.0 + LEASE_S, same=False)
    assert fault.value.kind is Kind.CONFLICT
    registry.begin(DOOR, 100.0 + SAFE_S + 0.001, same=False)


def test_a_new_leader_waits_for_leases_it_does_not_know() -> None:
    registry = Registry(50.0)
    assert registry.alive(DOOR, 50.0 + LEASE_S)
    with pytest.raises(Fault):
        registry.begin(DOOR, 50.0 + LEASE_S, same=False)
    registry.begin(DOOR, 50.0 + SAFE_S, same=False)


def test_a_holder_that_is_being_replaced_is_extended_no_more() -> None:
    registry = Registry(0.0)
    registry.begin(DOOR, 10.0, same=False)
    assert not registry.extend(DOOR, 10.0)
    assert not registry.alive(DOOR, 10.0)
    with pytest.raises(Fault) as fault:
        registry.begin(DOOR, 10.0, same=False)
    assert fault.value.kind is Kind.BUSY
    registry.decided(DOOR, 11.0)
    assert registry.alive(DOOR, 11.0)


def test_a_session_belongs_to_the_process_that_began_it() -> None:
    registry = Registry(0.0)
    registry.offer(A, ONE, PRINTER, "printer", 1.0)
    with pytest.raises(Fault) as fault:
        registry.offer(A, TWO, DOOR, "door", 1.0)
    assert fault.value.kind is Kind.DENIED


def test_there_are_only_so_many_processes() -> None:
    registry = Registry(0.0)
    for number in range(SESSIONS_MAX):
        registry.offer(number.to_bytes(16), ONE, PRINTER, "p", 1.0)
    with pytest.raises(Fault) as fault:
        registry.offer(B, ONE, PRINTER, "p", 1.0)
    assert fault.value.kind is Kind.BUSY
    registry.offer(B, ONE, PRINTER, "p", 1.1 + OFFER_S)  # the silent ones make room


def test_the_nearest_provider_comes_first() -> None:
    far = Provider(PRINTER, Path("/bt1x/garage/pi-9"), "p")
    beside = Provider(PRINTER, Path("/bt1x/kitchen/pi-2"), "p")
    here = Provider(PRINTER, Path("/bt1x/kitchen/pi-1"), "p")
    assert nearest([far, beside, here], here.process) == [here, beside, far]


def test_the_node_that_is_asked_for_is_waited_for_and_then_another_is_chosen() -> None:
    registry = Registry(0.0)

    def chosen(now: float, *, only: bool = False) -> Path | None:
        registry.volunteer(TWO, B, PrincipalId(bytes(32)), now)
        found = registry.choose(ONE, {}, now, only=only)
        return None if found is None else found[0]

    assert chosen(COMES_S - 0.1) is None  # it may still be starting
    assert chosen(COMES_S) == TWO
    registry.volunteer(ONE, A, PrincipalId(bytes(32)), 20.0)
    assert chosen(20.0 + OFFER_S) == ONE
    assert chosen(20.1 + OFFER_S) is None  # it was there a moment ago
    assert chosen(20.0 + OFFER_S + BACK_S) == TWO
    assert chosen(1000.0, only=True) is None
    assert registry.choose("", {TWO: 1}, 1000.0) is not None
