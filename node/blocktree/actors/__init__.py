"""Actors: mailboxes with addresses, in this process and in others.

`SPEC.md` states what travels on a link and what is promised; `tests/actors` proves it, within one
process and over real links.
"""

from blocktree.actors.actor import Actor, Call, Done, plays, receives
from blocktree.actors.later import Later
from blocktree.actors.runtime import Runtime
from blocktree.actors.supervision import Restarts
from blocktree.actors.timers import Timer
from blocktree.actors.watches import Down
from blocktree.link import Lane
from blocktree.names import Address

__all__ = [
    "Actor",
    "Address",
    "Call",
    "Done",
    "Down",
    "Lane",
    "Later",
    "Restarts",
    "Runtime",
    "Timer",
    "plays",
    "receives",
]
