"""Raft as a pure machine: messages, ticks and proposals go in, work to do comes out.

This is the door; the parts are `election`, `replication`, `reads`, `transfer`, over `state`, whose
docstring lists the invariants. Nothing here waits, reads a clock or touches a disk.
"""

from collections.abc import Callable, Mapping
from typing import Any

from blocktree.fault import Fault, Kind
from blocktree.raft import election, passing, reads, replication, reserve, transfer
from blocktree.raft.gather import gather
from blocktree.raft.log import Tail
from blocktree.raft.membership import ChangeKind, History, changed
from blocktree.raft.messages import (
    NOBODY,
    Append,
    AppendReply,
    CampaignNow,
    EntryKind,
    Heartbeat,
    HeartbeatReply,
    Membership,
    Message,
    NodeId,
    SnapshotMark,
    VoteAsk,
    VoteReply,
)
from blocktree.raft.progress import Pace
from blocktree.raft.ready import Config, Dice, Log, Ready, Saved
from blocktree.raft.state import Lead, Role, State
from blocktree.wire import decode, encode

SCAN_BYTES = 1 << 20
PROMOTE_GAP_MAX = 1024  # entries a learner may lack when it becomes a voter


class Raft:
    """One process's view of its group. Not thread-safe: call it from one thread.

    Args:
        me: this process; it need not be a member yet.
        saved: what it knows from its disk.
        log: its durable log.
        config: sizes and times, equal in the whole group.
        dice: election timeouts come from here, nothing else.

    Raises:
        Fault: DAMAGED if log and state machine do not meet.
    """

    def __init__(self, me: NodeId, saved: Saved, log: Log, config: Config, dice: Dice) -> None:
        members = History(saved.mark)
        low = saved.mark.index + 1
        while low <= log.last_index:
            for entry in log.entries(low, log.last_index + 1, SCAN_BYTES):
                if entry.kind is EntryKind.MEMBERS:
                    members.append(entry.index, decode(entry.payload, Membership))
                low = entry.index + 1
        tail = Tail(log, saved.mark.index)
        self._state = State(me, saved.hard_state, tail, members, config, dice)
        self._stirred = True  # whether anything happened since the last `ready`
        self._state.in_doubt = saved.in_doubt

    @property
    def term(self) -> int:
        """The present term."""
        return self._state.term

    @property
    def role(self) -> Role:
        """What this process is in its group."""
        return self._state.role

    @property
    def leader(self) -> NodeId:
        """The leader of the present term, "" when unknown."""
        return self._state.leader

    @property
    def commit(self) -> int:
        """The newest index known to be committed."""
        return self._state.log.commit

    @property
    def last_index(self) -> int:
        """The newest index in the log, saved or not."""
        return self._state.log.last_index

    @property
    def membership(self) -> Membership:
        """The membership in force, which may not be committed yet."""
        return self._state.members.latest

    @property
    def now_tick(self) -> int:
        """Ticks since the start."""
        return self._state.now

    @property
    def quorum_contact_tick(self) -> int:
        """When the newest round that a quorum answered was sent; -1 unless leader."""
        return self._state.lead.contact if self._state.lead else -1

    @property
    def patience_ticks(self) -> int:
        """How much longer than usual an election waits here, because the disk is slow."""
        return 2 * self._state.save_ticks

    @property
    def quiet_ticks(self) -> int:
        """How many ticks from now will do nothing but count, unless something else happens."""
        return passing.quiet_ticks(self._state)

    @property
    def is_settled(self) -> bool:
        """Whether the membership in force is committed."""
        return self._state.members.latest_index <= self._state.log.commit

    @property
    def in_doubt(self) -> bool:
        """Whether this process neither votes nor stands, for it may have forgotten a promise."""
        return self._state.in_doubt

    def trust(self) -> None:
        """What this process may have forgotten counts for nothing any more: it may vote.

        That holds when the group has committed, after this process came up, a membership in which
        it does not vote: of every two quorums, one before and one after it, the process that is in
        both is another one (`SPEC.md`, section "in doubt").
        """
        self._state.in_doubt = False

    @property
    def held_from(self) -> int:
        """The first entry that is held back from somebody (see `release`); 0 for none."""
        return reserve.held_from(self._state)

    def release(self) -> None:
        """Hold back no longer what was there at `held_from`: call it some milliseconds after that.

        Without it, it takes up to two ticks.
        """
        self._stirred = True
        if self._state.lead is not None:
            reserve.release(self._state, self._state.lead)

    def prefer(self, seconds: Mapping[NodeId, float]) -> None:
        """Tell how soon followers answered of late: entries go first to those who are quick."""
        if self._state.lead is not None:
            reserve.prefer(self._state, self._state.lead, seconds)

    def matches(self) -> dict[NodeId, int]:
        """How far each other member's log is known to equal ours; empty unless leader."""
        lead = self._state.lead
        return {node: p.match for node, p in lead.progress.items()} if lead else {}

    def lease_ticks(self) -> int:
        """For how many more ticks the applied state is the newest there is; 0 when not known."""
        return reads.lease_ticks(self._state)

    def receive(self, sender: NodeId, message: Message) -> None:
        """Take a message that the link proved to come from `sender`.

        Raises:
            Fault: CONTRACT for what no honest member sends; nothing was changed by it. DAMAGED if
                it shows that this process has forgotten what it acknowledged.
        """
        self._stirred = True
        state = self._state
        if state.in_doubt and isinstance(message, VoteAsk | CampaignNow):
            return
        if message.term != state.term and not _settle_term(state, sender, message):
            return
        _RECEIVE[type(message)](state, sender, message)

    def tick(self, elapsed: int = 1) -> None:
        """Let time pass. After a stall give the ticks that really passed in `elapsed`.

        Leases and loyalty count real ticks. Timeouts count a stall as one tick, so that what
        arrived meanwhile is read before this process believes itself alone.
        """
        self._stirred = True
        passing.tick(self._state, elapsed)

    def campaign(self) -> None:
        """Try to become leader now, unless loyalty to a leader forbids it."""
        self._stirred = True
        if self._state.lead is None:
            election.campaign(self._state)

    def propose(self, payload: bytes, beside: int = 0) -> int:
        """Append a NORMAL entry to the leader's log; it may still be lost until it is applied.

        Args:
            payload: what it carries.
            beside: how many bytes the driver sends along with it, outside of the log.

        Returns:
            Its index. It was committed if the entry applied there has the present `term`.

        Raises:
            Fault: NOT_LEADER (`next_step` names the leader if known), BUSY, TOO_LARGE.
        """
        self._stirred = True
        state = self._state
        lead = _leading(state)
        if len(payload) > state.config.payload_bytes_max:
            raise Fault(Kind.TOO_LARGE, f"an entry of {len(payload)} bytes")
        if lead.uncommitted_bytes >= state.config.uncommitted_bytes_max:
            raise Fault(Kind.BUSY, "too much waits to be committed")
        if transfer.closing(state):
            raise Fault(Kind.BUSY, "leadership is being handed over")
        return replication.append(state, lead, EntryKind.NORMAL, payload, beside)

    def read(self, request: int) -> None:
        """Ask for a linearizable read; `request` comes back in `Ready.reads` or `reads_failed`.

        Raises:
            Fault: NOT_LEADER (`next_step` names the leader if known), BUSY.
        """
        self._stirred = True
        reads.ask(self._state, request)

    def change(self, kind: ChangeKind, node: NodeId) -> int:
        """Start one step of membership.

        Returns:
            The index of its entry; the step is done when that is committed.

        Raises:
            Fault: NOT_LEADER; BUSY while another step or a transfer is under way, before the
                leader's first commit, or when a learner lacks too much to be promoted;
                CONFLICT for taking the vote from the leader itself; EXISTS, NOT_FOUND, USAGE.
        """
        self._stirred = True
        state = self._state
        lead = _leading(state)
        commit = state.log.commit
        if lead.transfer or commit < max(lead.first_index, state.members.latest_index):
            raise Fault(Kind.BUSY, "membership is still settling", next_step="try again")
        if node == state.me and kind is not ChangeKind.ADD:
            raise Fault(Kind.CONFLICT, "is the leader", path=node, next_step="transfer first")
        new = changed(state.members.latest, kind, node)
        if kind is ChangeKind.PROMOTE:
            lacks = state.log.last_index - lead.progress[node].match
            if lacks > PROMOTE_GAP_MAX:
                raise Fault(Kind.BUSY, f"lacks {lacks} entries", path=node, next_step="wait")
        index = replication.append(state, lead, EntryKind.MEMBERS, encode(new))
        state.members.append(index, new)
        replication.sync_members(state, lead)
        return index

    def transfer(self, to: NodeId) -> None:
        """Hand leadership to another voter, after all leases have ended.

        Raises:
            Fault: NOT_LEADER, BUSY, NOT_FOUND.
        """
        self._stirred = True
        transfer.start(self._state, to)

    def snapshot_staged(self, mark: SnapshotMark) -> bool:
        """A whole snapshot from a member is here: True if `Ready.restore` will ask for it.

        False means that it brings nothing new, and can be thrown away.
        """
        self._stirred = True
        state = self._state
        log = state.log
        if state.lead is not None or mark.index <= log.commit:
            return False
        if log.term(mark.index) == mark.term:  # our own log has it all: only the commit is news
            log.commit = mark.index
            state.matched = max(state.matched, mark.index)
            return False
        log.restore(mark, state.number)
        state.members = History(mark)
        state.matched = mark.index
        state.ack_due = True
        return True

    def snapshot_sent(self, node: NodeId) -> None:
        """Sending a snapshot to a follower ended, well or not.

        The core then asks the follower where it is: if it still lacks entries that are gone,
        `Ready.snapshots` names it again. After a failure wait a second before saying so.
        """
        self._stirred = True
        state = self._state
        progress = state.lead.progress.get(node) if state.lead else None
        if progress is not None and progress.pace is Pace.SNAPSHOT:
            progress.probe(state.log.first_index)
            progress.nudge = True

    def ready(self) -> Ready | None:
        """The work gathered since the last call, or None.

        One Ready takes all there is, so until something else happens there is nothing more.
        """
        stirred, self._stirred = self._stirred, False
        return gather(self._state) if stirred else None

    def saved(self, number: int) -> None:
        """Everything to save up to Ready `number` is durable, and `Log` shows it."""
        self._stirred = True
        state = self._state
        assert state.saved_number <= number < state.number, (number, state.number)
        state.saved_number = number
        state.log.saved(number)
        while state.saving and state.saving[0][0] <= number:
            took = state.now - state.saving.popleft()[1]
            state.save_ticks = max(took, (3 * state.save_ticks + took) // 4)
        state.release()
        if state.lead is not None:
            replication.advance(state, state.lead)
        else:
            election.own_vote(state)

    def applied(self, index: int) -> None:
        """The state machine is at `index`."""
        self._stirred = True
        log = self._state.log
        assert index <= log.handed_apply, (index, log)
        log.applied = max(log.applied, index)
        log.trim(self._state.config.tail_bytes_max)

    def compact(self, index: int) -> None:
        """The driver drops log entries up to `index`, which a durable checkpoint covers."""
        assert index <= self._state.log.applied, (index, self._state.log)
        self._state.members.compact(index)

    @property
    def first_mark(self) -> int:
        """The first index that can be marked: that of the checkpoint the core started from."""
        return self._state.members.first_index

    def mark(self, index: int) -> SnapshotMark:
        """The mark to write with a checkpoint or snapshot of the state at `index` ≤ applied.

        Raises:
            Fault: BUSY while a snapshot that replaces that state is being restored.
        """
        state = self._state
        if index < state.log.first_index - 1:
            raise Fault(Kind.BUSY, f"the state at {index} is being replaced")
        return SnapshotMark(index, state.log.term(index), state.members.at(index))


def _leading(state: State) -> Lead:
    if state.lead is None:
        raise Fault(Kind.NOT_LEADER, "this process does not lead", next_step=state.leader)
    return state.lead


def _settle_term(state: State, sender: NodeId, message: Message) -> bool:
    """Deal with a term that is not ours; whether the message still means something."""
    kind = type(message)
    if message.term < state.term:
        if kind is Append or kind is Heartbeat:
            # Without this answer a process that got ahead could never join a leader behind it.
            state.send(sender, AppendReply(state.term, 0, rejected=True))
        elif isinstance(message, VoteAsk):
            state.send(sender, VoteReply(state.term, granted=False, pre=message.pre))
        return False
    if isinstance(message, VoteAsk):
        if state.loyal() and not message.transfer:
            return False
        if message.pre:
            return True
    elif isinstance(message, VoteReply) and message.pre and message.granted:
        return True
    state.enter(message.term)
    state.follow(NOBODY)
    return True


_RECEIVE: dict[type, Callable[[State, NodeId, Any], None]] = {
    VoteAsk: election.on_vote_ask,
    VoteReply: election.on_vote_reply,
    Append: replication.on_append,
    AppendReply: replication.on_append_reply,
    Heartbeat: replication.on_heartbeat,
    HeartbeatReply: replication.on_heartbeat_reply,
    CampaignNow: election.on_campaign_now,
}
