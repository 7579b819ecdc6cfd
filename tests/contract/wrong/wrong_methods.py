"""An actor class that lacks one method, has one too many and one with the wrong answer."""

from blocktree.actors import Actor, Call, plays, receives
from blocktree.contract import Contract, Role, State, answers, hears, mirror
from contract.words import Close, Get, Got, Open, Opened, Put, Refused

CONTRACT = Contract(
    "box",
    1,
    Role(
        "box",
        State("shut", answers(Open, Opened, then="open")),
        State("open", answers(Get, Got), hears(Close, then="shut")),
    ),
    mirror("user"),
)


@plays(CONTRACT.role("box"))  # wrong: methods
class Box(Actor):
    @receives  # wrong: methods
    def open(self, message: Open, call: Call) -> Opened | Refused:
        return Opened()

    @receives  # wrong: methods
    async def put(self, message: Put, call: Call) -> None:
        pass

    @receives
    async def get(self, message: Get, call: Call) -> Got:
        return Got()
