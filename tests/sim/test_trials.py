"""Two thousand stories from seeds: whatever goes wrong, promises hold and service returns."""

import copy
from typing import Any

import pytest

from blocktree.raft import Raft
from blocktree.raft.gather import gather
from blocktree.raft.messages import Message
from blocktree.sim import Network, Trial, run_trial
from blocktree.wire import Record, decode, encode

SEEDS = 2000
BATCH = 100


@pytest.mark.parametrize("first", range(0, SEEDS, BATCH))
def test_no_story_breaks_a_promise(first: int) -> None:
    for seed in range(first, first + BATCH):
        run_trial(seed)


def test_the_same_seed_tells_the_same_story() -> None:
    one, two = Trial(7, trace=True), Trial(7, trace=True)
    assert one.run() == two.run()
    assert one.world.story == two.world.story
    assert one.history == two.history


def test_the_stories_are_eventful() -> None:
    seen = dict.fromkeys(
        ("restores", "memberships applied", "lease reads", "quorum reads", "releases"), 0
    )
    terms = 0
    for seed in range(100):
        trial = Trial(seed)
        terms += trial.run().terms
        for what in seen:
            seen[what] += trial.judge.seen[what]
    assert terms > 250, terms
    assert min(seen.values()) > 10, seen


def test_messages_that_went_over_the_wire_mean_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    carry = Network.send

    def over_the_wire(self: Network, sender: str, to: str, message: Any) -> None:
        if isinstance(message, Message):
            again: Record = decode(encode(message), Record)
            assert again == message
            message = again
        carry(self, sender, to, message)

    monkeypatch.setattr(Network, "send", over_the_wire)
    for seed in range(20):
        run_trial(seed)


def test_quiet_ticks_only_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a driver need not wake up for: nothing is said, decided or due in such a tick."""
    tick, counted = Raft.tick, 0

    def watched(self: Raft, elapsed: int = 1) -> None:
        nonlocal counted
        quiet, state = self.quiet_ticks, self._state
        before = len(state.outbox), self.role, self.term, self.leader
        tick(self, elapsed)
        if elapsed == 1 and quiet:
            counted += 1
            assert (len(state.outbox), self.role, self.term, self.leader) == before
            assert self.quiet_ticks == quiet - 1
            if not state.outbox:
                ready = gather(copy.deepcopy(state))
                assert ready is None or not ready.send

    monkeypatch.setattr(Raft, "tick", watched)
    for seed in range(20):
        run_trial(seed)
    assert counted > 3000
