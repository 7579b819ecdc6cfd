"""Who gets new entries at once: a quorum does, the rest a moment later, several together.

An entry is committed when a quorum holds it, so at first it goes to no more processes than that
("thrifty": Moraru, Andersen and Kaminsky, SOSP 2013). The others, the reserve, are spared a
message, a sync and an answer for each. They get what was held back when the driver says so
(`Raft.release`), a few milliseconds later, or after HOLD_TICKS. If the quorum has not committed the
first of it by then, somebody in it is slow or gone: others take its place, and for a while, longer
each time, all get everything at once. So slow disks cost nobody more than now and then that wait.

Holding a message back is, to Raft, a slow network: always safe.
"""

from collections.abc import Mapping

from blocktree.raft.messages import EntryKind, NodeId
from blocktree.raft.progress import Pace, Progress
from blocktree.raft.state import Lead, State

HOLD_TICKS = 2
QUICKER = 0.5  # of the other's time
OPEN_DOUBLINGS_MAX = 6  # of the one tick for which nobody is held back after a quorum was late


def choose(state: State, lead: Lead) -> None:
    """Divide the other members anew; those that were asked first stay so."""
    voters = state.members.latest.voters
    others = [node for node in lead.order if node in voters]
    others += sorted(node for node in voters if node not in {*others, state.me})
    lead.order = others
    asked = len(voters) // 2 if state.me in voters else len(others)
    lead.reserve = frozenset(lead.progress.keys() - set(others[:asked]))


def prefer(state: State, lead: Lead, seconds: Mapping[NodeId, float]) -> None:
    """Have a follower that is much quicker change places with the slowest that is asked."""
    known = [node for node in lead.order if node in seconds]
    asked = [node for node in known if node not in lead.reserve]
    others = [node for node in known if node in lead.reserve]
    if not asked or not others:
        return
    slow, quick = max(asked, key=seconds.__getitem__), min(others, key=seconds.__getitem__)
    if seconds[quick] < QUICKER * seconds[slow]:
        change = {slow: quick, quick: slow}
        lead.order = [change.get(node, node) for node in lead.order]
        choose(state, lead)


def hold(state: State, lead: Lead, kind: EntryKind, size: int) -> None:
    """Decide about the entry that was just appended, and that stands for so many bytes."""
    index = state.log.last_index
    if lead.free == index - 1:  # it is the first
        lead.held_bytes, lead.held_since = 0, state.now
    lead.held_bytes += size
    if (
        kind is not EntryKind.NORMAL
        or not lead.reserve
        or lead.held_bytes >= state.config.hold_bytes_max
        or state.now < lead.open_until
        or lead.transfer is not None
    ):
        lead.free = index


def waits(lead: Lead, node: NodeId, progress: Progress) -> bool:
    """Whether what this follower lacks is held back."""
    return (
        progress.next > lead.free
        and node in lead.reserve
        and progress.pace is Pace.REPLICATE
        and not progress.nudge
    )


def held_from(state: State) -> int:
    """The first entry that is held back from somebody; 0 for none."""
    lead = state.lead
    return lead.free + 1 if lead is not None and lead.free < state.log.last_index else 0


def release(state: State, lead: Lead) -> None:
    """The time is up: what was held back goes to everybody with the next Ready."""
    if not held_from(state):
        return
    if state.log.commit > lead.free:
        lead.late = 0
    else:
        lead.order = [*lead.order[1:], *lead.order[:1]]
        choose(state, lead)
        lead.open_until = state.now + (1 << lead.late)
        lead.late = min(lead.late + 1, OPEN_DOUBLINGS_MAX)
    lead.free = state.log.last_index


def tick(state: State, lead: Lead) -> None:
    """Called every tick: what a driver without a finer clock holds back goes now."""
    if held_from(state) and state.now - lead.held_since >= HOLD_TICKS:
        release(state, lead)
