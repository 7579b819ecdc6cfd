"""A stage for directed scenarios: real cores whose messages and saves wait for the director's word.

Commands (one a line; a block gives what happened since the block before):

    limit append_entries_max 1      (first of all) another limit than usual
    voters a b c            start these as the first voters; ticks are the usual ones
    spare d                 start a process that is nobody's member yet
    tick a 3                let time pass for one process
    stall a 30              so many ticks pass unnoticed: loyalty ends, timeouts do not
    wait 30                 the same for everybody
    campaign a              time passes for a, and only for a, until it asks for votes
    elect a                 wait 30, campaign, deliver
    propose a text          propose an entry
    read a 7                ask for read number 7
    change a add d          start a step of membership: add, promote, demote, remove
    transfer a b            hand leadership over
    deliver [a b]           deliver what is on its way (only from a to b), and what that causes
    between a b             deliver what goes to and fro between these two until nothing is left
    drop [a b]              lose what is on its way
    hold a b / let a b      keep messages from a to b on their way, or stop doing so
    save a [n]              finish the oldest n saves of a (all)
    slow a / fast a         saves of a wait for `save`, or finish at once (the usual)
    crash a [n]             lose memory and unfinished saves, but for the oldest n
    start a                 start again from the disk
    doubt a / trust a       start again from a disk that may have forgotten promises, or end that
    compact a               write a checkpoint, drop the log before it
    later a 48              time passes for a, all is delivered, only what comes of it is told
    burst a 1100            propose that many entries
    quiet                   tell nothing in the rest of this block
    copy a b / replay a b   remember what is on its way from a to b; send that again
    stage c a 2             a snapshot of a at index 2 arrives at c
    log a / show a / lease a    print the log, the positions, or the ticks its lease lasts
"""

import random
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from blocktree.fault import Fault
from blocktree.raft import (
    Append,
    AppendReply,
    CampaignNow,
    ChangeKind,
    Config,
    Entry,
    EntryKind,
    Heartbeat,
    HeartbeatReply,
    Membership,
    Message,
    NodeId,
    Raft,
    Ready,
    Role,
    Saved,
    SnapshotMark,
    VoteAsk,
    VoteReply,
)
from blocktree.sim.disk import EMPTY_MARK, Platter, Snapshot, Write
from blocktree.wire import decode

STEPS_MAX = 2000


class Actor:
    """One process on the stage."""

    def __init__(self, name: NodeId, platter: Platter, stage: "Stage") -> None:
        self.name = name
        self.platter = platter
        self.stage = stage
        self.slow = False
        self.raft: Raft | None = None
        self.start()

    def start(self, *, in_doubt: bool = False) -> None:
        self.saves: deque[tuple[Ready, Write]] = deque()
        self.view = self.platter.copy()
        mark = self.platter.checkpoint.mark
        self.applied = mark.index
        self.said: tuple[object, ...] = (Role.FOLLOWER, 0)
        self.raft = Raft(
            self.name,
            Saved(self.platter.hard_state, mark, in_doubt),
            self.view,
            self.stage.config,
            random.Random(self.name),
        )

    def crash(self, kept: int) -> None:
        for _, write in list(self.saves)[:kept]:
            self.platter.put(write)
        self.raft = None

    def save(self, count: int) -> None:
        assert self.raft is not None
        for _ in range(min(count, len(self.saves))):
            ready, write = self.saves.popleft()
            self.platter.put(write)
            self.raft.saved(ready.number)
        self.pump()

    def pump(self) -> None:
        raft = self.raft
        while raft is not None and (ready := raft.ready()) is not None:
            self._announce(raft)
            if ready.must_save:
                self._write(ready)
            for to, message in ready.send:
                self.stage.post(self.name, to, message)
            for node in ready.snapshots:
                self.stage.say(f"{self.name} is asked to send {node} a snapshot")
                self.stage.post(self.name, node, self.platter.checkpoint.mark)
            if ready.apply:
                self.stage.say(f"{self.name} applies {' '.join(map(brief, ready.apply))}")
                self.applied = ready.apply[-1].index
                raft.applied(self.applied)
            for request in ready.reads:
                self.stage.say(f"{self.name} answers read {request} at {self.applied}")
            for request in ready.reads_failed:
                self.stage.say(f"{self.name} fails read {request}")
        if raft is not None:
            self._announce(raft)

    def _write(self, ready: Ready) -> None:
        restore = Snapshot(ready.restore, {}) if ready.restore else None
        write = Write(restore, ready.hard_state, ready.entries)
        self.view.put(write)
        self.saves.append((ready, write))
        if restore:
            self.applied = restore.mark.index
            self.stage.say(f"{self.name} restores a snapshot at {self.applied}")
        if not self.slow:
            self.save(len(self.saves))

    def _announce(self, raft: Raft) -> None:
        now = (raft.role, raft.term)
        if now != self.said:
            self.said = now
            role = raft.role.name.lower().replace("_", "-")
            self.stage.say(f"{self.name} is {role} in term {raft.term}")


class Stage:
    """All of them, and the messages between them."""

    def __init__(self) -> None:
        self.actors: dict[str, Actor] = {}
        self.mail: deque[tuple[str, str, Message | SnapshotMark]] = deque()
        self.held: set[tuple[str, str]] = set()
        self.lines: list[str] = []
        self.config = Config()
        self.muted = False
        self.copied: list[tuple[str, str, Message | SnapshotMark]] = []

    def play(self, block: str) -> str:
        """Obey the commands of one block; what happened, line by line."""
        self.lines = []
        self.muted = False
        for line in block.splitlines():
            verb, *words = line.split()
            try:
                getattr(self, f"do_{verb}")(*words)
            except Fault as fault:
                self.say(f"refused: {fault.kind.name}: {fault}")
        return "\n".join(self.lines) or "ok"

    def say(self, text: str) -> None:
        if not self.muted:
            self.lines.append(text)

    def post(self, sender: str, to: str, message: Message | SnapshotMark) -> None:
        self.mail.append((sender, to, message))

    def do_limit(self, name: str, value: str) -> None:
        self.config = replace(self.config, **{name: int(value)})

    def do_voters(self, *names: str) -> None:
        mark = SnapshotMark(0, 0, Membership(tuple(map(NodeId, names))))
        for name in names:
            self.actors[name] = Actor(NodeId(name), Platter(Snapshot(mark, {})), self)

    def do_spare(self, name: str) -> None:
        self.actors[name] = Actor(NodeId(name), Platter(Snapshot(EMPTY_MARK, {})), self)

    def do_tick(self, name: str, count: str = "1") -> None:
        for _ in range(int(count)):
            self._with(name, Raft.tick)

    def do_wait(self, count: str) -> None:
        for name in self.actors:
            self.do_stall(name, count)

    def do_stall(self, name: str, count: str) -> None:
        self._with(name, partial(Raft.tick, elapsed=int(count)))

    def do_campaign(self, name: str) -> None:
        for _ in range(200):
            before = len(self.mail)
            self.do_tick(name)
            asks = [letter[2] for letter in list(self.mail)[before:]]
            if any(isinstance(ask, VoteAsk) for ask in asks) or self._leads(name):
                return

    def _leads(self, name: str) -> bool:
        raft = self.actors[name].raft
        return raft is None or raft.role is Role.LEADER

    def do_elect(self, name: str) -> None:
        self.do_wait("30")
        self._with(name, Raft.campaign)
        self.do_deliver()

    def do_propose(self, name: str, text: str) -> None:
        self._with(name, partial(Raft.propose, payload=text.encode()))

    def do_read(self, name: str, request: str) -> None:
        self._with(name, partial(Raft.read, request=int(request)))

    def do_change(self, name: str, kind: str, node: str) -> None:
        step = ChangeKind[kind.upper()]
        self._with(name, partial(Raft.change, kind=step, node=NodeId(node)))

    def do_transfer(self, name: str, to: str) -> None:
        self._with(name, partial(Raft.transfer, to=NodeId(to)))

    def do_deliver(self, sender: str = "", to: str = "") -> None:
        for _ in range(STEPS_MAX):
            place = self._next(sender, to)
            if place is None:
                return
            letter = self.mail[place]
            del self.mail[place]
            self._arrive(*letter)
        raise AssertionError("messages without end")

    def do_between(self, one: str, other: str) -> None:
        while self._next(one, other) is not None or self._next(other, one) is not None:
            self.do_deliver(one, other)
            self.do_deliver(other, one)

    def _next(self, sender: str, to: str) -> int | None:
        for place, (one, other, _) in enumerate(self.mail):
            if (one, other) not in self.held and (not sender or (one, other) == (sender, to)):
                return place
        return None

    def _arrive(self, sender: str, to: str, message: Message | SnapshotMark) -> None:
        actor = self.actors[to]
        if actor.raft is None:
            return
        self.say(f"{sender} → {to}: {describe(message)}")
        if isinstance(message, SnapshotMark):
            if not actor.raft.snapshot_staged(message):
                self.say(f"{to} needs no such snapshot")
            actor.pump()
            self._with(sender, partial(Raft.snapshot_sent, node=NodeId(to)))
        else:
            self._with(to, partial(Raft.receive, sender=NodeId(sender), message=message))

    def do_drop(self, sender: str = "", to: str = "") -> None:
        kept = [letter for letter in self.mail if sender and (letter[0], letter[1]) != (sender, to)]
        self.mail = deque(kept)

    def do_hold(self, sender: str, to: str) -> None:
        self.held.add((sender, to))

    def do_let(self, sender: str, to: str) -> None:
        self.held.discard((sender, to))

    def do_save(self, name: str, count: str = "1000") -> None:
        self.actors[name].save(int(count))

    def do_slow(self, name: str) -> None:
        self.actors[name].slow = True

    def do_fast(self, name: str) -> None:
        self.actors[name].slow = False
        self.do_save(name)

    def do_crash(self, name: str, kept: str = "0") -> None:
        self.actors[name].crash(int(kept))

    def do_start(self, name: str) -> None:
        self.actors[name].start()

    def do_doubt(self, name: str) -> None:
        self.actors[name].start(in_doubt=True)

    def do_trust(self, name: str) -> None:
        self._with(name, Raft.trust)

    def do_compact(self, name: str) -> None:
        actor = self.actors[name]
        assert actor.raft is not None
        mark = actor.raft.mark(actor.applied)
        write = Write(checkpoint=Snapshot(mark, {}))
        actor.platter.put(write)
        actor.view.put(write)
        actor.raft.compact(mark.index)

    def do_later(self, name: str, count: str) -> None:
        for _ in range(int(count)):
            self.do_tick(name)
            self.do_deliver()
        self.lines = [line for line in self.lines if "→" not in line]

    def do_burst(self, name: str, count: str) -> None:
        for number in range(int(count)):
            self.do_propose(name, f"e{number}")

    def do_quiet(self) -> None:
        self.muted = True

    def do_copy(self, sender: str, to: str) -> None:
        self.copied = [letter for letter in self.mail if (letter[0], letter[1]) == (sender, to)]

    def do_replay(self, sender: str, to: str) -> None:
        for letter in self.copied:
            assert (letter[0], letter[1]) == (sender, to)
            self._arrive(*letter)

    def do_stage(self, name: str, source: str, index: str) -> None:
        raft = self.actors[source].raft
        assert raft is not None
        self._arrive(source, name, raft.mark(int(index)))

    def do_log(self, name: str) -> None:
        view = self.actors[name].view
        self.say(f"{name}: {' '.join(map(brief, view.log)) or 'empty'}")

    def do_lease(self, name: str) -> None:
        raft = self.actors[name].raft
        ticks = raft.lease_ticks() if raft else 0
        self.say(f"{name}: {f'lease of {ticks} ticks' if ticks else 'no lease'}")

    def do_show(self, name: str) -> None:
        raft = self.actors[name].raft
        if raft is None:
            self.say(f"{name} is down")
            return
        role = raft.role.name.lower().replace("_", "-")
        members = " ".join(raft.membership.voters)
        learners = " ".join(raft.membership.learners)
        self.say(
            f"{name}: {role} in term {raft.term}, leader {raft.leader or '?'}, "
            f"last {raft.last_index}, commit {raft.commit}, voters {members}"
            + (f", learners {learners}" if learners else "")
        )

    def _with(self, name: str, act: Callable[[Raft], object]) -> None:
        actor = self.actors[name]
        if actor.raft is not None:
            try:
                act(actor.raft)
            finally:
                actor.pump()


def brief(entry: Entry) -> str:
    """`index:term text`, as short as can be."""
    if entry.kind is EntryKind.NOOP:
        text = "-"
    elif entry.kind is EntryKind.MEMBERS:
        membership = decode(entry.payload, Membership)
        text = "+".join(membership.voters) + "".join(f"~{name}" for name in membership.learners)
    else:
        text = entry.payload.decode()
    return f"{entry.index}:{entry.term}:{text}"


def describe(message: Message | SnapshotMark) -> str:
    """One line for one message."""
    match message:
        case VoteAsk(term, last_index, last_term, pre, transfer):
            kind = "pre-vote?" if pre else "vote?"
            ordered = " ordered by the leader" if transfer else ""
            return f"{kind} term {term}, log ends {last_index}:{last_term}{ordered}"
        case VoteReply(term, granted, pre):
            return f"{'pre-vote' if pre else 'vote'} {'yes' if granted else 'no'}, term {term}"
        case Append(term, index, previous_term, commit, entries):
            what = " ".join(map(brief, entries)) or "nothing"
            return f"append term {term} after {index}:{previous_term} {what}, commit {commit}"
        case AppendReply(term, index, True, hint, hint_term):
            return f"no {index}, try {hint}:{hint_term}, term {term}"
        case AppendReply(term, index):
            return f"holds up to {index}, term {term}"
        case Heartbeat(term, commit, turn, late):
            calm = f", the next {late} ticks later" if late else ""
            return f"heartbeat {turn} term {term}, commit {commit}{calm}"
        case HeartbeatReply(term, turn):
            return f"heard {turn}, term {term}"
        case CampaignNow(term):
            return f"campaign now, term {term}"
        case SnapshotMark(index, term, _):
            return f"snapshot at {index}:{term}"
