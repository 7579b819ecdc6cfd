"""One side tells and forgets, the other side thinks it is asked."""

from blocktree.contract import Contract, Role, State, answers, tells
from contract.words import Get, Got

CONTRACT = Contract(
    "misheard",
    1,
    Role("box", State("open", answers(Get, Got))),  # wrong: unfit
    Role("user", State("open", tells(Get))),  # wrong: unfit
)
