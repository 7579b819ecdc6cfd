"""How entries spread: the leader's appends, the follower's acceptance, the commit point.

Thesis sections 3.5 and 3.6; the flow control (one probe, then many in flight) is section 10.2.
"""

from collections.abc import Sequence

from blocktree.fault import Fault, Kind
from blocktree.raft import reads, reserve
from blocktree.raft.log import UNKNOWN
from blocktree.raft.membership import agreed
from blocktree.raft.messages import (
    NOBODY,
    Append,
    AppendReply,
    Entry,
    EntryKind,
    Heartbeat,
    HeartbeatReply,
    Membership,
    NodeId,
)
from blocktree.raft.progress import Pace, Progress
from blocktree.raft.state import Lead, Role, State
from blocktree.wire import decode

LATE_TICKS_MAX = 200  # ten seconds


def lead(state: State) -> None:
    """Take power in the present term, and say so with an empty entry.

    The empty entry matters: a leader may count replicas only for entries of its own term (Figure 8,
    section 3.6.2), so older ones become committed with it.
    """
    assert state.vote == state.me, "nobody leads without its own durable vote"
    assert state.hard_durable(), "nobody leads without its own durable vote"
    state.role = Role.LEADER
    state.leader = state.me
    state.failed = 0
    state.votes.clear()
    never = state.now - state.config.election_ticks_min  # votes are no promise of loyalty
    state.lead = Lead(state.log.last_index + 1, never)
    sync_members(state, state.lead)
    append(state, state.lead, EntryKind.NOOP, b"")
    reads.start_round(state, state.lead)


def sync_members(state: State, lead: Lead) -> None:
    """Keep exactly one progress for every other member."""
    latest = state.members.latest
    members = {*latest.voters, *latest.learners} - {state.me}
    for gone in lead.progress.keys() - members:
        del lead.progress[gone]
    for node in sorted(members - lead.progress.keys()):
        lead.progress[node] = Progress(state.log.last_index + 1, nudge=True)
    reserve.choose(state, lead)


def append(state: State, lead: Lead, kind: EntryKind, payload: bytes, beside: int = 0) -> int:
    """Put one entry of this term at the end of the leader's log; so many bytes go beside it."""
    index = state.log.last_index + 1
    state.log.append(Entry(state.term, index, kind, payload))
    reads.stir(state, lead)
    reserve.hold(state, lead, kind, len(payload) + beside)
    lead.uncommitted_bytes += len(payload)
    return index


def on_append(state: State, sender: NodeId, message: Append) -> None:
    """A leader's entries: keep them if they continue the log, else say where to try."""
    _check_append(sender, message)
    hear(state, sender)
    log, entries, previous = state.log, message.entries, message.previous_index
    if previous < log.commit:
        entries = entries[log.commit - previous :]
        previous = log.commit  # what is committed equals any leader's log
    elif log.term(previous) != message.previous_term:
        hint, hint_term = log.find(previous, message.previous_term)
        state.send(sender, AppendReply(state.term, previous, True, hint, hint_term))  # noqa: FBT003
        return
    fresh = log.fresh(previous, entries)
    if fresh:
        _keep(state, sender, fresh)
    state.matched = max(state.matched, previous + len(entries))
    state.ack_due = True
    learn_commit(state, message.commit)


def _check_append(sender: NodeId, message: Append) -> None:
    index, term = message.previous_index, message.previous_term
    if index < 0 or term < 0:
        raise Fault(Kind.CONTRACT, "entries before the first", path=sender)
    for entry in message.entries:
        index += 1
        if entry.index != index or entry.term < term:
            raise Fault(Kind.CONTRACT, "entries out of order", path=sender)
        term = entry.term
    if term > message.term:
        raise Fault(Kind.CONTRACT, "entries of a later term than their leader's", path=sender)


def _keep(state: State, sender: NodeId, fresh: Sequence[Entry]) -> None:
    """Replace the log's end. All that can fail comes before the first change."""
    if fresh[0].index <= state.matched:
        raise Fault(Kind.CONTRACT, "a leader contradicts itself within its term", path=sender)
    members = [
        (entry.index, decode(entry.payload, Membership))
        for entry in fresh
        if entry.kind is EntryKind.MEMBERS
    ]
    state.members.truncate(fresh[0].index)
    state.log.extend(fresh)
    for index, membership in members:
        state.members.append(index, membership)


def on_heartbeat(state: State, sender: NodeId, message: Heartbeat) -> None:
    """The leader is there, and says how much later than usual the next heartbeat may come.

    A heartbeat's commit point never passes what this process acknowledged to this leader, so the
    log is equal up to there even if a restart made us forget it. If the log does not even reach
    there, it has lost what was durable.

    Raises:
        Fault: DAMAGED, nothing is changed: from now on this process is in doubt. CONTRACT if the
            next one is too late for a group that has to notice who is gone.
    """
    if not 0 <= message.late <= LATE_TICKS_MAX:
        raise Fault(Kind.CONTRACT, f"the next heartbeat {message.late} ticks late", path=sender)
    if message.commit > state.log.last_index and not state.in_doubt:
        raise Fault(
            Kind.DAMAGED,
            f"entry {message.commit} was acknowledged here, and the log ends at"
            f" {state.log.last_index}: the disk lost what it had called durable",
            next_step="start the node again, the others repair it; or replace the disk",
        )
    hear(state, sender, message.late)
    state.matched = max(state.matched, min(message.commit, state.log.last_index))
    learn_commit(state, message.commit)
    state.send(sender, HeartbeatReply(state.term, message.round))


def hear(state: State, leader: NodeId, late: int = 0) -> None:
    """Follow the leader of the present term, and be loyal to it for a while and `late` ticks."""
    if state.role is Role.LEADER:
        raise Fault(Kind.CONTRACT, f"also claims to lead term {state.term}", path=leader)
    state.heard = state.now + late
    if state.leader != leader or state.role is not Role.FOLLOWER:
        state.follow(leader)
    state.elapsed = -late


def learn_commit(state: State, commit: int) -> None:
    """The leader's commit point holds here as far as the logs are known to be equal."""
    state.log.commit = max(state.log.commit, min(commit, state.matched))


def acknowledge(state: State) -> None:
    """Called for every Ready: tell the leader what is durable here, once it is.

    With no durable term there is no acknowledgement: after a crash an older leader could still
    overwrite what was promised to this one.
    """
    if state.leader in (NOBODY, state.me) or not state.hard_durable():
        return
    index = min(state.matched, state.log.stable)
    if index > state.acked or (state.ack_due and index == state.matched):
        state.acked = index
        state.ack_due = index < state.matched
        state.send(state.leader, AppendReply(state.term, index))


def on_append_reply(state: State, sender: NodeId, message: AppendReply) -> None:
    """A follower accepted or rejected; either way it is known better now."""
    lead = state.lead
    progress = lead.progress.get(sender) if lead else None
    if lead is None or progress is None:
        return
    if message.rejected:
        _rejected(state, progress, message)
        return
    if message.index > state.log.last_index:
        raise Fault(Kind.CONTRACT, "acknowledges what was never sent", path=sender)
    news = progress.accepted(message.index)
    if progress.pace is Pace.PROBE or (
        progress.pace is Pace.SNAPSHOT and progress.match >= state.log.first_index - 1
    ):
        progress.replicate()
    if news:
        advance(state, lead)


def _rejected(state: State, progress: Progress, message: AppendReply) -> None:
    if progress.pace is Pace.REPLICATE:
        if message.index > progress.match:
            progress.probe(progress.match + 1)
    elif progress.pace is Pace.PROBE and message.index == progress.next - 1:
        at, _ = state.log.find(min(message.hint_index, message.index - 1), message.hint_term)
        progress.probe(at + 1)


def on_heartbeat_reply(state: State, sender: NodeId, message: HeartbeatReply) -> None:
    """A follower is there: unblock it, and count the round."""
    lead = state.lead
    progress = lead.progress.get(sender) if lead else None
    if lead is None or progress is None:
        return
    progress.answered(message.round, state.log.last_index)
    if progress.match < state.log.last_index:
        reads.stir(state, lead)  # it is there, and lacks something
    if min(message.round, lead.round) > progress.round:
        progress.round = min(message.round, lead.round)
        reads.confirm(state, lead)


def advance(state: State, lead: Lead) -> None:
    """Move the commit point to what a quorum of voters holds durably.

    Only an entry of this term may be counted (Figure 8); what is before it follows by log matching.
    """
    log, voters = state.log, state.members.latest.voters
    found = [log.stable if voter == state.me else lead.progress[voter].match for voter in voters]
    index = agreed(found)
    if index <= log.commit or log.term(index) != state.term:
        return
    low = max(log.commit + 1, lead.first_index)
    done = log.slice(low, index + 1, lead.uncommitted_bytes, index)
    lead.uncommitted_bytes -= sum([len(entry.payload) for entry in done])
    log.commit = index
    if state.members.latest_index <= index and state.me not in voters:
        state.follow(NOBODY)  # my removal is decided: the others go on without me


def replicate(state: State, lead: Lead) -> None:
    """Called for every Ready: send each follower what it lacks and may have by now.

    Followers at the same place get the same message object, so a driver can encode it once.
    """
    made: dict[int, Append] = {}
    for node, progress in lead.progress.items():
        if progress.next > state.log.last_index and not progress.nudge:
            continue
        if reserve.waits(lead, node, progress):
            continue
        while _send_next(state, lead, node, progress, made):
            pass


def _send_next(
    state: State, lead: Lead, node: NodeId, progress: Progress, made: dict[int, Append]
) -> bool:
    """Send one message; whether another may follow at once."""
    log, config = state.log, state.config
    if progress.pace is Pace.SNAPSHOT:
        if progress.nudge:  # ask whether the snapshot arrived: acceptance says so
            progress.nudge = False
            base = log.first_index - 1
            state.send(node, Append(state.term, base, log.term(base), log.commit, ()))
        return False
    if progress.waiting or (
        len(progress.inflight) >= config.inflight_messages_max
        or progress.inflight_bytes >= config.inflight_bytes_max
    ):
        return False
    message = made.get(progress.next) or _message(state, progress)
    if message is None:
        progress.need_snapshot()
        lead.snapshots.append(node)
        return False
    made[progress.next] = message
    progress.nudge = False
    state.send(node, message)
    if message.entries or progress.pace is Pace.PROBE:
        size = sum([len(entry.payload) for entry in message.entries])
        progress.sent(message.previous_index + len(message.entries), size)
    return progress.pace is Pace.REPLICATE and progress.next <= log.last_index


def _message(state: State, progress: Progress) -> Append | None:
    log, config, low = state.log, state.config, progress.next
    if low < log.first_index or log.term(low - 1) == UNKNOWN:
        return None
    entries: tuple[Entry, ...] = ()
    if low <= log.last_index:
        try:
            entries = log.slice(
                low, log.last_index + 1, config.append_bytes_max, config.append_entries_max
            )
        except Fault as fault:
            if fault.kind is not Kind.DAMAGED or low > log.applied:
                raise
            return None  # an old entry rotted: what it led to is sent instead
    return Append(state.term, low - 1, log.term(low - 1), log.commit, entries)
