"""A small tree of credentials for tests: an owner, a user, nodes."""

import functools
import random

from blocktree.keys import Credential, MemberKind, NewTree, new_credential, new_tree
from blocktree.names import Path, join

NOW = 1_800_000_000


@functools.cache
def make_tree(seed: int = 1) -> NewTree:
    """A tree like any other; the seed says which."""
    draw = random.Random(seed).randbytes
    return new_tree("home", "jo", now=NOW, passphrase="correct horse", draw=draw, cost=4)


@functools.cache
def make_node(name: str, seed: int = 1) -> Credential:
    """The credential of the node `/<tree>/<name>`."""
    tree = make_tree(seed)
    path = join(Path(f"/{tree.tree}"), name)
    draw = random.Random(f"{seed}{name}").randbytes
    return new_credential(tree.owner, MemberKind.NODE, path, now=NOW, draw=draw)
