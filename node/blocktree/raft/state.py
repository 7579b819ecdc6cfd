"""All that one member of a group knows, and the few moves that every part shares.

Invariants (asserted by `check` after every Ready, and where they could break):

1. The term never goes back; the vote changes at most once a term, from nobody to somebody.
2. `lead` is there exactly while the role is LEADER; then `leader` is me and my vote in this term
   was durable before I won.
3. `matched` ≤ last_index: up to there the log equals the log of this term's leader. Within a term
   it only grows. What is acknowledged is min(matched, stable), and only with a durable term.
4. A held message leaves when the Ready that carries the hard state it relies on is durable.
5. `reads` of a leader are answered only when a quorum answered a round that started after them.
"""

from collections import deque
from enum import IntEnum, unique

from blocktree.raft.log import Tail
from blocktree.raft.membership import History
from blocktree.raft.messages import NOBODY, HardState, Message, NodeId
from blocktree.raft.progress import Pace, Progress
from blocktree.raft.ready import Config, Dice

HELD_MAX = 256  # votes and vote requests that wait for a slow disk; older ones are lost
BACKOFF_MAX = 3  # elections failed in a row that still widen the timeout (by doubling)


@unique
class Role(IntEnum):
    """What a process is in its group right now."""

    FOLLOWER = 1
    PRE_CANDIDATE = 2
    CANDIDATE = 3
    LEADER = 4


class Transfer:
    """A leader on its way out."""

    __slots__ = ("deadline", "drained", "ordered", "to")

    def __init__(self, to: NodeId, drained: int, deadline: int) -> None:
        self.to = to
        self.drained = drained  # the tick at which every lease given so far has ended
        self.deadline = deadline
        self.ordered = False  # CampaignNow was sent


class Lead:
    """What only a leader knows; gone with its term."""

    __slots__ = (
        "alone",
        "calm",
        "contact",
        "first_index",
        "free",
        "heartbeat",
        "held_bytes",
        "held_since",
        "interval",
        "late",
        "open_until",
        "order",
        "progress",
        "reads_confirmed",
        "reads_running",
        "reads_waiting",
        "reserve",
        "round",
        "rounds",
        "snapshots",
        "stuck",
        "transfer",
        "uncommitted_bytes",
    )

    def __init__(self, first_index: int, contact: int) -> None:
        self.first_index = first_index  # of this term
        self.progress: dict[NodeId, Progress] = {}  # every other member
        self.heartbeat = 0  # ticks since the last round
        self.interval = 0  # ticks from that to the next
        self.calm = 0  # ticks since something was asked of the group
        self.alone = 0  # ticks that a round has waited for a quorum
        self.stuck = 0  # ticks for which others committed what my own disk has not saved
        self.contact = contact  # when the newest round that a quorum answered was sent
        self.round = 0
        self.rounds: deque[tuple[int, int]] = deque()  # (round, tick it was sent), unanswered
        self.reads_waiting: list[int] = []  # for the next round
        self.reads_running: deque[tuple[int, int, list[int]]] = deque()  # (round, index, requests)
        self.reads_confirmed: deque[tuple[int, list[int]]] = deque()  # (index, requests)
        self.snapshots: list[NodeId] = []  # followers that need one, not yet told
        self.transfer: Transfer | None = None
        self.uncommitted_bytes = 0
        self.order: list[NodeId] = []  # the other voters, those that get entries at once first
        self.reserve: frozenset[NodeId] = frozenset()  # who gets them a little later (`reserve`)
        self.free = first_index - 1  # entries up to here are held back from nobody
        self.held_bytes = 0  # of those after it
        self.held_since = 0  # the tick of the first of them
        self.late = 0  # times in a row that the quorum had not committed them in time
        self.open_until = 0  # the tick before which nothing is held back


class State:
    """One member of a group."""

    __slots__ = (
        "ack_due",
        "acked",
        "config",
        "dice",
        "elapsed",
        "failed",
        "hard_dirty",
        "hard_number",
        "heard",
        "held",
        "in_doubt",
        "lead",
        "leader",
        "log",
        "matched",
        "me",
        "members",
        "now",
        "number",
        "outbox",
        "reads_failed",
        "role",
        "save_ticks",
        "saved_number",
        "saving",
        "term",
        "timeout",
        "vote",
        "votes",
    )

    def __init__(  # noqa: PLR0917 - wiring, called once
        self,
        me: NodeId,
        hard_state: HardState,
        log: Tail,
        members: History,
        config: Config,
        dice: Dice,
    ) -> None:
        self.me = me
        self.config = config
        self.dice = dice
        self.log = log
        self.members = members
        self.term = hard_state.term
        self.vote = hard_state.vote
        self.role = Role.FOLLOWER
        self.leader = NOBODY
        self.lead: Lead | None = None
        self.votes: dict[NodeId, bool] = {}
        self.matched = log.commit
        self.acked = 0  # the last index acknowledged to this leader
        self.ack_due = False
        self.now = 0  # ticks since the start, stalls included
        self.elapsed = 0  # ticks since something spoke against an election, stalls counted once
        # A process that was away may have just promised loyalty (see `loyal`): count it as heard.
        self.heard = 0 if self.term else -config.election_ticks_min
        self.in_doubt = False  # neither votes nor stands: see `Raft.trust`
        self.failed = 0  # elections lost in a row
        self.save_ticks = 0  # how long saves take, the worst of late
        self.saving: deque[tuple[int, int]] = deque()  # (Ready number, tick it was handed out)
        self.number = 1  # of the next Ready
        self.saved_number = 0
        self.hard_dirty = False
        self.hard_number = 0  # the Ready that carries the hard state
        self.outbox: list[tuple[NodeId, Message]] = []
        self.held: deque[tuple[int, NodeId, Message]] = deque(maxlen=HELD_MAX)
        self.reads_failed: list[int] = []
        self.timeout = 0
        self.rest()

    def send(self, to: NodeId, message: Message) -> None:
        """Let a message leave with the next Ready."""
        self.outbox.append((to, message))

    def send_durable(self, to: NodeId, message: Message) -> None:
        """Let a message leave once the present term and vote are durable."""
        if self.hard_durable():
            self.outbox.append((to, message))
        else:
            number = self.number if self.hard_dirty else self.hard_number
            self.held.append((number, to, message))

    def hard_durable(self) -> bool:
        """Whether a crash now would keep the present term and vote."""
        return not self.hard_dirty and self.hard_number <= self.saved_number

    def release(self) -> None:
        """Let the held messages go whose hard state became durable."""
        while self.held and self.held[0][0] <= self.saved_number:
            _, to, message = self.held.popleft()
            self.outbox.append((to, message))

    def loyal(self) -> bool:
        """Whether a leader was heard so lately that no other may be helped to power.

        This carries the leases. A leader's round sent at t and answered by a quorum means that each
        of that quorum stays loyal until t + election_ticks_min at least; any election needs one
        of them, as voter or as candidate. So no other leader can exist before that, and what a
        client reads under a lease that ends then is never stale. A restarted process cannot know
        whom it heard, and counts its start as hearing. Only an election that the leader itself
        ordered passes, and it orders one only after every lease has ended (`transfer`).
        """
        if self.lead is not None:
            return True
        return self.now - self.heard < self.config.election_ticks_min

    def rest(self) -> None:
        """Start a new election timeout, longer after failed elections and for votes on slow disks.

        A vote costs a save on both sides: a candidate less patient than that could never win. Who
        only waits for its leader need not be patient, for heartbeats wait for no disk.
        """
        config = self.config
        low, high = config.election_ticks_min, config.election_ticks_max
        wide = (high - low) << min(self.failed, BACKOFF_MAX)
        self.elapsed = 0
        alone = self.members.latest.voters == (self.me,)
        self.timeout = 1 if alone else self.dice.randint(low, low + wide)
        if self.role is Role.CANDIDATE:
            self.timeout += 2 * self.save_ticks

    def enter(self, term: int) -> None:
        """Move to a later term, knowing nobody in it yet."""
        assert term > self.term, (term, self.term)
        self.term = term
        self.vote = NOBODY
        self.hard_dirty = True
        self.matched = self.log.commit  # a leader's log holds everything committed
        self.acked = 0
        self.ack_due = False

    def follow(self, leader: NodeId) -> None:
        """Be a follower of `leader` ("" = nobody known) in the present term."""
        lead, self.lead = self.lead, None
        if lead is not None:
            self.heard = max(self.heard, lead.contact)  # I answered my own rounds, too
            self.reads_failed += lead.reads_waiting
            for _, _, requests in lead.reads_running:
                self.reads_failed += requests
            for _, requests in lead.reads_confirmed:
                self.reads_failed += requests
        if leader and leader != self.leader:
            self.failed = 0
        self.role = Role.FOLLOWER
        self.leader = leader
        self.votes.clear()
        self.rest()

    def may_lead(self) -> bool:
        """Whether I may stand for election.

        A process outside its newest membership still may while that membership is not known to be
        committed: its log may be the only one that can win (thesis section 4.2.2).
        """
        members, me = self.members, self.me
        if self.in_doubt:
            return False
        if me in members.latest.voters:
            return True
        return members.latest_index > self.log.commit and me in members.at(self.log.commit).voters

    def check(self) -> None:
        """Assert the invariants."""
        self.log.check()
        assert (self.role is Role.LEADER) == (self.lead is not None), self.role
        assert self.matched <= self.log.last_index, (self.matched, self.log)
        if self.lead is not None:
            assert self.leader == self.vote == self.me, (self.leader, self.vote)
            for progress in self.lead.progress.values():
                assert progress.match < progress.next <= self.log.last_index + 1, progress
                assert progress.pace is Pace.PROBE or not progress.waiting, progress
