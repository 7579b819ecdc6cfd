"""The user may go on before the box is ready for it."""

from blocktree.contract import Contract, Role, State, hears, tells
from contract.words import Close, Get, Put

CONTRACT = Contract(
    "hasty",
    1,
    Role(
        "box",
        State("open", hears(Put), hears(Close, then="shut")),
        State("shut", hears(Get, then="open")),  # wrong: unhandled
    ),
    Role(
        "user",
        State("open", tells(Put), tells(Close, then="shut")),
        State("shut", tells(Put), tells(Get, then="open")),
    ),
)
