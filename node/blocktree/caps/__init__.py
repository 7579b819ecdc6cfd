"""Who may do what (rights), and who can read what (read caps and key rings).

Rights are checked by the sector service and again by every reader; confidentiality needs nobody's
goodwill, since a key is sealed to whom it is meant for. `SPEC.md` states the records;
`tests/vectors/access` pins them.
"""

from blocktree.caps.access import (
    Access,
    ReadCap,
    check_access,
    check_accesses,
    check_succession,
    load_access,
    sign_access,
)
from blocktree.caps.right import Grant, Right, grant_to, require, rights_of
from blocktree.caps.ring import KeyRing, open_ring
from blocktree.caps.seal import open_key, seal_key
from blocktree.caps.share import new_access, open_read_cap, revoke, share, withdraw

__all__ = [
    "Access",
    "Grant",
    "KeyRing",
    "ReadCap",
    "Right",
    "check_access",
    "check_accesses",
    "check_succession",
    "grant_to",
    "load_access",
    "new_access",
    "open_key",
    "open_read_cap",
    "open_ring",
    "require",
    "revoke",
    "rights_of",
    "seal_key",
    "share",
    "sign_access",
    "withdraw",
]
