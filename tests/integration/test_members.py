"""Nodes leave and others take their places, as a person does it with `bt node`."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.throwaway import Tree


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    made = Tree(tmp_path)
    try:
        made.bt("up", "--sim", "3", "--bare")
        yield made
    finally:
        made.bt("down", "--purge", "--yes", "home")


def paths(tree: Tree) -> list[str]:
    return [node["path"] for node in json.loads(tree.bt("node", "ls", "--json"))["nodes"]]


def test_a_dead_node_is_removed_and_replaced(tree: Tree) -> None:
    dead, alive = sorted(("sim-1", "sim-2", "sim-3"), key=lambda name: name == tree.leader())[:2]
    told = json.loads(tree.bt("node", "remove", dead, "--dry-run", "--json"))
    assert not told["done"]
    assert told["before"] == {"all": 3, "live": 3, "may_fail": 1}
    assert told["after"] == {"all": 2, "live": 2, "may_fail": 0}
    assert "no such node" in tree.refused("node", "remove", "pi-9", "--yes", "pi-9")
    assert f"--yes={dead}" in tree.refused("node", "remove", dead)
    tree.bt("sim", "kill", dead)
    assert "too few" in tree.refused("node", "remove", alive, "--yes", alive)
    tree.bt("node", "remove", f"/home/{dead}", "--yes", dead)
    assert f"/home/{dead}" not in paths(tree)
    assert "was removed from the tree" in tree.refused("up")

    (tree.state / "nodes" / dead).rename(tree.folder / "old")
    ticket = tree.folder / "ticket"
    shell = f'"$BT" -m blocktree.cli node replace {alive} --with sim-9 --yes {alive} | tee {ticket}'
    env = {**os.environ, "BLOCKTREE_STATE": str(tree.state), "BT": sys.executable}
    replacing = subprocess.Popen(["sh", "-c", shell], env=env, stderr=subprocess.DEVNULL)
    while not (ticket.exists() and ticket.read_text().endswith("\n")):
        assert replacing.poll() is None
    tree.bt("node", "join", str(ticket), "--port", "7497")
    assert replacing.wait(60) == 0
    assert f"/home/{alive}" not in paths(tree)
    assert "/home/sim-9" in paths(tree)
