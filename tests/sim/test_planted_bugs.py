"""The mutation gate: protocol bugs planted one by one, each of which some test must find.

A test-suite that cannot fail proves nothing. Each bug is a small patch to the real core. Those that
chance reveals quickly must be found by the simulator within `SEEDS_MAX` seeds; those that need a
rarer coincidence name the directed scenario that they must change. Many are in both lists.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from blocktree.fault import Fault
from blocktree.raft import (
    NOBODY,
    Append,
    AppendReply,
    Config,
    Dice,
    HardState,
    HeartbeatReply,
    Log,
    NodeId,
    Saved,
    VoteAsk,
    VoteReply,
    core,
    election,
    membership,
    passing,
    reads,
    replication,
    transfer,
)
from blocktree.raft.log import Tail
from blocktree.raft.membership import History
from blocktree.raft.state import Lead, Role, State
from blocktree.sim import run_trial
from raft.stage import Stage
from scenario import replay

Plant = Callable[[pytest.MonkeyPatch], None]
SEEDS_MAX = 400
SCENARIOS = Path(__file__).parent.parent / "scenarios" / "raft"
RANDOM: dict[str, Plant] = {}
DIRECTED: dict[str, tuple[str, Plant]] = {}


def chance_finds(plant: Plant) -> Plant:
    """Register a bug that some story among the first seeds must reveal."""
    RANDOM[plant.__name__] = plant
    return plant


def found_by(scenario: str) -> Callable[[Plant], Plant]:
    """Register a bug that makes this scenario go another way."""

    def register(plant: Plant) -> Plant:
        DIRECTED[plant.__name__] = (scenario, plant)
        return plant

    return register


def first_violation(seeds: range) -> int | None:
    """The first seed whose story breaks a promise, an assertion or the contract of messages."""
    for seed in seeds:
        try:
            run_trial(seed)
        except (AssertionError, Fault):
            return seed
    return None


@chance_finds
def acknowledges_before_the_save(patch: pytest.MonkeyPatch) -> None:
    def acknowledge(s: State) -> None:
        if s.leader not in {NOBODY, s.me} and (s.ack_due or s.matched > s.acked):
            s.acked, s.ack_due = s.matched, False
            s.send(s.leader, AppendReply(s.term, s.matched))

    patch.setattr(replication, "acknowledge", acknowledge)


@chance_finds
def answers_reads_without_a_quorum(patch: pytest.MonkeyPatch) -> None:
    def gather(s: State, lead: Lead) -> None:
        if lead.reads_waiting:
            lead.reads_confirmed.append((s.log.commit, lead.reads_waiting))
            lead.reads_waiting = []

    patch.setattr(reads, "gather", gather)


@found_by("read_index")
def counts_a_round_that_began_before_the_read(patch: pytest.MonkeyPatch) -> None:
    def gather(s: State, lead: Lead) -> None:
        if lead.reads_waiting and s.log.commit >= lead.first_index:
            lead.reads_running.append((lead.round, s.log.commit, lead.reads_waiting))
            lead.reads_waiting = []
            reads.confirm(s, lead)

    patch.setattr(reads, "gather", gather)


@chance_finds
def reads_before_the_first_commit_of_the_term(patch: pytest.MonkeyPatch) -> None:
    def gather(s: State, lead: Lead) -> None:
        if lead.reads_waiting:
            lead.reads_running.append((lead.round + 1, s.log.commit, lead.reads_waiting))
            lead.reads_waiting = []
            reads.start_round(s, lead)

    patch.setattr(reads, "gather", gather)


@chance_finds
def loses_term_and_vote_at_restart(patch: pytest.MonkeyPatch) -> None:
    _start_with(patch, lambda _saved: HardState(0, NOBODY))


@found_by("vote_is_kept_over_a_restart")
def loses_the_vote_at_restart(patch: pytest.MonkeyPatch) -> None:
    _start_with(patch, lambda saved: HardState(saved.term, NOBODY))


def _start_with(patch: pytest.MonkeyPatch, remember: Callable[[HardState], HardState]) -> None:
    start = core.Raft.__init__

    def forgetful(  # noqa: PLR0917 - as the original
        self: core.Raft, me: NodeId, saved: Saved, log: Log, config: Config, dice: Dice
    ) -> None:
        known = Saved(remember(saved.hard_state), saved.mark)
        start(self, me, known, log, config, dice)

    patch.setattr(core.Raft, "__init__", forgetful)


@chance_finds
@found_by("vote_is_told_only_when_durable")
def tells_its_vote_before_the_save(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(State, "send_durable", State.send)


@found_by("acknowledges_only_in_a_durable_term")
def counts_its_own_vote_before_the_save(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(State, "hard_durable", lambda _self: True)


@found_by("vote_is_kept_over_a_restart")
def votes_twice_in_a_term(patch: pytest.MonkeyPatch) -> None:
    ask = election.on_vote_ask

    def generous(s: State, sender: NodeId, message: VoteAsk) -> None:
        if not message.pre and s.role is Role.FOLLOWER:
            s.vote = NOBODY
        ask(s, sender, message)

    patch.setitem(core._RECEIVE, VoteAsk, generous)


@chance_finds
def votes_for_a_log_that_is_behind(patch: pytest.MonkeyPatch) -> None:
    ask = election.on_vote_ask

    def careless(s: State, sender: NodeId, message: VoteAsk) -> None:
        fresh = VoteAsk(message.term, 1 << 40, 1 << 40, message.pre, message.transfer)
        ask(s, sender, fresh)

    patch.setitem(core._RECEIVE, VoteAsk, careless)


@found_by("a_longer_log_of_an_earlier_term_loses")
def compares_logs_by_length_alone(patch: pytest.MonkeyPatch) -> None:
    ask = election.on_vote_ask

    def careless(s: State, sender: NodeId, message: VoteAsk) -> None:
        term = s.log.last_term
        ask(
            s,
            sender,
            VoteAsk(message.term, message.last_index, term, message.pre, message.transfer),
        )

    patch.setitem(core._RECEIVE, VoteAsk, careless)


@chance_finds
def skips_the_previous_term_check(patch: pytest.MonkeyPatch) -> None:
    append = replication.on_append

    def trusting(s: State, sender: NodeId, message: Append) -> None:
        term = max(s.log.term(message.previous_index), 0)
        if message.previous_index <= s.log.last_index:
            message = Append(
                message.term, message.previous_index, term, message.commit, message.entries
            )
        append(s, sender, message)

    patch.setitem(core._RECEIVE, Append, trusting)


@chance_finds
def truncates_on_every_append(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Tail, "fresh", lambda _self, _previous, entries: entries)


@found_by("append_replaced_while_its_save_is_out")
def counts_replaced_entries_as_saved(patch: pytest.MonkeyPatch) -> None:
    truncate = Tail._truncate

    def keeping(self: Tail, index: int) -> None:
        before = [save.copy() for save in self._outstanding]
        truncate(self, index)
        self._outstanding.clear()
        self._outstanding.extend(before)

    patch.setattr(Tail, "_truncate", keeping)


@chance_finds
@found_by("figure_8")
def commits_old_terms_by_counting(patch: pytest.MonkeyPatch) -> None:
    def advance(s: State, lead: Lead) -> None:
        voters = s.members.latest.voters
        found = [s.log.stable if v == s.me else lead.progress[v].match for v in voters]
        s.log.commit = max(s.log.commit, membership.agreed(found))

    patch.setattr(replication, "advance", advance)


@chance_finds
def commits_with_a_minority(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(replication, "agreed", lambda values: max(values, default=0))


@chance_finds
def wins_elections_with_a_minority(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(election, "quorum", lambda voters: voters // 2)


@found_by("commit_beyond_what_matches")
def believes_any_commit_index(patch: pytest.MonkeyPatch) -> None:
    def learn(s: State, commit: int) -> None:
        s.log.commit = max(s.log.commit, min(commit, s.log.last_index))

    patch.setattr(replication, "learn_commit", learn)


@found_by("pre_vote_does_not_disturb")
def is_loyal_to_nobody(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(State, "loyal", lambda _self: False)


@found_by("restart_counts_as_hearing_the_leader")
def forgets_its_loyalty_at_restart(patch: pytest.MonkeyPatch) -> None:
    start = core.Raft.__init__

    def disloyal(  # noqa: PLR0917 - as the original
        self: core.Raft, me: NodeId, saved: Saved, log: Log, config: Config, dice: Dice
    ) -> None:
        start(self, me, saved, log, config, dice)
        self._state.heard = -100

    patch.setattr(core.Raft, "__init__", disloyal)


@found_by("leader_that_steps_down_stays_loyal")
def forgets_its_own_rounds_when_it_steps_down(patch: pytest.MonkeyPatch) -> None:
    follow = State.follow

    def disloyal(self: State, leader: NodeId) -> None:
        heard = self.heard
        follow(self, leader)
        self.heard = heard

    patch.setattr(State, "follow", disloyal)


@chance_finds
def leases_before_the_state_is_applied(patch: pytest.MonkeyPatch) -> None:
    def lease(s: State) -> int:
        lead = s.lead
        if lead is None or lead.transfer is not None:
            return 0
        return max(lead.contact + s.config.election_ticks_min - 2 - s.now, 0)

    patch.setattr(reads, "lease_ticks", lease)


@found_by("leases")
def leases_from_its_election(patch: pytest.MonkeyPatch) -> None:
    lead = replication.lead

    def eager(s: State) -> None:
        lead(s)
        assert s.lead is not None
        s.lead.contact = s.now

    patch.setattr(replication, "lead", eager)


@found_by("leases")
def leases_from_the_answer_instead_of_the_question(patch: pytest.MonkeyPatch) -> None:
    confirm = reads.confirm

    def late(s: State, lead: Lead) -> None:
        before = lead.contact
        confirm(s, lead)
        if lead.contact > before:
            lead.contact = s.now + 2

    patch.setattr(reads, "confirm", late)


@found_by("transfer")
def hands_over_while_leases_last(patch: pytest.MonkeyPatch) -> None:
    start = transfer.start

    def hasty(s: State, to: NodeId) -> None:
        start(s, to)
        assert s.lead is not None
        assert s.lead.transfer is not None
        s.lead.transfer.drained = s.now
        transfer.proceed(s)

    def lease(s: State) -> int:
        lead = s.lead
        if lead is None or s.log.applied < lead.first_index:
            return 0
        return max(lead.contact + s.config.election_ticks_min - 2 - s.now, 0)

    patch.setattr(transfer, "start", hasty)
    patch.setattr(reads, "lease_ticks", lease)


@found_by("transfer_fails")
def leases_again_after_an_order_that_may_still_arrive(patch: pytest.MonkeyPatch) -> None:
    proceed = transfer.proceed

    def forgiving(s: State) -> None:
        moving = s.lead.transfer if s.lead else None
        if s.lead and moving and moving.ordered and s.now >= moving.deadline:
            s.lead.transfer = None
        proceed(s)

    patch.setattr(transfer, "proceed", forgiving)


@found_by("membership_is_taken_back_with_its_entry")
def keeps_a_membership_that_was_truncated(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(History, "truncate", lambda _self, _index: None)


@found_by("membership_add_promote_remove")
def starts_a_second_change_before_the_first_is_committed(patch: pytest.MonkeyPatch) -> None:
    def settled(_self: History) -> int:
        return 0

    change = core.Raft.change

    def hasty(self: core.Raft, kind: membership.ChangeKind, node: NodeId) -> int:
        members = self._state.members
        real, members.latest_index = members.latest_index, 0
        try:
            return change(self, kind, node)
        finally:
            members.latest_index = max(real, members.latest_index)

    patch.setattr(core.Raft, "change", hasty)


@found_by("change_waits_for_the_first_commit")
def changes_members_before_its_first_commit(patch: pytest.MonkeyPatch) -> None:
    change = core.Raft.change

    def hasty(self: core.Raft, kind: membership.ChangeKind, node: NodeId) -> int:
        lead = self._state.lead
        if lead is None:
            return change(self, kind, node)
        real, lead.first_index = lead.first_index, 0
        try:
            return change(self, kind, node)
        finally:
            lead.first_index = real

    patch.setattr(core.Raft, "change", hasty)


@chance_finds
@found_by("learner_does_not_count")
def counts_learners(patch: pytest.MonkeyPatch) -> None:
    def agreed(values: Sequence[int]) -> int:
        return membership.agreed(values)

    def advance(s: State, lead: Lead) -> None:
        found = [s.log.stable, *[p.match for p in lead.progress.values()]]
        index = agreed(found)
        if index > s.log.commit and s.log.term(index) == s.term:
            s.log.commit = index

    patch.setattr(replication, "advance", advance)


@found_by("snapshot_keeps_matching_entries")
def a_snapshot_throws_away_matching_entries(patch: pytest.MonkeyPatch) -> None:
    def staged(self: core.Raft, mark: Any) -> bool:
        s = self._state
        if s.lead is not None or mark.index <= s.log.commit:
            return False
        s.log.restore(mark, s.number)
        s.members = History(mark)
        s.matched = mark.index
        return True

    patch.setattr(core.Raft, "snapshot_staged", staged)


@found_by("snapshot_counts_when_saved")
def acknowledges_a_snapshot_before_the_save(patch: pytest.MonkeyPatch) -> None:
    restore = Tail.restore

    def hasty(self: Tail, mark: Any, number: int) -> None:
        restore(self, mark, number)
        self.stable = mark.index

    patch.setattr(Tail, "restore", hasty)


@found_by("late_answers_of_an_earlier_term")
def counts_answers_of_earlier_terms(patch: pytest.MonkeyPatch) -> None:
    settle = core._settle_term

    def lax(s: State, sender: NodeId, message: Any) -> bool:
        if message.term < s.term and isinstance(message, AppendReply | HeartbeatReply | VoteReply):
            return True
        return settle(s, sender, message)

    patch.setattr(core, "_settle_term", lax)


@found_by("stale_leader_is_not_followed")
def follows_a_leader_of_an_earlier_term(patch: pytest.MonkeyPatch) -> None:
    settle = core._settle_term

    def lax(s: State, sender: NodeId, message: Any) -> bool:
        if message.term < s.term and isinstance(message, Append) and s.lead is None:
            return True
        return settle(s, sender, message)

    patch.setattr(core, "_settle_term", lax)


@found_by("pre_vote_does_not_disturb")
def stands_without_a_pre_vote(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(election, "campaign", partial(election.stand, transfer=False))


@found_by("check_quorum_steps_down")
def leads_on_alone(patch: pytest.MonkeyPatch) -> None:
    tick = passing._tick_leader

    def stubborn(s: State, lead: Lead) -> None:
        lead.alone = 0
        tick(s, lead)

    patch.setattr(passing, "_tick_leader", stubborn)


@found_by("calm_group")
def is_loyal_for_the_usual_time_to_a_leader_that_is_calm(patch: pytest.MonkeyPatch) -> None:
    hear = replication.hear

    def forgetful(s: State, leader: NodeId, late: int = 0) -> None:
        hear(s, leader, late)
        s.heard = s.now

    patch.setattr(replication, "hear", forgetful)


@found_by("calm_group_is_stirred")
def stays_calm_whatever_is_asked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(reads, "stir", lambda s, lead: None)


@found_by("a_member_that_is_ahead_gets_back_in")
def says_nothing_to_a_leader_behind(patch: pytest.MonkeyPatch) -> None:
    settle = core._settle_term

    def silent(s: State, sender: NodeId, message: Any) -> bool:
        return message.term > s.term and settle(s, sender, message)

    patch.setattr(core, "_settle_term", silent)


@found_by("snapshot_is_lost")
def believes_that_what_was_sent_arrived(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(core.Raft, "snapshot_sent", lambda _self, node: None)


@found_by("slow_disk_gives_way")
def clings_to_power_with_a_hanging_disk(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(transfer, "give_way", lambda _state: None)


@pytest.mark.parametrize("name", list(RANDOM))
def test_chance_finds_a_core_that(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    RANDOM[name](monkeypatch)
    found = first_violation(range(SEEDS_MAX))
    assert found is not None, f"{name} survived {SEEDS_MAX} seeds"


@pytest.mark.parametrize("name", list(DIRECTED))
def test_a_scenario_finds_a_core_that(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scenario, plant = DIRECTED[name]
    plant(monkeypatch)
    with pytest.raises((AssertionError, Fault)):
        replay(SCENARIOS / f"{scenario}.txt", Stage().play, rewrite=False)
