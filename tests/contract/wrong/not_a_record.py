"""A message that is a plain class, which no link could carry."""

from typing import Any

from blocktree.contract import Contract, Role, State, hears, mirror

Letter: Any = dict

CONTRACT = Contract(
    "paper",
    1,
    Role("box", State("open", hears(Letter))),  # wrong: message
    mirror("user"),
)
