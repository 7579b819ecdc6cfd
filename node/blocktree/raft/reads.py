"""Quorum rounds: one heartbeat answered by a quorum confirms reads and leases (section 6.4).

A group of which nothing is asked is calm: its rounds are rare, and each tells the followers how
much later than usual the next may come. They are loyal, and wait with an election, so much longer.

All reads that came since the last Ready share one round. A read may be answered from the state at
the commit point of the moment its round started: a quorum that answered it had not helped any later
leader by then, so nothing newer was acknowledged to anybody before the read began.
"""

from blocktree.fault import Fault, Kind
from blocktree.raft.membership import agreed
from blocktree.raft.messages import Heartbeat
from blocktree.raft.state import Lead, State

ROUNDS_MAX = 64  # unanswered rounds after which reads wait for the next heartbeat


def ask(state: State, request: int) -> None:
    """Queue a read for the next round."""
    lead = state.lead
    if lead is None:
        raise Fault(Kind.NOT_LEADER, "reads go to the leader", next_step=state.leader)
    if len(lead.reads_waiting) >= state.config.reads_max:
        raise Fault(Kind.BUSY, f"over {state.config.reads_max} reads wait")
    lead.reads_waiting.append(request)
    stir(state, lead)


def gather(state: State, lead: Lead) -> None:
    """Called for every Ready: start a round for the reads that wait.

    A leader knows the commit point only after it committed an entry of its own term.
    """
    settled = state.log.commit >= lead.first_index
    if lead.reads_waiting and settled and len(lead.rounds) < ROUNDS_MAX:
        lead.reads_running.append((lead.round + 1, state.log.commit, lead.reads_waiting))
        lead.reads_waiting = []
        start_round(state, lead)


def stir(state: State, lead: Lead) -> None:
    """Something is asked of the group: it is not calm, the next round comes in the usual time."""
    lead.calm = 0
    lead.interval = state.config.heartbeat_ticks


def start_round(state: State, lead: Lead) -> None:
    """Send a heartbeat to everybody; lost ones are made up for by the next round."""
    config = state.config
    calm = lead.calm >= config.calm_after_ticks
    lead.interval = config.calm_heartbeat_ticks if calm else config.heartbeat_ticks
    late = lead.interval - config.heartbeat_ticks
    lead.heartbeat = 0
    lead.round += 1
    lead.rounds.append((lead.round, state.now))
    for node, progress in lead.progress.items():
        commit = min(progress.match, state.log.commit)
        progress.latest = lead.round
        state.send(node, Heartbeat(state.term, commit, lead.round, late))
    confirm(state, lead)


def confirm(state: State, lead: Lead) -> None:
    """Count answers: the newest round that a quorum of voters answered settles all before it."""
    voters = state.members.latest.voters
    settled = agreed(
        [lead.round if voter == state.me else lead.progress[voter].round for voter in voters]
    )
    while lead.rounds and lead.rounds[0][0] <= settled:
        lead.contact = lead.rounds.popleft()[1]
        lead.alone = 0
    while lead.reads_running and lead.reads_running[0][0] <= settled:
        _, index, requests = lead.reads_running.popleft()
        lead.reads_confirmed.append((index, requests))


def due(state: State, lead: Lead) -> bool:
    """Whether `take` would give anything, now or after what can be applied."""
    return bool(lead.reads_confirmed) and lead.reads_confirmed[0][0] <= state.log.handed_apply


def take(state: State, lead: Lead) -> tuple[int, ...]:
    """The requests whose state is reached once everything handed out so far is applied."""
    done: list[int] = []
    while lead.reads_confirmed and lead.reads_confirmed[0][0] <= state.log.handed_apply:
        done += lead.reads_confirmed.popleft()[1]
    return tuple(done)


def lease_ticks(state: State) -> int:
    """For how many more ticks the state applied here is the newest there is.

    No other leader can exist (`State.loyal` has the proof), and everything that earlier leaders
    acknowledged is applied here once the first entry of this term is; what this leader itself
    acknowledges it has applied before, because its driver answers after applying.
    """
    lead = state.lead
    if lead is None or lead.transfer is not None or state.log.applied < lead.first_index:
        return 0
    until = lead.contact + state.config.election_ticks_min - state.config.lease_margin_ticks
    return max(until - state.now, 0)
