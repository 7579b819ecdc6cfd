"""One node's copy of the tree: the raft driver, the state it applies to, and the ways to its peers.

This is what happens on every node, leader or not. What only a leader does (`commits`, `reads`,
`locks`) stands on it through `watch`.

Faults, before the happy path: a failed sync stops the node (`broken`); a full disk refuses blobs
and keeps entries waiting (`saver`); a blob that is missing holds its entry back (`arrivals`); a
replica too far behind fetches the state (`snapshots`).
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Protocol

from blocktree.actors import Lane, Runtime
from blocktree.fault import Fault, Kind
from blocktree.names import Address, Buffer, Digest, Path
from blocktree.raft import Append, Entry, EntryKind, Message, NodeId, Role, SnapshotMark
from blocktree.sectors.transaction import Outcome
from blocktree.store.arrivals import Arrivals
from blocktree.store.between import RAFT_ACTOR, RaftMessages, SnapshotOffer
from blocktree.store.blobs import BlobFetcher, BlobReader
from blocktree.store.doubt import Doubt
from blocktree.store.driver import Driver
from blocktree.store.entries import Entries, Prepared
from blocktree.store.forwarding import Forwarder
from blocktree.store.host import Host
from blocktree.store.owners import BACKFILL_KEY, SCRUB_KEY
from blocktree.store.riders import Riders
from blocktree.store.snapshots import SnapshotFetcher, SnapshotSource
from blocktree.store.staging import Staging
from blocktree.store.tree import TreeState

log = logging.getLogger(__name__)

_MESSAGES_MAX = 256  # in one frame
_OFFER_SECONDS = 2.0


class Watch(Protocol):
    """Who is told what happens to the replica."""

    def applied(self, entry: Entry, prepared: Prepared | None, outcome: Outcome | None) -> None:
        """An entry took effect (outcome None: it was not a command)."""

    def restored(self) -> None:
        """The state was replaced by a snapshot's."""

    def led(self, term: int, role: Role, leader: NodeId) -> None:
        """Term, role or leader changed."""

    def broken(self, fault: Fault) -> None:
        """The node has to stop."""


class Replica:
    """The copy of one node; `me` is its name in the group."""

    def __init__(self, me: NodeId, runtime: Runtime, host: Host, watch: Watch) -> None:
        self.me = me
        self.runtime = runtime
        self.host = host
        self._watch = watch
        disk, crew = host.disk, host.crew
        self.tree = TreeState(disk)
        self.entries = Entries()
        self.driver = Driver(me, host, self, runtime.soon)
        self.staging = Staging(host, self.driver.saver, self.tree.is_needed)
        self.reader = BlobReader(disk, crew, self.tree.is_needed, self._known)
        self.fetcher = BlobFetcher(runtime, host, self.staging)
        self.forwarder = Forwarder(runtime, self.other_paths)
        self.riders = Riders(self._goes_alone)
        self.source = SnapshotSource(disk, host.worker, crew)
        self.snapshots = SnapshotFetcher(runtime, disk, host.worker, self._snapshot_here)
        self.arrivals = Arrivals(
            self.staging,
            self.fetcher,
            receive=self._receive,
            blobs_of=self.entries.blobs_of,
            sources=self.paths_from,
        )
        self.lacks: Callable[[Sequence[Digest]], None] = lambda _: None  # told what to fetch
        self.doubt = Doubt(self)
        self.failed: Fault | None = None
        self.heard: dict[NodeId, float] = {}

    # what its owner calls

    def start(self) -> None:
        """Pin what the log needs and let time pass."""
        self.staging.begin(self.driver.applied)
        if not self.doubt.active:
            self._pin_log()
        self.driver.start()
        self.doubt.start()

    def _pin_log(self) -> None:
        low, last = self.driver.applied + 1, self.host.disk.log.last_index
        while low <= last:
            for entry in self.host.disk.log.entries(low, last + 1, 1 << 20):
                self.staging.pin(entry.index, self.entries.blobs_of(entry))
                if (member := self.entries.joins(entry)) is not None:
                    self.tree.roster.expect(member)
                low = entry.index + 1

    def begin_anew(self) -> None:
        """The log was dropped, and perhaps the table: go on from what the disk holds."""
        self.driver.begin_anew()
        self.restored(self.host.disk.saved().mark)

    async def stop(self) -> None:
        """Stop everything that runs by itself."""
        self.driver.stop()
        for part in (self.doubt, self.arrivals, self.forwarder, self.snapshots, self.source):
            await part.stop()

    def path_of(self, node: NodeId) -> Path | None:
        """Where a node of the group is in the tree; None if no member has that key.

        An earlier key of this node's own path is nowhere: only this node is there now.
        """
        path = self.tree.roster.path_of(node)
        return None if path == self.runtime.here and node != self.me else path

    @property
    def leader_path(self) -> str:
        """The path of the leader, "" when there is none."""
        return self.path_of(self.driver.raft.leader) or ""

    @property
    def knows_term(self) -> bool:
        """Whether an entry of the present term is applied, and so all that came before it.

        Until then the state may be that of long ago: one who has just come to lead reads its log.
        """
        kept = self.host.disk.log
        applied = min(self.driver.applied, kept.last_index)
        return kept.term(applied) == self.driver.raft.term

    @property
    def in_repair(self) -> bool:
        """Whether the table may be of another time than `applied` says, so nobody may go by it."""
        return self.doubt.active or self.driver.restoring

    def not_leader(self) -> Fault:
        """What a request that only the leader can answer gets here."""
        fault = Fault(Kind.NOT_LEADER, "this node does not lead", next_step=self.leader_path)
        return self.doubt.fault() or fault

    def other_nodes(self) -> list[NodeId]:
        """The other voters and learners."""
        members = self.driver.membership
        return [node for node in (*members.voters, *members.learners) if node != self.me]

    def voter_paths(self) -> list[Path]:
        """Where the other voters are."""
        voters = [node for node in self.driver.membership.voters if node != self.me]
        return [path for node in voters if (path := self.path_of(node))]

    def other_paths(self) -> list[Path]:
        """Where they are."""
        return [path for node in self.other_nodes() if (path := self.path_of(node))]

    def paths_from(self, first: NodeId) -> list[Path]:
        """The other nodes' paths, `first` and then the leader in front.

        Who has just joined knows the group only from what it was told: those come last.
        """
        order = dict.fromkeys((first, self.driver.raft.leader, *self.other_nodes()))
        paths = [path for node in order if node != self.me and (path := self.path_of(node))]
        beside = self.tree.roster.paths_beside(self.runtime.here)
        return list(dict.fromkeys((*paths, *beside)))

    def take(self, sender: NodeId, path: Path, messages: Sequence[Message]) -> None:
        """Raft messages from another node of the tree, which is at `path`."""
        self.heard[sender] = self.host.clock()
        self.tree.roster.met(sender, path)
        if self.doubt.deaf:
            return
        self.driver.gather()
        try:
            for message in messages:
                self.arrivals.take(sender, message)
        finally:
            self.driver.act()

    def offered(self, sender: NodeId, offer: SnapshotOffer) -> None:
        """The leader says that this node is too far behind."""
        path = None if self.doubt.deaf else self.path_of(sender)
        if path and sender == self.driver.raft.leader and offer.term == self.driver.raft.term:
            self.snapshots.start(path)

    # the driver's machine

    def apply(self, entry: Entry) -> None:
        """Carry out a committed entry."""
        prepared = self.entries.take(entry)
        outcome = None
        if prepared is not None:
            gone, lost = self.staging.absent(prepared.blobs)
            outcome = self.tree.apply(entry.index, prepared, gone)
            committed = bool(outcome.changed)
            self.staging.applied(entry.index, prepared.blobs, committed=committed)
            if lost and committed:
                self.lacks(lost)
        elif entry.kind is EntryKind.MEMBERS:
            log.info("membership at %d", entry.index)
        self._watch.applied(entry, prepared, outcome)

    def restored(self, mark: SnapshotMark) -> None:
        """The table was replaced; what it names and is not here is fetched in the background."""
        log.info("the state of entry %d was installed", mark.index)
        self.tree.reload()
        self.staging.begin(mark.index)
        self.tree.overlay.put(BACKFILL_KEY, b"1")
        self.tree.overlay.delete(SCRUB_KEY)  # that note is another node's
        self._watch.restored()

    def send(self, to: NodeId, messages: Sequence[Message]) -> None:
        """Send, or lose."""
        path = self.path_of(to)
        if path is None:
            return
        address = Address(path, RAFT_ACTOR)
        for start in range(0, len(messages), _MESSAGES_MAX):
            part = tuple(messages[start : start + _MESSAGES_MAX])
            riding = self.riders.among(self._introduced(part)) if self.driver.leads else {}
            if riding:
                lengths = tuple([len(blob) for blob in riding.values()])
                frame = RaftMessages(to, part, lengths, b"".join(riding.values()))
            else:
                frame = RaftMessages(to, part)
            self.runtime.post(address, frame, lane=Lane.CONTROL)

    def _introduced(self, messages: Sequence[Message]) -> Iterator[Digest]:
        for message in messages:
            if isinstance(message, Append):
                for entry in message.entries:
                    yield from self.entries.blobs_of(entry)

    def send_snapshot(self, to: NodeId) -> None:
        """Offer the state, and look later whether it was fetched."""
        path = self.path_of(to)
        if path is not None:
            offer = SnapshotOffer(self.driver.raft.term)
            self.runtime.post(Address(path, RAFT_ACTOR), offer)
        loop = asyncio.get_running_loop()
        loop.call_later(_OFFER_SECONDS, partial(self._check_snapshot, to, loop.time()))

    def led(self, term: int, role: Role, leader: NodeId) -> None:
        """Term, role or leader changed."""
        log.info("term %d: %s, leader %s", term, role.name.lower(), self.path_of(leader) or "?")
        self._watch.led(term, role, leader)

    def names(self, digest: Digest) -> bool:
        """Whether an entry that is not applied yet names a blob."""
        return self.staging.pinned(digest)

    def broken(self, fault: Fault) -> None:
        """The disk failed."""
        self.failed = fault
        self._watch.broken(fault)

    # inside

    def _known(self) -> int:
        """The entry whose state the table is; 0 while that is not known."""
        return 0 if self.in_repair else self.driver.applied

    def _goes_alone(self, digest: Digest, blob: Buffer) -> None:
        self.forwarder.forward([digest], [blob], blob)

    def _receive(self, sender: NodeId, message: Message) -> None:
        try:
            self.driver.receive(sender, message)
        except Fault as fault:
            if fault.kind is Kind.DAMAGED:
                self.driver.forgot(fault)
            log.warning("a message from %s: %s", self.path_of(sender) or sender[:10], fault)

    def _snapshot_here(self, mark: SnapshotMark) -> None:
        self.driver.raft.snapshot_staged(mark)
        self.driver.kick()

    def _check_snapshot(self, node: NodeId, offered: float) -> None:
        """Nobody has fetched for a while, because all is there or because it broke off."""
        loop = asyncio.get_running_loop()
        if self.driver.leads and loop.time() - max(self.source.fetched, offered) >= _OFFER_SECONDS:
            self.driver.raft.snapshot_sent(node)
            self.driver.kick()
        elif self.driver.leads:
            loop.call_later(_OFFER_SECONDS, partial(self._check_snapshot, node, offered))
