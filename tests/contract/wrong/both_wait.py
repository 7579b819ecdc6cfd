"""Both sides listen, and nobody begins."""

from blocktree.contract import Contract, Role, State, hears, tells
from contract.words import Get, Put

CONTRACT = Contract(
    "shy",
    1,
    Role(
        "left",
        State("start", hears(Get, then="next")),  # wrong: deadlock
        State("next", tells(Put, then="start")),
    ),
    Role(
        "right",
        State("start", hears(Put, then="next")),
        State("next", tells(Get, then="start")),
    ),
)
