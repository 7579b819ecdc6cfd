"""A state that was left over when its branch was taken out."""

from blocktree.contract import Contract, Role, State, answers, asks, hears, tells
from contract.words import Close, Open, Opened

CONTRACT = Contract(
    "leftover",
    1,
    Role(
        "box",
        State("shut", answers(Open, Opened, then="open")),
        State("open", hears(Close, then="shut")),
        State("broken", hears(Close, then="shut")),  # wrong: unreachable
    ),
    Role(
        "user",
        State("shut", asks(Open, Opened, then="open")),
        State("open", tells(Close, then="shut")),
    ),
)
