"""Two talk on for ever, while the third waits for a word that cannot come any more."""

from blocktree.contract import Contract, Role, State, answers, asks, hears, tells
from contract.words import Close, Get, Got, Put

CONTRACT = Contract(
    "forgotten",
    1,
    Role(
        "one",
        State("start", tells(Put, to="three", then="asking")),
        State("asking", asks(Get, Got, to="two"), tells(Close, to="three", then="asking on")),
        State("asking on", asks(Get, Got, to="two")),
    ),
    Role("two", State("start", answers(Get, Got, sender="one"))),
    Role(
        "three",
        State("start", hears(Put, sender="one", then="waiting"), hears(Close, sender="one")),
        State("waiting", hears(Close, sender="one", then="again")),
        State("again", hears(Close, sender="one", then="waiting")),  # wrong: livelock
    ),
)
