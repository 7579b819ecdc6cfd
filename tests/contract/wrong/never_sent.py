"""A box that takes what its user never says."""

from blocktree.contract import Contract, Role, State, hears, tells
from contract.words import Close, Get, Put

CONTRACT = Contract(
    "deaf-ear",
    1,
    Role(
        "box",
        State(
            "open",
            hears(Put),
            hears(Get),  # wrong: unsent
            hears(Close, then="shut"),
        ),
        State("shut"),
    ),
    Role("user", State("open", tells(Put), tells(Close, then="shut")), State("shut")),
)
