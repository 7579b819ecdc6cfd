"""Two branches for one message: nobody could say which is meant."""

from blocktree.contract import Contract, Role, State, hears, mirror
from contract.words import Close, Put

CONTRACT = Contract(
    "doubtful",
    1,
    Role(
        "box",
        State(
            "open",
            hears(Put),
            hears(Put, then="full"),  # wrong: message
        ),
        State("full", hears(Close, then="open")),
    ),
    mirror("user"),
)
