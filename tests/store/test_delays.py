"""Who answers entries much sooner than the one that is asked first, takes its place."""

from collections.abc import Mapping
from typing import cast

from blocktree.raft import Append, AppendReply, Entry, EntryKind, NodeId, Raft
from blocktree.store.delays import Delays

ONE, OTHER = NodeId("one"), NodeId("other")


class Core:
    """Keeps what it is told of how quick they are."""

    def __init__(self) -> None:
        self.now = 100.0
        self.told: list[dict[NodeId, float]] = []
        self.delays = Delays(lambda: cast("Raft", self), lambda: self.now)

    def prefer(self, seconds: Mapping[NodeId, float]) -> None:
        self.told.append(dict(seconds))

    def append(self, to: NodeId, *indices: int, term: int = 3) -> None:
        entries = tuple(Entry(term, index, EntryKind.NORMAL, b"") for index in indices)
        self.delays.sent(to, [Append(term, 0, 0, 0, entries)])

    def reply(self, sender: NodeId, index: int, term: int = 3) -> None:
        self.delays.heard(sender, AppendReply(term, index))

    def exchange(self, node: NodeId, index: int, seconds: float) -> None:
        self.append(node, index)
        self.now += seconds
        self.reply(node, index)


def test_the_means_of_answers_are_told_now_and_then() -> None:
    core = Core()
    for index in range(1, 9):
        core.exchange(ONE, index, 0.010)
        core.exchange(OTHER, index, 0.002)
    (told,) = core.told
    assert {node: round(seconds, 6) for node, seconds in told.items()} == {ONE: 0.010, OTHER: 0.002}


def test_an_answer_counts_from_the_first_entry_that_it_covers_was_sent() -> None:
    core = Core()
    core.append(ONE, 1, 2)
    core.now += 0.001
    core.append(ONE, 3)
    core.now += 0.001
    core.reply(ONE, 1)  # not yet all that was sent first
    core.reply(ONE, 3)
    core.append(ONE, 4)
    for _ in range(15):
        core.exchange(OTHER, 1, 0.001)
    (told,) = core.told
    assert round(told[ONE], 6) == 0.002


def test_nothing_is_known_of_an_earlier_time_as_leader() -> None:
    core = Core()
    core.append(ONE, 1)
    core.append(OTHER, 1, term=5)
    core.now += 0.5
    core.reply(ONE, 1)
    core.reply(ONE, 1, term=5)
    for index in range(1, 17):
        core.append(OTHER, index, term=5)
        core.reply(OTHER, index, term=5)
    (told,) = core.told
    assert set(told) == {OTHER}


def test_one_that_was_away_for_long_counts_as_slow_only() -> None:
    core = Core()
    for index in range(1, 16):
        core.exchange(ONE, index, 0.001)
    core.exchange(ONE, 16, 3600.0)
    (told,) = core.told
    assert told[ONE] < 0.2
