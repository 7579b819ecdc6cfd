"""Mutual TLS from the real MicroPython: who is believed, and moving to it and away."""

import pytest

from board.dialling import start_tls
from board.world import World, chain_holds
from link.tree import make_node


def test_a_session_inside_tls(world: World) -> None:
    gateway = start_tls(world, make_node("pi-1"))
    gateway.connect_tls()
    gateway.until(lambda: len(gateway.readings()) >= 5)
    assert gateway.command("Climate.every", 60) == (0, [60])
    chain_holds(gateway)


@pytest.mark.parametrize(("node", "seed"), [("pi-2", 1), ("pi-1", 2)])
def test_a_gateway_of_another_path_or_tree_is_refused(world: World, node: str, seed: int) -> None:
    gateway = start_tls(world, make_node(node, seed))
    with pytest.raises(AssertionError):
        gateway.connect_tls(seconds=3)
    assert not gateway.said


def test_a_device_prefers_tls_and_goes_on_counting_on_udp_without_it(world: World) -> None:
    udp = world.line("udp")
    gateway = start_tls(world, make_node("pi-1"))
    gateway.connect_tls()
    gateway.until(lambda: len(gateway.readings()) >= 3)
    gateway.keep()
    gateway.line.close()
    other = world.gateway(udp)
    other.connect(seconds=30)
    other.until(lambda: len(other.readings()) >= 3)
    gateway.entries.update(other.entries)
    chain_holds(gateway)
