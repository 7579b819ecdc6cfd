"""Links: mutual-TLS connections between the processes of a tree, and how they find each other.

`SPEC.md` states the handshake, the frames and the limits; `tests/link` proves them over real
sockets, and discovery in network namespaces.
"""

from blocktree.link.announcement import Found
from blocktree.link.beat import beat
from blocktree.link.discovery import Discovery
from blocktree.link.endpoint import DEFAULT_PORT, join_endpoint, split_endpoint
from blocktree.link.frames import Failure, Hello, Lane
from blocktree.link.link import Link
from blocktree.link.listener import Listener, listen
from blocktree.link.opening import Admit, Side, dial
from blocktree.link.pool import Links, Source
from blocktree.link.stagger import AllFailedError, stagger

__all__ = [
    "DEFAULT_PORT",
    "Admit",
    "AllFailedError",
    "Discovery",
    "Failure",
    "Found",
    "Hello",
    "Lane",
    "Link",
    "Links",
    "Listener",
    "Side",
    "Source",
    "beat",
    "dial",
    "join_endpoint",
    "listen",
    "split_endpoint",
    "stagger",
]
