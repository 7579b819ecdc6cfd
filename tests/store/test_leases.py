"""Leases end when they must, and never stand in the way of their own session."""

from blocktree.names import FileId, Path
from blocktree.store.leases import Granted, Leases

F, G = FileId(bytes(15) + b"\1"), FileId(bytes(15) + b"\2")
A, B = b"a" * 16, b"b" * 16
HERE = Path("/bt1x/users/ann/laptop")


def extend(leases: Leases, session: bytes, now: float, until: float) -> Granted:
    granted = leases.extend(session, HERE, None, now, until)
    assert granted is not None
    return granted


def test_a_lease_stands_in_the_way_of_others_until_it_runs_out() -> None:
    leases = Leases(1)
    extend(leases, A, 0, 1)
    assert leases.lease(A, [F])
    assert [item.files for item in leases.outstanding([F, G], B, 0.5)] == [(F,)]
    assert leases.outstanding([F], A, 0.5) == ()
    assert leases.outstanding([F], B, 1.1) == ()


def test_extending_a_session_extends_all_its_valid_leases() -> None:
    leases = Leases(1)
    first = extend(leases, A, 0, 1)
    leases.lease(A, [F])
    later = extend(leases, A, 0.9, 2)
    assert later.since <= first.grant
    assert leases.outstanding([F], B, 1.5)


def test_leases_that_ran_out_do_not_come_back_with_their_session() -> None:
    leases = Leases(1)
    first = extend(leases, A, 0, 1)
    leases.lease(A, [F])
    later = extend(leases, A, 1.5, 3)
    assert later.since > first.grant
    assert leases.outstanding([F], B, 2) == ()


def test_a_file_with_a_change_in_flight_is_not_leased() -> None:
    leases = Leases(1)
    extend(leases, A, 0, 1)
    leases.begin([F])
    leases.begin([F])
    leases.end([F])
    assert not leases.lease(A, [F, G])
    leases.end([F])
    assert leases.lease(A, [F, G])


def test_a_grant_after_a_recall_is_told_apart_from_the_ones_called_back() -> None:
    leases = Leases(1)
    extend(leases, A, 0, 1)
    leases.lease(A, [F])
    (recall,) = leases.outstanding([F], B, 0.1)
    newer = extend(leases, A, 0.2, 1)
    assert newer.grant > recall.grant
    leases.lease(A, [F])
    leases.returned(A, [F], recall.grant)  # the answer to the recall comes late
    assert leases.outstanding([F], B, 0.3)


def test_a_stalled_session_is_not_extended() -> None:
    leases = Leases(1)
    extend(leases, A, 0, 1)
    leases.lease(A, [F])
    assert leases.stall(A) == 1
    assert extend(leases, A, 0.5, 2).until == 1
    leases.unstall(A)
    assert extend(leases, A, 0.6, 2).until == 2


def test_only_an_exclusive_lease_stands_in_the_way_of_a_reader() -> None:
    leases = Leases(1)
    extend(leases, A, 0, 1)
    leases.lease(A, [], [F])
    leases.lease(A, [G])
    assert [item.files for item in leases.outstanding([F, G], B, 0.5, exclusive=True)] == [(F,)]
    leases.returned(A, [F], leases.grant)
    assert leases.outstanding([F, G], B, 0.5, exclusive=True) == ()


def test_grants_of_a_later_term_are_newer() -> None:
    assert extend(Leases(2), A, 0, 1).since > extend(Leases(1), A, 0, 1).grant


def test_silent_sessions_are_forgotten() -> None:
    leases = Leases(1)
    extend(leases, A, 0, 1)
    leases.lease(A, [F])
    leases.expire(2)
    assert leases.counts() == {"sessions": 0, "files": 0}


def test_who_leaves_stands_in_nobodys_way_and_comes_back_with_nothing() -> None:
    leases = Leases(1)
    first = extend(leases, A, 0, 1)
    leases.lease(A, [], [F])
    leases.leave(A)
    assert leases.outstanding([F], B, 0.5) == ()
    assert not leases.any_exclusive
    assert leases.sessions == 0
    assert extend(leases, A, 0.6, 2).since > first.grant


def test_one_answer_may_lease_some_files_exclusively_and_others_not() -> None:
    leases = Leases(1)
    extend(leases, A, 0, 1)
    extend(leases, B, 0, 1)
    assert leases.lease(A, [F], [G])
    assert leases.lease(B, [F])
    assert leases.outstanding([F, G], B, 0.5, exclusive=True)[0].files == (G,)
