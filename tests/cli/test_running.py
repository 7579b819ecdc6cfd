"""Ports for the nodes of a throw-away tree."""

import socket

import pytest

from blocktree.cli.running import free_ports


@pytest.mark.parametrize("count", [0, 1, 9])
def test_as_many_ports_are_found_as_nodes_are_missing(count: int) -> None:
    ports = free_ports(count)
    assert len(set(ports)) == count
    for port in ports:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
