"""A state's name with a letter wrong."""

from blocktree.contract import Contract, Role, State, answers, hears, mirror
from contract.words import Close, Open, Opened

CONTRACT = Contract(
    "typo",
    1,
    Role(
        "box",
        State("shut", answers(Open, Opened, then="opened")),  # wrong: names
        State("open", hears(Close, then="shut")),
    ),
    mirror("user"),
)
