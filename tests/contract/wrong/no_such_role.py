"""Three roles, and a message to a fourth."""

from blocktree.contract import Contract, Role, State, hears, tells
from contract.words import Get, Put

CONTRACT = Contract(
    "stranger",
    1,
    Role("one", State("start", tells(Put, to="tow"))),  # wrong: names
    Role("two", State("start", hears(Put, sender="one"), hears(Get, sender="three"))),
    Role("three", State("start", tells(Get, to="two"))),
)
