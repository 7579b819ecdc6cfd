"""Both give up waiting and wait again, and nobody ever says anything."""

from blocktree.contract import Contract, Role, State, after, hears, tells
from contract.words import Put

CONTRACT = Contract(
    "patience",
    1,
    Role(
        "box",
        State("start", tells(Put, then="waiting")),
        State("waiting", after(10, then="tired")),  # wrong: livelock
        State("tired", after(10, then="waiting")),
    ),
    Role("user", State("start", hears(Put, then="over")), State("over")),
)
