"""No two of them wait for each other, but all three do."""

from blocktree.contract import Contract, Role, State, answers, asks
from contract.words import Get, Got, Open, Opened, Put, Ready

CONTRACT = Contract(
    "ring",
    1,
    Role(
        "one",
        State(  # wrong: unhandled
            "start",
            asks(Get, Got, to="two", then="asked"),  # wrong: deadlock
        ),
        State("asked", answers(Put, Ready, sender="three", then="over")),
        State("over"),
    ),
    Role(
        "two",
        State("start", asks(Open, Opened, to="three", then="asked")),  # wrong: unhandled
        State("asked", answers(Get, Got, sender="one", then="over")),
        State("over"),
    ),
    Role(
        "three",
        State("start", asks(Put, Ready, to="one", then="asked")),  # wrong: unhandled
        State("asked", answers(Open, Opened, sender="two", then="over")),
        State("over"),
    ),
)
