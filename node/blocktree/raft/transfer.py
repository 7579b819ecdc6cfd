"""Handing leadership over (thesis section 3.10), without breaking a lease.

Stages: no more leases; wait until the last one has ended while work goes on; refuse proposals and
wait until the target has everything; order its election. An election that a leader ordered
ignores loyalty, and the order may arrive arbitrarily late; so a leader that gave one and still
leads at the deadline moves itself to the next term the same way: the old order is then worthless.
"""

from blocktree.fault import Fault, Kind
from blocktree.raft import election
from blocktree.raft.messages import CampaignNow, NodeId
from blocktree.raft.progress import Pace
from blocktree.raft.state import State, Transfer


def start(state: State, to: NodeId) -> None:
    """Begin to hand over to a voter.

    Raises:
        Fault: NOT_LEADER, BUSY during another transfer, NOT_FOUND if `to` is not another voter.
    """
    lead = state.lead
    if lead is None:
        raise Fault(Kind.NOT_LEADER, "only the leader hands over", next_step=state.leader)
    if lead.transfer is not None:
        raise Fault(Kind.BUSY, "a transfer is under way", path=lead.transfer.to)
    if to == state.me or to not in state.members.latest.voters:
        raise Fault(Kind.NOT_FOUND, "is not another voter", path=to)
    drained = lead.contact + state.config.election_ticks_min
    lead.transfer = Transfer(to, drained, drained + 2 * state.config.election_ticks_max)
    lead.free = state.log.last_index  # it may be in reserve
    proceed(state)


def closing(state: State) -> bool:
    """Whether proposals are refused because leadership is about to change."""
    transfer = state.lead.transfer if state.lead else None
    return transfer is not None and state.now >= transfer.drained


def proceed(state: State) -> None:
    """Called when time passed or a follower got on: order the election when all is ready."""
    lead = state.lead
    transfer = lead.transfer if lead else None
    if lead is None or transfer is None:
        return
    progress = lead.progress.get(transfer.to)
    if progress is None or state.now >= transfer.deadline:
        lead.transfer = None
        if transfer.ordered:
            election.stand(state, transfer=True)
    elif closing(state) and not transfer.ordered and progress.match == state.log.last_index:
        transfer.ordered = True
        state.send(transfer.to, CampaignNow(state.term))


def give_way(state: State) -> None:
    """Called every tick: a leader whose disk holds everybody up hands over to the best other."""
    lead = state.lead
    assert lead is not None
    if state.log.commit <= state.log.stable:
        lead.stuck = 0
        return
    lead.stuck += 1
    if lead.stuck < 2 * state.config.election_ticks_max or lead.transfer is not None:
        return
    voters = [node for node in state.members.latest.voters if node != state.me]
    best = max(voters, key=lambda node: (lead.progress[node].match, node), default=None)
    if best is not None and lead.progress[best].pace is Pace.REPLICATE:
        lead.stuck = 0
        start(state, best)
