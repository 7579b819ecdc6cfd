"""Three roles, and a message that does not say to which."""

from blocktree.contract import Contract, Role, State, hears, tells
from contract.words import Get, Put

CONTRACT = Contract(
    "to-whom",
    1,
    Role("one", State("start", tells(Put))),  # wrong: names
    Role("two", State("start", hears(Put, sender="one"), hears(Get, sender="three"))),
    Role("three", State("start", tells(Get, to="two"))),
)
