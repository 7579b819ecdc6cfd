"""The box may answer with what its user does not expect."""

from blocktree.contract import Contract, Role, State, answers, asks
from contract.words import Open, Opened, Refused

CONTRACT = Contract(
    "surprise",
    1,
    Role("box", State("shut", answers(Open, (Opened, Refused)))),
    Role("user", State("shut", asks(Open, Opened))),  # wrong: unfit
)
