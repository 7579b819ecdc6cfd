"""How a node is: what `bt status` shows and what a leader asks a learner."""

import resource
import sys
from pathlib import Path as File

from blocktree.raft import NodeId
from blocktree.raft import Role as RaftRole
from blocktree.sectors.header import SECTOR_BYTES
from blocktree.store.messages import PeerStatus, Role, Status
from blocktree.store.replica import Replica
from blocktree.store.scrub import Scrubber

_ROLES = {
    RaftRole.FOLLOWER: Role.FOLLOWER,
    RaftRole.PRE_CANDIDATE: Role.CANDIDATE,
    RaftRole.CANDIDATE: Role.CANDIDATE,
    RaftRole.LEADER: Role.LEADER,
}


def resident_bytes() -> int:
    """Memory this process holds just now."""
    try:
        pages = int(File("/proc/self/statm").read_text().split()[1])
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return pages * resource.getpagesize()


def status_of(replica: Replica, scrubber: Scrubber, *, sessions: int, missing: int) -> Status:
    """The status of this node."""
    driver, disk = replica.driver, replica.host.disk
    raft, stats = driver.raft, disk.stats()
    learner = replica.me not in driver.membership.voters or replica.doubt.active
    return Status(
        path=replica.runtime.here,
        role=Role.LEARNER if learner else _ROLES[raft.role],
        term=raft.term,
        leader=replica.leader_path,
        committed=raft.commit,
        applied=driver.applied,
        first_index=disk.log.first_index,
        last_index=disk.log.last_index,
        peers=tuple(_peer(replica, node) for node in replica.other_nodes()),
        blobs=stats.live // SECTOR_BYTES,
        bytes_used=stats.live + stats.dead + stats.index,
        bytes_free=stats.free,
        bytes_total=stats.live + stats.dead + stats.index + stats.free,
        staged_bytes=replica.staging.bytes_waiting,
        sessions=sessions,
        sync_us=int(stats.sync_p50 * 1e6),
        resident_bytes=resident_bytes(),
        faults=tuple(_faults(replica, missing, scrubber.left)),
        missing=missing,
        scrubbed=scrubber.ended,
        scrub_found=scrubber.found,
        scrub_left=scrubber.left,
    )


def _peer(replica: Replica, node: NodeId) -> PeerStatus:
    heard = replica.heard.get(node)
    return PeerStatus(
        path=replica.path_of(node) or replica.runtime.here,
        voter=node in replica.driver.membership.voters,
        matched=replica.driver.raft.matches().get(node, 0),
        heard_ms=-1 if heard is None else int((replica.host.clock() - heard) * 1000),
    )


def _faults(replica: Replica, missing: int, damaged: int) -> list[str]:
    found = []
    if replica.doubt.active:
        found.append(replica.doubt.sentence)
    if replica.failed is not None:
        found.append(str(replica.failed))
    if not replica.leader_path:
        found.append("no leader: too few nodes answer to decide")
    if replica.driver.saver.full:
        found.append("the disk is full: changes wait")
    elif replica.staging.room < replica.staging.reserve:
        found.append("the disk is nearly full: no new content is taken")
    if damaged:
        found.append(f"{damaged} damaged places are not repaired yet: bt scrub tells which")
    elif missing > 0:
        found.append(f"{missing} blobs are still to be fetched")
    return found
