"""One Ready from all that happened since the last: late decisions first, then everything in order.

What can be put off is decided here, once for all events since the last Ready: one message for many
proposals, one round for many reads, one acknowledgement for many entries.
"""

from blocktree.raft import reads, replication, transfer
from blocktree.raft.messages import HardState
from blocktree.raft.ready import Ready
from blocktree.raft.state import Lead, State


def gather(state: State) -> Ready | None:
    """The work since the last call, or None."""
    if state.lead is not None:
        transfer.proceed(state)
    lead = state.lead  # a failed transfer may have ended it
    if lead is not None:
        reads.gather(state, lead)
        replication.replicate(state, lead)
    else:
        replication.acknowledge(state)
    return _take(state, lead) if _is_due(state, lead) else None


def _is_due(state: State, lead: Lead | None) -> bool:
    log = state.log
    return bool(
        state.outbox
        or state.hard_dirty
        or state.reads_failed
        or log.has_unsaved(state.number)
        or log.has_apply()
        or (lead is not None and (lead.snapshots or reads.due(state, lead)))
    )


def _take(state: State, lead: Lead | None) -> Ready:
    number, log = state.number, state.log
    restore, entries = log.take_unsaved(number)
    hard_state = _take_hard_state(state)
    if hard_state is not None or entries or restore is not None:
        state.saving.append((number, state.now))
    send, state.outbox = tuple(state.outbox), []
    failed, state.reads_failed = tuple(state.reads_failed), []
    apply = log.take_apply(state.config.apply_bytes_max)
    done = reads.take(state, lead) if lead is not None else ()
    snapshots = tuple(lead.snapshots) if lead is not None else ()
    if lead is not None:
        lead.snapshots.clear()
    state.number += 1
    state.check()
    return Ready(number, restore, hard_state, entries, send, apply, done, failed, snapshots)


def _take_hard_state(state: State) -> HardState | None:
    if not state.hard_dirty:
        return None
    state.hard_dirty = False
    state.hard_number = state.number
    return HardState(state.term, state.vote)
