"""Who is who: principals, certificate chains, tickets, recovery words.

Certificates name, the tree decides: a chain proves a path and a key, a `Member` record in the tree
admits it. `SPEC.md` states the profile; `tests/vectors/chain` and `tests/vectors/ticket` pin it.
"""

from blocktree.keys.certificate import MemberKind, TicketMark
from blocktree.keys.chain import Identity, check_chain, judge_ticket, judge_time
from blocktree.keys.credential import (
    Credential,
    check_credential,
    issue,
    judge_clock,
    new_credential,
    process_credential,
)
from blocktree.keys.member import Member, check_member, member_of
from blocktree.keys.passphrase import open_credential, seal_credential
from blocktree.keys.principal import Draw, Key, Principal
from blocktree.keys.recovery import decode_words, encode_words
from blocktree.keys.ticket import (
    Ticket,
    decode_ticket,
    encode_ticket,
    join_from_ticket,
    new_ticket,
)
from blocktree.keys.tree import NewTree, new_tree, restore_owner, user_path
from blocktree.keys.welcome import (
    Welcome,
    decode_request,
    decode_welcome,
    encode_request,
    encode_welcome,
)

__all__ = [
    "Credential",
    "Draw",
    "Identity",
    "Key",
    "Member",
    "MemberKind",
    "NewTree",
    "Principal",
    "Ticket",
    "TicketMark",
    "Welcome",
    "check_chain",
    "check_credential",
    "check_member",
    "decode_request",
    "decode_ticket",
    "decode_welcome",
    "decode_words",
    "encode_request",
    "encode_ticket",
    "encode_welcome",
    "encode_words",
    "issue",
    "join_from_ticket",
    "judge_clock",
    "judge_ticket",
    "judge_time",
    "member_of",
    "new_credential",
    "new_ticket",
    "new_tree",
    "open_credential",
    "process_credential",
    "restore_owner",
    "seal_credential",
    "user_path",
]
