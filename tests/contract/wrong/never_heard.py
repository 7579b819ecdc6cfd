"""A user who says what his box never takes."""

from blocktree.contract import Contract, Role, State, hears, tells
from contract.words import Close, Get, Put

CONTRACT = Contract(
    "dumb-ear",
    1,
    Role("box", State("open", hears(Put), hears(Close, then="shut")), State("shut")),
    Role(
        "user",
        State(
            "open",
            tells(Put),
            tells(Get),  # wrong: unheard
            tells(Close, then="shut"),
        ),
        State("shut"),
    ),
)
