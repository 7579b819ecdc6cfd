"""Pieces with bodies travel on another lane than the end: it overtakes them."""

from blocktree.contract import Contract, Role, State, hears, mirror
from contract.words import Close, Piece

CONTRACT = Contract(
    "overtaken",
    1,
    Role(
        "box",
        State("open", hears(Piece), hears(Close, then="shut")),
        State("shut"),  # wrong: unhandled
    ),
    mirror("user"),
)
