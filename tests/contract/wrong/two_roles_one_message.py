"""An actor that plays two roles which both take the same message: nobody knows which is meant."""

from blocktree.actors import Actor, Call, plays, receives
from blocktree.contract import Contract, Role, State, answers, hears, mirror
from contract.words import Get, Got, Put

BOX = Contract("box", 1, Role("box", State("open", answers(Get, Got))), mirror("user"))
TILL = Contract("till", 1, Role("till", State("open", answers(Get, Got), hears(Put))), mirror("jo"))


@plays(BOX.role("box"), TILL.role("till"))  # wrong: methods
class Both(Actor):
    @receives
    def get(self, message: Get, call: Call) -> Got:
        return Got()

    @receives
    def put(self, message: Put, call: Call) -> None:
        pass
