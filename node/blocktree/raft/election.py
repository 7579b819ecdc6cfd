"""How a leader is found: pre-votes, votes, and who may stand (thesis sections 3.4, 3.6, 9.6)."""

from blocktree.raft import replication
from blocktree.raft.membership import quorum
from blocktree.raft.messages import NOBODY, CampaignNow, NodeId, VoteAsk, VoteReply
from blocktree.raft.state import Role, State


def campaign(state: State) -> None:
    """The election timeout passed: ask first whether votes would be given (pre-vote).

    Pre-votes change nothing anywhere, so a process that was cut off cannot disturb the others with
    a high term when it comes back.
    """
    if not state.may_lead() or state.loyal():
        state.rest()
        return
    if state.role is Role.CANDIDATE:
        state.failed += 1
    state.role = Role.PRE_CANDIDATE
    state.leader = NOBODY
    state.votes.clear()
    state.rest()
    _ask(state, pre=True, transfer=False)
    _count(state, state.me, granted=True)


def ask_again(state: State) -> None:
    """Called while a pre-vote is open: voters may have been loyal, or the question lost.

    Asking costs nobody anything, and waiting for another election timeout would.
    """
    if state.elapsed % (2 * state.config.heartbeat_ticks) == 0:
        _ask(state, pre=True, transfer=False)


def stand(state: State, *, transfer: bool) -> None:
    """Enter the next term as candidate; the vote for oneself counts once it is durable.

    The vote requests wait for that save as well: they state the end of a log, and a candidate that
    crashed and lost that end must not find votes given to it in the same term.
    """
    state.follow(NOBODY)
    state.enter(state.term + 1)
    state.role = Role.CANDIDATE
    state.vote = state.me
    state.rest()
    _ask(state, pre=False, transfer=transfer)


def own_vote(state: State) -> None:
    """Called after saves: count my own vote when it is durable."""
    if state.role is Role.CANDIDATE and state.me not in state.votes and state.hard_durable():
        _count(state, state.me, granted=True)


def on_vote_ask(state: State, sender: NodeId, message: VoteAsk) -> None:
    """Give or refuse a vote. The term is mine, or later for a pre-vote."""
    log = state.log
    fresh = (message.last_term, message.last_index) >= (log.last_term, log.last_index)
    if message.pre:
        granted = fresh and message.term > state.term
        term = message.term if granted else state.term
        state.send(sender, VoteReply(term, granted, pre=True))
        return
    free = state.vote == sender or (state.vote == NOBODY and state.leader == NOBODY)
    if not (free and fresh):
        state.send(sender, VoteReply(state.term, granted=False, pre=False))
        return
    if state.vote != sender:
        state.vote = sender
        state.hard_dirty = True
    state.rest()
    state.send_durable(sender, VoteReply(state.term, granted=True, pre=False))


def on_vote_reply(state: State, sender: NodeId, message: VoteReply) -> None:
    """Count an answer to the question that is still open."""
    if message.pre:
        wanted = state.term + 1 if message.granted else state.term
        if state.role is not Role.PRE_CANDIDATE or message.term != wanted:
            return
    elif state.role is not Role.CANDIDATE or message.term != state.term:
        return
    _count(state, sender, granted=message.granted)


def on_campaign_now(state: State, sender: NodeId, _message: CampaignNow) -> None:
    """The leader hands over: stand at once, without pre-vote."""
    if sender == state.leader and state.me in state.members.latest.voters:
        stand(state, transfer=True)


def _ask(state: State, *, pre: bool, transfer: bool) -> None:
    term = state.term + 1 if pre else state.term
    ask = VoteAsk(term, state.log.last_index, state.log.last_term, pre, transfer)
    for voter in state.members.latest.voters:
        if voter == state.me:
            continue
        if pre:
            state.send(voter, ask)
        else:
            state.send_durable(voter, ask)


def _count(state: State, voter: NodeId, *, granted: bool) -> None:
    voters = state.members.latest.voters
    if voter in voters:  # a candidate outside its newest membership has no vote itself
        # A yes outweighs a no, which may be a late answer to an earlier pre-vote.
        state.votes[voter] = granted or state.votes.get(voter, False)
    voters_for = sum(state.votes.values())
    needed = quorum(len(voters))
    if voters_for >= needed:
        if state.role is Role.PRE_CANDIDATE:
            stand(state, transfer=False)
        else:
            replication.lead(state)
    elif len(state.votes) - voters_for > len(voters) - needed:
        state.follow(NOBODY)
