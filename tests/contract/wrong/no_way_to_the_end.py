"""An end that cannot be reached any more once a question was refused."""

from blocktree.contract import Contract, Role, State, answers, hears, mirror
from contract.words import Close, Get, Got, Open, Opened

CONTRACT = Contract(
    "trap",
    1,
    Role(
        "box",
        State("shut", answers(Open, Opened, then="open", refused="locked")),
        State("open", hears(Close, then="over")),
        State("locked", answers(Get, Got)),  # wrong: livelock
        State("over"),
    ),
    mirror("user"),
)
