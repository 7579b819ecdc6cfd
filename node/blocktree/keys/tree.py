"""The beginning of a tree: root key, owner, first user; and the owner's return from paper."""

from dataclasses import dataclass, field

from blocktree.fault import Fault, Kind
from blocktree.keys.certificate import MemberKind
from blocktree.keys.credential import Credential, new_credential, root_credential
from blocktree.keys.member import Member, member_of
from blocktree.keys.passphrase import COST, seal_credential
from blocktree.keys.principal import Draw, Key
from blocktree.keys.recovery import decode_words, encode_words
from blocktree.names import Path, TreeId, join, parse_name

USERS = "users"  # the directory that holds one directory for each user


@dataclass(frozen=True, slots=True)
class NewTree:
    """What `bt init` stores, prints and forgets. The root key is in the words and nowhere else."""

    alias: str
    tree: TreeId
    words: tuple[str, ...] = field(repr=False)  # print, then forget
    root: bytes  # the root certificate, DER
    owner: Credential  # to sign the first records with; never saved in the clear
    owner_sealed: bytes  # save
    user: Credential  # save, readable by the user alone
    members: tuple[Member, ...]  # the first members: owner and user


def user_path(tree: TreeId, user: str) -> Path:
    """Where a user lives: `/<tree>/users/<name>`.

    Raises:
        Fault: USAGE if `user` cannot be a name.
    """
    return join(Path(f"/{tree}"), USERS, parse_name(user))


def new_tree(  # everything a tree begins with
    alias: str, user: str, *, now: int, passphrase: str, draw: Draw, cost: int = COST
) -> NewTree:
    """Make a tree. `draw` gives unpredictable bytes, `cost` is log2 of scrypt's N.

    Raises:
        Fault: USAGE for names that cannot be or an empty passphrase; EXPIRED if the clock is wrong
            by years.
    """
    parse_name(alias)
    root_key = Key.generate(draw)
    root = root_credential(root_key)
    owner = _new_owner(root, now, draw)
    person = new_credential(owner, MemberKind.USER, user_path(root.tree, user), now=now, draw=draw)
    return NewTree(
        alias=alias,
        tree=root.tree,
        words=encode_words(root_key),
        root=root.chain[0],
        owner=owner,
        owner_sealed=seal_credential(owner, passphrase, draw, cost=cost),
        user=person,
        members=(member_of(owner.identity), member_of(person.identity)),
    )


def restore_owner(words: str, *, tree: TreeId | None, now: int, draw: Draw) -> Credential:
    """Make a new owner key from the recovery words; the old one is then to be removed.

    The root certificate follows from the words alone, so all chains of the tree hold on.

    Raises:
        Fault: MALFORMED for mistyped words; WRONG_TREE if they are another tree's.
    """
    root = root_credential(decode_words(words))
    if tree is not None and root.tree != tree:
        raise Fault(Kind.WRONG_TREE, "these are the recovery words of another tree")
    return _new_owner(root, now, draw)


def _new_owner(root: Credential, now: int, draw: Draw) -> Credential:
    return new_credential(root, MemberKind.OWNER, root.path, now=now, draw=draw)
