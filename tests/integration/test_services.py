"""The counter on three real nodes: it moves when its node dies, and a frozen one acts no more."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from blocktree.examples import counter
from integration.throwaway import Tree

PATH = "/home/services/counter"


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    made = Tree(tmp_path)
    try:
        made.bt("up", "--sim", "3", "--bare")
        made.bt("mkdir", "/home/services")
        made.bt("run", f"{counter.__file__}:Counter", "--at", PATH)
        yield made
    finally:
        made.bt("down", "--purge", "--yes", "home")


def add(tree: Tree, request: str) -> int:
    words = ("ask", PATH, "Add", "amount=1", f"request={request}", "--timeout=60", "--json")
    told = json.loads(tree.bt(*words))
    return int(told["fields"]["additions"])


def host(tree: Tree) -> dict[str, Any]:
    """The node that runs the counter, as `bt sim ls` tells of it."""
    (actor,) = json.loads(tree.bt("ps", "--json"))["actors"]
    return next(node for node in tree.nodes() if node["name"] == actor["node"])


def test_the_counter_survives_its_node_and_counts_each_request_once(tree: Tree) -> None:
    assert [add(tree, "a"), add(tree, "b"), add(tree, "b")] == [1, 2, 2]
    first = host(tree)
    tree.bt("sim", "kill", first["name"])
    assert [add(tree, "b"), add(tree, "c")] == [2, 3]
    assert host(tree)["name"] != first["name"]
    tree.bt("sim", "start", first["name"])
    assert add(tree, "d") == 4


def test_a_node_that_was_frozen_while_its_actor_moved_acts_for_it_no_more(tree: Tree) -> None:
    assert add(tree, "a") == 1
    first = host(tree)
    os.kill(first["pid"], signal.SIGSTOP)
    try:
        assert [add(tree, "b"), add(tree, "b")] == [2, 2]  # another node counts
        assert host(tree)["name"] != first["name"]
    finally:
        os.kill(first["pid"], signal.SIGCONT)
    assert [add(tree, request) for request in ("b", "c", "c", "d")] == [2, 3, 3, 4]
    (alone,) = json.loads(tree.bt("services", "--json"))["services"]
    assert alone["process"] != first["path"]
