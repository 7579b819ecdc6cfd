"""The box may end it while something is on its way to it."""

from blocktree.contract import Contract, Role, State, hears, tells
from contract.words import Put, Ready

CONTRACT = Contract(
    "crossing",
    1,
    Role(
        "box",
        State("open", hears(Put), tells(Ready, then="over")),
        State("over"),  # wrong: unhandled
    ),
    Role("user", State("open", tells(Put), hears(Ready, then="over")), State("over")),
)
