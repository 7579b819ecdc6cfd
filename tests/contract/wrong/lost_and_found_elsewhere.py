"""The box remembers a user who died, and who begins anew."""

from blocktree.contract import Contract, Role, State, answers, lost, mirror
from contract.words import Get, Got, Open, Opened

CONTRACT = Contract(
    "ghost",
    1,
    Role(
        "box",
        State("shut", answers(Open, Opened, then="open")),
        State("open", answers(Get, Got), lost(then="open")),  # wrong: unhandled
    ),
    mirror("user"),
)
