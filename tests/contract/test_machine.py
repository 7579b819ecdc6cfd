"""What one partner sees of a role: what it cannot see is not held against it."""

import pytest

from blocktree.contract import Contract, Role, State, after, answers, asks, hears, machine, tells
from blocktree.contract.join import joined
from blocktree.contract.walk import reached
from blocktree.fault import Fault, Kind
from contract.words import Close, Get, Got, Open, Opened, Put, Ready

SHOP = Contract(
    "shop",
    1,
    Role(
        "shop",
        State("open", answers(Get, Got, sender="buyer"), hears(Close, sender="owner", then="shut")),
        State("shut", hears(Open, sender="owner", then="open"), hears(Put, sender="buyer")),
    ),
    Role("buyer", State("in", asks(Get, Got, to="shop"), tells(Put, to="shop"))),
    Role(
        "owner",
        State("day", tells(Close, to="shop", then="night")),
        State("night", tells(Open, to="shop", then="day")),
    ),
)


def test_traffic_with_others_is_invisible() -> None:
    start = machine(SHOP, SHOP.role("shop"))
    assert start.name == "open|shut", "the buyer cannot know whether the owner has been there"
    assert start.expected == ("Close", "Get", "Put"), "an owner who never closed cannot open"
    bought = start.takes[Get].only
    assert bought is not None
    assert bought.expected == ("Get", "Put"), "who buys is the buyer, and does not close"


def test_what_a_clock_decides_is_invisible() -> None:
    contract = Contract(
        "clock",
        1,
        Role(
            "left",
            State("waiting", hears(Ready, then="done"), after(10, then="tired")),
            State("tired", hears(Put, then="waiting")),
            State("done"),
        ),
        Role("right", State("a", tells(Ready, then="b"), tells(Put)), State("b")),
    )
    start = machine(contract, contract.role("left"))
    assert start.expected == ("Put", "Ready")
    over = start.takes[Ready].only
    assert over is not None
    assert over.over


def test_each_node_is_there_once() -> None:
    names = [node.name for node in reached(machine(SHOP, SHOP.role("owner")))]
    assert names == ["day", "night"]


def test_too_many_states_together_are_a_fault() -> None:
    def ring(number: int, take: type, answer: type) -> Role:
        states = [State(f"s{i}", answers(take, answer, then=f"s{(i + 1) % 40}")) for i in range(40)]
        contract = Contract(f"ring{number}", 1, Role("box", *states), Role("user", State("s")))
        return contract.role("box")

    with pytest.raises(Fault, match="more than 1024 states") as raised:
        joined([ring(1, Get, Got), ring(2, Open, Opened)])
    assert raised.value.kind is Kind.TOO_LARGE
