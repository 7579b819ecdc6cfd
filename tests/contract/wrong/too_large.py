"""Eight roles that each go round for themselves: more moments than anybody can look at."""

from blocktree.contract import Contract, Role, State, hears, tells
from contract.words import Close, Get, Open, Put, Ready, Seal


def _pair(number: int, *words: type) -> tuple[Role, Role]:
    names = f"teller{number}", f"hearer{number}"
    told = [
        State(f"s{i}", tells(word, to=names[1], then=f"s{(i + 1) % len(words)}"))
        for i, word in enumerate(words)
    ]
    heard = [
        State(f"s{i}", hears(word, sender=names[0], then=f"s{(i + 1) % len(words)}"))
        for i, word in enumerate(words)
    ]
    return Role(names[0], *told), Role(names[1], *heard)


CONTRACT = Contract(  # wrong: too large
    "crowd",
    1,
    *_pair(1, Close, Get, Open, Put, Ready, Seal),
    *_pair(2, Close, Get, Open, Put, Ready, Seal),
    *_pair(3, Close, Get, Open, Put, Ready, Seal),
    *_pair(4, Close, Get, Open, Put, Ready, Seal),
)
