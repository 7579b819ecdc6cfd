"""Every access that `tests/vectors/access` pins: who has which rights, and each way to fail."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cbor2

from blocktree.caps import Access, Right
from blocktree.fault import Kind
from blocktree.keys import Credential
from blocktree.names import ROOT_FILE, Path
from blocktree.wire import encode
from caps.home import (
    ANNA,
    BOB,
    CAROL,
    HERE,
    HOLIDAYS,
    LAPTOP,
    NODE,
    OWNER,
    PHOTOS,
    ROOT_ACCESS,
    TREE,
    access,
    give,
)


@dataclass(frozen=True)
class Case:
    """Accesses from the root down, somebody, and what that one may do; or the fault."""

    why: str
    accesses: Sequence[bytes]
    who: Credential
    rights: Right = Right.NONE
    expect: Kind | None = None


def cases() -> dict[str, Case]:
    return {**dict(_rights()), **dict(_signers()), **dict(_forms())}


def path(*accesses: Access) -> list[bytes]:
    return [encode(one) for one in accesses]


def _rights() -> Iterator[tuple[str, Case]]:
    root = path(ROOT_ACCESS)
    some = Right.READ | Right.WRITE
    yield "owner", Case("the owner may everything", root, OWNER, Right.ALL)
    yield "principal", Case("a grant to a principal", root, BOB, Right.READ)
    yield "process_of_user", Case("her laptop acts for her", root, LAPTOP, Right.ALL)
    yield "nobody", Case("a node has no rights by itself", root, NODE)
    below = access(ANNA, PHOTOS, give(BOB, Right.WRITE))
    added = path(ROOT_ACCESS, below)
    yield "inherited", Case("rights add up on the way down", added, BOB, some)
    far = path(ROOT_ACCESS, below, access(ANNA, HOLIDAYS))
    yield "inherited_twice", Case("and stay", far, BOB, some)
    users = path(ROOT_ACCESS, access(ANNA, PHOTOS, give(Path(f"{HERE}/users"), Right.SEND)))
    yield "path", Case("a path and all below it", users, LAPTOP, Right.ALL)
    yield "path_bob", Case("added to what he has", users, BOB, Right.READ | Right.SEND)
    yield "path_elsewhere", Case("a node is not below /users", users, NODE)
    ann = path(ROOT_ACCESS, access(ANNA, PHOTOS, give(Path(f"{HERE}/pi"), Right.ALL)))
    yield "prefix_of_a_name", Case("/pi is not above /pi-1", ann, NODE)
    garden = path(ROOT_ACCESS, access(ANNA, PHOTOS, give(CAROL, Right.READ)))
    yield "other_tree", Case("a principal of another tree", garden, CAROL, Right.READ)
    all_of = path(ROOT_ACCESS, access(ANNA, PHOTOS, give(Path(f"/{CAROL.tree}"), Right.READ)))
    yield "other_tree_path", Case("everybody of another tree", all_of, CAROL, Right.READ)
    yield "other_tree_not_us", Case("but not of ours", all_of, NODE)
    open_house = path(ROOT_ACCESS, access(ANNA, PHOTOS, give(HERE, Right.READ)))
    yield "whole_tree", Case("everybody of this tree", open_house, NODE, Right.READ)
    yield "whole_tree_carol", Case("and nobody else", open_house, CAROL)


def _signers() -> Iterator[tuple[str, Case]]:
    granter = access(OWNER, ROOT_FILE, give(BOB, Right.GRANT))
    shared = path(granter, access(BOB, PHOTOS, give(CAROL, Right.READ)))
    yield "signed_by_granter", Case("who has grant above may share", shared, CAROL, Right.READ)

    def denied(why: str, *accesses: Access, kind: Kind = Kind.DENIED) -> Case:
        return Case(why, path(*accesses), BOB, expect=kind)

    own = access(ANNA, ROOT_FILE, give(ANNA, Right.ALL))
    yield "root_by_user", denied("only the owner signs the root's access", own)
    himself = access(BOB, PHOTOS, give(BOB, Right.ALL))
    yield "by_himself", denied("nobody justifies himself", ROOT_ACCESS, himself)
    inside = access(ANNA, PHOTOS, give(BOB, Right.GRANT))
    again = access(BOB, PHOTOS, give(BOB, Right.ALL), version=2)
    yield "grant_is_for_below", denied("grant in it is not grant above it", ROOT_ACCESS, again)
    deeper = path(ROOT_ACCESS, inside, access(BOB, HOLIDAYS))
    yield "grant_below", Case("below it he may share", deeper, BOB, Right.READ | Right.GRANT)
    stranger = access(CAROL, PHOTOS)
    yield "by_stranger", denied("another tree's user without grant", ROOT_ACCESS, stranger)
    widened = replace(ROOT_ACCESS, grants=(give(BOB, Right.ALL),))
    yield "altered", denied("grants changed after signing", widened, kind=Kind.DAMAGED)
    unsigned = replace(ROOT_ACCESS, signature=b"")
    yield "unsigned", denied("no signature", unsigned, kind=Kind.DAMAGED)
    moved = replace(access(ANNA, PHOTOS), file=HOLIDAYS)
    yield "moved", denied("moved to another directory", ROOT_ACCESS, moved, kind=Kind.DAMAGED)
    claimed = replace(access(BOB, PHOTOS), signer=ANNA.principal)
    yield "other_signer", denied("signed by another", ROOT_ACCESS, claimed, kind=Kind.DAMAGED)
    other = Access(CAROL.tree, ROOT_FILE, 1, (), (), 1, OWNER.principal, bytes(64))
    yield "wrong_tree", denied("of another tree", other, kind=Kind.WRONG_TREE)
    mixed = replace(access(ANNA, PHOTOS), tree=CAROL.tree)
    yield "mixed_trees", denied("below, of another", ROOT_ACCESS, mixed, kind=Kind.WRONG_TREE)
    yield "no_root", denied("not from the root", access(OWNER, PHOTOS))
    yield "root_twice", denied("the root again below", ROOT_ACCESS, ROOT_ACCESS)
    yield "nothing", denied("no access at all")


def _forms() -> Iterator[tuple[str, Case]]:
    plain = cbor2.loads(encode(access(OWNER, ROOT_FILE, give(ANNA, Right.ALL))))
    grant = plain[4][0]
    cap = [0x0203, bytes(32), bytes(113)]

    def bad(why: str, expect: Kind = Kind.MALFORMED, **changed: Any) -> Case:
        fields = ["code", "tree", "file", "version", "grants", "read_caps", "epoch", "signer"]
        items = [*plain]
        for name, value in changed.items():
            items[fields.index(name)] = value
        return Case(why, [cbor2.dumps(items)], BOB, expect=expect)

    yield "unknown_right", bad("a right of tomorrow", grants=[[*grant[:3], 16]])
    yield "no_right", bad("a grant of nothing", grants=[[*grant[:3], 0]])
    both = [grant[0], bytes(32), f"/{TREE.tree}", 1]
    yield "grant_to_both", bad("a principal and a path", grants=[both])
    yield "grant_to_none", bad("neither", grants=[[grant[0], None, None, 1]])
    yield "grant_to_everything", bad("all trees", grants=[[grant[0], None, "/", 1]])
    yield "grant_odd_path", bad("not canonical", grants=[[grant[0], None, "/a//b", 1]])
    yield "grant_short_id", bad("a short id", grants=[[grant[0], b"x", None, 1]])
    yield "two_caps", bad("two read caps for one", read_caps=[cap, cap])
    yield "epoch_0", bad("epochs start at 1", epoch=0)
    yield "epoch_257", bad("and end at 256", epoch=257)
    yield "version_0", bad("versions start at 1", version=0)
    yield "short_file", bad("a short file id", file=b"x")
    many = bad("257 grants", Kind.TOO_LARGE, grants=[grant] * 257)
    yield "many_grants", replace(many, why="257 grants")
    whole = encode(ROOT_ACCESS)
    yield "trailing", Case("a byte behind it", [whole + b"\0"], BOB, expect=Kind.MALFORMED)
    yield "cut_short", Case("its last byte missing", [whole[:-1]], BOB, expect=Kind.MALFORMED)
