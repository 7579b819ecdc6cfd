"""The chain check against a model: chains of any kinds and paths, all well formed and well signed.

The model is SPEC.md's table "who certifies whom", written a second time, as plainly as it goes.
"""

from hypothesis import event, given, settings
from hypothesis import strategies as st

import vector
from blocktree.keys import Key, check_chain
from keys.chain_cases import ROOT, ROOT_KEY, TREE
from keys.forge import NOW, Forged, drawn, forge

KEYS = [Key.generate(drawn(seed)) for seed in range(200, 204)]
KINDS = ["user", "ticket", "ticket", "node", "device", "process", "owner", "root"]
TERMS = ["node", "device", "process", "user"]
BELOW_OWNER = {"user", "node", "device", "process", "ticket"}
STEPS = ["down", "down", "stay", "aside", "up"]
LINKS = st.tuples(st.sampled_from(KINDS), st.sampled_from(STEPS), st.sampled_from(TERMS))
Links = list[tuple[str, str, str]]


def placed(steps: Links) -> Links:
    """Turn steps into paths: mostly near the issuer's, so that many chains hold."""
    links, place = [], ""
    for kind, step, terms in steps:
        head = place.rpartition("/")[0]
        place = {
            "stay": place,
            "down": f"{place}/a".lstrip("/"),
            "aside": f"{place}b" if place else "",
            "up": head,
        }[step]
        links.append((kind, place, terms))
    return links


def allowed(links: Links) -> bool:
    """`links` from the root downwards: kind, path, and for a ticket the kind that it is for."""
    above, place, invited = "root", "", ""
    for kind, path, terms in links:
        inside = path != place and (not place or path.startswith(place + "/"))
        if above == "root":
            fits = kind == "owner" and path == ""
        elif above == "owner":
            fits = kind in BELOW_OWNER and inside
        elif above == "user":
            fits = kind in {"device", "process", "ticket"} and inside
        elif above == "ticket":
            fits = kind == invited and path == place
        else:
            fits = False
        if kind == "ticket":
            fits = fits and terms in {"device", "process", "node"}
            fits = fits and not (above == "user" and terms == "node")
        if not fits:
            return False
        above, place, invited = kind, path, terms
    return above not in {"root", "ticket"}


@settings(max_examples=400)
@given(st.sampled_from([True, True, True, False]), st.lists(LINKS, min_size=1, max_size=3))
def test_chains_hold_exactly_when_the_table_says_so(owned: bool, steps: Links) -> None:
    links = placed([("owner", "stay", ""), *steps] if owned else steps)
    chain, issuer = [ROOT.der], ROOT
    for key, (kind, path, terms) in zip(KEYS, links, strict=False):
        issuer = certified(kind, path, terms, key, issuer)
        chain.insert(0, issuer.der)
    said = vector.verdict(lambda: check_chain(chain, TREE.tree, NOW))
    assert (said == "ok") == allowed(links)
    event(said)


GOOD = [
    [("owner", "", ""), ("user", "a", ""), ("ticket", "a/b", "process"), ("process", "a/b", "")],
    [("owner", "", ""), ("ticket", "b", "node"), ("node", "b", "")],
    [("owner", "", ""), ("user", "a/b", ""), ("device", "a/b/c", "")],
]


def test_the_model_allows_what_it_should() -> None:
    for links in GOOD:
        for count in range(1, len(links) + 1):
            assert allowed(links[:count]) == (links[count - 1][0] != "ticket")
    assert ROOT_KEY.principal.spki in ROOT.der


def certified(kind: str, path: str, terms: str, key: Key, issuer: Forged) -> Forged:
    parts = [TREE.tree, *path.split("/")] if path else [TREE.tree]
    ticket = f"{bytes(16).hex()} {NOW} {terms}" if kind == "ticket" else None
    return forge(parts, kind, key, issuer, ticket=ticket)
