"""What the passing of time does to a process, and for how many ticks it will do nothing."""

from blocktree.raft import election, reads, reserve, transfer
from blocktree.raft.messages import NOBODY
from blocktree.raft.state import Lead, Role, State


def tick(state: State, elapsed: int) -> None:
    """One tick that is waited for, or a stall of so many: see `Raft.tick`."""
    state.now += elapsed
    if state.lead is not None:
        _tick_leader(state, state.lead)
        return
    state.elapsed += 1
    if state.elapsed >= state.timeout:
        election.campaign(state)
    elif state.role is Role.PRE_CANDIDATE:
        election.ask_again(state)


def quiet_ticks(state: State) -> int:
    """How many ticks from now will do nothing but count, unless something else happens."""
    lead, config = state.lead, state.config
    if lead is None:
        quiet = 0 if state.role is Role.PRE_CANDIDATE else state.timeout - state.elapsed - 1
    elif lead.transfer:
        quiet = 0
    else:
        quiet = lead.interval - lead.heartbeat - 1
        if lead.rounds:
            quiet = min(quiet, config.election_ticks_min - lead.alone)
        if reserve.held_from(state):
            quiet = min(quiet, lead.held_since + reserve.HOLD_TICKS - state.now - 1)
    return max(0, quiet)


def _tick_leader(state: State, lead: Lead) -> None:
    lead.alone = lead.alone + 1 if lead.rounds else 0
    if lead.alone > state.config.election_ticks_min:
        state.follow(NOBODY)  # check-quorum: a leader nobody hears must not answer for the group
        return
    lead.calm += 1
    lead.heartbeat += 1
    if lead.heartbeat >= lead.interval:
        reads.start_round(state, lead)
    reserve.tick(state, lead)
    transfer.give_way(state)
