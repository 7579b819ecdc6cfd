"""A device that is paired by its setup code, as a person does it: every part a process."""

import json
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from blocktree_gateway.pairing import write_code
from gateway.house import Program, free_udp_port
from integration.throwaway import Tree

PATH = "/home/sensors/attic"
MEASURES_SECONDS = 60


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    made = Tree(tmp_path)
    try:
        made.bt("up", "--sim", "1", "--bare")
        local = ("--host", "127.0.0.1", "--udp", "0", "--tls", "0", "--no-discover")
        made.bt("gateway", "up", "pi", *local)
        yield made
    finally:
        made.bt("gateway", "down")
        made.bt("down", "--purge", "--yes", "home")


def first_reading(tree: Tree) -> str:
    """What `bt read` prints once the device has measured, which it does now and then."""
    end = time.monotonic() + MEASURES_SECONDS
    while True:
        done = tree._run("read", PATH, "--json")
        if done.returncode == 0:
            return done.stdout
        assert "has no reading yet" in done.stderr, done.stderr
        assert time.monotonic() < end, done.stderr


def test_a_device_is_found_paired_by_its_code_and_read(
    tree: Tree, tmp_path: Path, micropython: str
) -> None:
    (gateway,) = json.loads(tree.bt("gateway", "status", "--json"))["gateways"]
    assert gateway["state"] == "serves"
    setup, port = secrets.token_bytes(16), free_udp_port()
    links = [{"kind": "udp", "port": port, "broadcast": False}]
    links[0]["gateways"] = [f"127.0.0.1:{gateway['udp']}"]
    device = Program(micropython, tmp_path / "device", setup=write_code(setup), links=links)
    device.start()
    try:
        where = f"127.0.0.1:{port}"
        (found,) = json.loads(tree.bt("device", "scan", where, "--json"))["network"]
        assert found["address"] == where
        assert found["board"] == "unix"
        assert found["next"].startswith(f"bt device pair {where} ")

        right, wrong = tmp_path / "code", tmp_path / "other code"
        right.write_text(write_code(setup) + "\n")
        wrong.write_text(write_code(secrets.token_bytes(16)) + "\n")
        pair = ("device", "pair", where, PATH, "--code-file")
        said = tree.refused(*pair, str(wrong))
        assert "has another setup code" in said
        assert "read the code from the label of this very device" in said
        assert json.loads(tree.bt("device", "ls", "--json"))["devices"] == []

        assert f"paired {PATH}" in tree.bt(*pair, str(right))
        (listed,) = json.loads(tree.bt("device", "ls", "--json"))["devices"]
        assert listed["path"] == PATH
        reading = json.loads(first_reading(tree).splitlines()[0])
        assert 19 < float(reading["values"]["temperature °C"]) < 23
        assert "°C" in tree.bt("read", PATH)
    finally:
        device.stop()
