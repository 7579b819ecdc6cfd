"""Each asks the other first and takes nothing before it has its answer."""

from blocktree.contract import Contract, Role, State, answers, asks
from contract.words import Get, Got, Open, Opened

CONTRACT = Contract(
    "crossed",
    1,
    Role(
        "left",
        State(  # wrong: unhandled
            "start",
            asks(Get, Got, then="asked"),  # wrong: deadlock
        ),
        State("asked", answers(Open, Opened)),
    ),
    Role(
        "right",
        State("start", asks(Open, Opened, then="asked")),  # wrong: unhandled
        State("asked", answers(Get, Got)),
    ),
)
