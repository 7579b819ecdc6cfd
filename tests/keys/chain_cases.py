"""Every chain that `tests/vectors/chain` pins, from seeds: what holds, and each way to fail."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from blocktree.fault import Kind
from blocktree.keys import Key
from keys.forge import NOW, Forged, a_tree, drawn, forge, issuer_of, name, other_curve

TREE = a_tree()
OTHER = a_tree(seed=2)
UP = TREE.owner.chain  # owner, root
OWNER = issuer_of(TREE.owner)
USER = issuer_of(TREE.user)
NODE_KEY = Key.generate(drawn(11))
TICKET_KEY = Key.generate(drawn(12))
ROOT_KEY = Key.generate(drawn(1))  # a_tree draws it first
ROOT = Forged(TREE.root, ROOT_KEY, name([TREE.tree], "root"))


@dataclass(frozen=True)
class Case:
    """One chain, and what must be said of it."""

    why: str
    chain: tuple[bytes, ...]
    expect: Kind | None = None  # None: it holds
    now: int = NOW
    tree: str = TREE.tree
    joins: bool = False  # judged as when a ticket is spent


def node(**wrong: Any) -> tuple[bytes, ...]:
    """A node's chain, with something wrong in the node's own certificate."""
    return (forge((TREE.tree, "pi-1"), "node", NODE_KEY, OWNER, **wrong).der, *UP)


def below(
    issuer: Forged, chain: tuple[bytes, ...], kind: str, *parts: str, **wrong: Any
) -> tuple[bytes, ...]:
    """A chain with one more certificate, issued by its leaf."""
    return (forge((TREE.tree, *parts), kind, NODE_KEY, issuer, **wrong).der, *chain)


def ticket(issuer: Forged, *parts: str, kind: str = "node", expires: int = NOW + 60) -> Forged:
    terms = f"{bytes(range(16)).hex()} {expires} {kind}"
    return forge((TREE.tree, *parts), "ticket", TICKET_KEY, issuer, ticket=terms)


def under_ticket(kind: str, *parts: str, **terms: Any) -> tuple[bytes, ...]:
    """A node's chain under a ticket for /pi-2."""
    made = ticket(OWNER, "pi-2", **terms)
    return below(made, (made.der, *UP), kind, *parts)


def flipped(der: bytes, at: int) -> bytes:
    return der[:at] + bytes([der[at] ^ 1]) + der[at + 1 :]


def cases() -> dict[str, Case]:
    return {**dict(_good()), **dict(_links()), **dict(_forms()), **dict(_times())}


def _good() -> Iterator[tuple[str, Case]]:
    yield "owner", Case("the owner of a tree", UP)
    yield "user", Case("the first user", TREE.user.chain)
    yield "node", Case("a node that the owner certified", node())
    yield "node_below", Case("in a directory below", below(OWNER, UP, "node", "garage", "pi-4"))
    yield "node_by_ticket", Case("a node that joined by ticket", under_ticket("node", "pi-2"))
    process = below(USER, TREE.user.chain, "process", "users", "anna", "laptop")
    yield "process", Case("a laptop's process under a user", process)
    tablet = ("users", "anna", "tablet")
    made = ticket(USER, *tablet, kind="process")
    longest = below(made, (made.der, *TREE.user.chain), "process", *tablet)
    yield "process_by_ticket", Case("the longest chain there is", longest)
    yield "device", Case("a device of the owner", below(OWNER, UP, "device", "sensors", "attic"))
    extra = node(unknown=[("1.2.3.4", False)])
    yield "unknown_extension", Case("an unknown extension that is not critical", extra)


def _links() -> Iterator[tuple[str, Case]]:
    """What is wrong between a certificate and its issuer."""
    away = below(USER, TREE.user.chain, "process", "users", "bob", "laptop")
    yield "wrong_prefix", Case("a user certifies below another user", away, Kind.DENIED)
    alike = below(USER, TREE.user.chain, "process", "users", "annabel", "laptop")
    yield "prefix_of_a_name", Case("anna is not the parent of annabel", alike, Kind.DENIED)
    self_ = below(USER, TREE.user.chain, "process", "users", "anna")
    yield "path_of_its_issuer", Case("a process at its user's own path", self_, Kind.DENIED)
    yield "wrong_tree", Case("a good chain of another tree", OTHER.owner.chain, Kind.WRONG_TREE)
    claimed = (node()[0], *OTHER.owner.chain)
    yield "other_trees_issuer", Case("our node under their owner", claimed, Kind.MALFORMED)
    thief = Key.generate(drawn(30))
    stolen = forge([TREE.tree], "root", thief, None)
    crowned = forge([TREE.tree], "owner", thief, stolen)
    usurped = (crowned.der, stolen.der)
    yield "root_of_another_key", Case("a root that names our tree", usurped, Kind.WRONG_TREE)
    spki = NODE_KEY.principal.spki
    swapped = (node()[0].replace(spki, thief.principal.spki), *UP)
    yield "swapped_key", Case("another key put into a certificate", swapped, Kind.DAMAGED)
    covered = node(public=thief.principal.public, own_id=thief.principal.id[:20], signer=thief)
    yield "swapped_issuer", Case("issued by another key of that name", covered, Kind.DAMAGED)
    lying = node(signer=thief, issuer_id=TREE.owner.principal[:20])
    yield "bad_signature", Case("a signature of another key", lying, Kind.DAMAGED)
    yield (
        "flipped_bit",
        Case(
            "one bit of the signature", (flipped(node()[0], len(node()[0]) - 1), *UP), Kind.DAMAGED
        ),
    )
    yield from _authorities()
    yield from _lengths()
    yield from _tickets()


def _authorities() -> Iterator[tuple[str, Case]]:
    """Who may certify whom."""
    fake = Forged(
        forge([TREE.tree], "owner", TREE.owner.key, ROOT, ca=False).der, TREE.owner.key, OWNER.name
    )
    uncrowned = (node()[0], fake.der, TREE.root)
    yield "ca_flag_missing", Case("an owner without the CA flag", uncrowned, Kind.DENIED)
    yield "ca_flag_claimed", Case("a node with the CA flag", node(ca=True), Kind.DENIED)
    unsigning = forge([TREE.tree], "owner", TREE.owner.key, ROOT, signs=False)
    mute = (node()[0], unsigning.der, TREE.root)
    yield "may_not_sign", Case("an owner whose key usage is no signing", mute, Kind.DENIED)
    above = Forged(node()[0], NODE_KEY, name((TREE.tree, "pi-1"), "node"))
    named = below(above, node(), "device", "pi-1", "lamp")
    yield "node_as_issuer", Case("a node certifies a device", named, Kind.DENIED)
    sub = below(USER, TREE.user.chain, "user", "users", "anna", "bob")
    yield "user_names_user", Case("a user certifies a user", sub, Kind.DENIED)
    direct = (forge((TREE.tree, "pi-1"), "node", NODE_KEY, ROOT).der, TREE.root)
    yield "root_names_node", Case("the root certifies only the owner", direct, Kind.DENIED)


def _lengths() -> Iterator[tuple[str, Case]]:
    """Chains that are too long, too short or out of order."""
    short = forge([TREE.tree], "owner", TREE.owner.key, ROOT, path_length=0)
    deep = (
        *below(USER, TREE.user.chain[:1], "process", "users", "anna", "x"),
        short.der,
        TREE.root,
    )
    yield "path_length", Case("a longer chain than the owner's path length", deep, Kind.DENIED)
    endless = forge([TREE.tree], "owner", TREE.owner.key, ROOT, path_length=None)
    free = (node()[0], endless.der, TREE.root)
    yield "no_path_length", Case("an owner without a path length", free, Kind.DENIED)
    many = (*node(), TREE.root, TREE.root, TREE.root)
    yield "too_long", Case("six certificates", many, Kind.TOO_LARGE)
    yield "empty", Case("no certificate", (), Kind.MALFORMED)
    yield "no_root", Case("the root left out", node()[:-1], Kind.MALFORMED)
    yield "no_owner", Case("the owner left out", (node()[0], TREE.root), Kind.MALFORMED)
    yield "root_alone", Case("the root certifies, it does not act", (TREE.root,), Kind.DENIED)
    yield "upside_down", Case("root first", node()[::-1], Kind.MALFORMED)
    yield "twice", Case("a certificate twice", (*node()[:1], *node()), Kind.MALFORMED)
    misled = node(issuer_name=name([TREE.tree], "root"))
    yield "issuer_mismatch", Case("names another issuer than it has", misled, Kind.MALFORMED)


def _tickets() -> Iterator[tuple[str, Case]]:
    spare = ticket(OWNER, "pi-2")
    yield "ticket_alone", Case("a ticket does not act", (spare.der, *UP), Kind.DENIED)
    moved = under_ticket("node", "pi-3")
    yield "ticket_for_another_path", Case("a ticket for /pi-2 used for /pi-3", moved, Kind.DENIED)
    inside = under_ticket("node", "pi-2", "sub")
    yield "ticket_for_below", Case("a ticket is for exactly one path", inside, Kind.DENIED)
    turned = under_ticket("device", "pi-2")
    yield "ticket_for_another_kind", Case("a node's ticket used by a device", turned, Kind.DENIED)
    place = ("users", "anna", "pi-9")
    invited = ticket(USER, *place)
    minded = below(invited, (invited.der, *TREE.user.chain), "node", *place)
    yield "ticket_by_user_for_node", Case("a user may not invite a node", minded, Kind.DENIED)
    bare = forge((TREE.tree, "pi-2"), "ticket", TICKET_KEY, OWNER)
    termless = below(bare, (bare.der, *UP), "node", "pi-2")
    yield "ticket_without_terms", Case("a ticket without its terms", termless, Kind.MALFORMED)
    long = f"{bytes(16).hex()} 0{NOW} node"
    odd = forge((TREE.tree, "pi-2"), "ticket", TICKET_KEY, OWNER, ticket=long)
    padded = below(odd, (odd.der, *UP), "node", "pi-2")
    yield "ticket_with_odd_terms", Case("an expiry with a zero before it", padded, Kind.MALFORMED)
    spent = node(ticket=f"{bytes(16).hex()} {NOW} node")
    yield "terms_in_a_node", Case("a node with a ticket's terms", spent, Kind.MALFORMED)
    over = under_ticket("node", "pi-2", expires=NOW - 1)
    yield "ticket_over_link", Case("an old ticket does not matter to a link", over)
    yield "ticket_over", Case("but to joining it does", over, Kind.EXPIRED, joins=True)
    last = under_ticket("node", "pi-2", expires=NOW)
    yield "ticket_last_second", Case("good up to and with its last second", last, joins=True)


def _forms() -> Iterator[tuple[str, Case]]:
    """What is wrong in one certificate by itself."""

    def bad(why: str, kind: Kind = Kind.MALFORMED, **wrong: Any) -> Case:
        return Case(why, node(**wrong), kind)

    uri = f"blocktree://{TREE.tree}/pi-1"
    yield (
        "subject_mismatch",
        bad("SAN and subject differ", subject=name((TREE.tree, "pi-9"), "node")),
    )
    yield "subject_kind", bad("an unknown kind", subject=name((TREE.tree, "pi-1"), "admin"))
    yield (
        "subject_order",
        bad("components in another order", subject=name(("pi-1", TREE.tree), "node")),
    )
    yield "san_missing", bad("no SAN", san=None)
    yield "san_two", bad("two URIs", san=[uri, uri])
    yield "san_dns", bad("a DNS name", san=[x509.DNSName("pi-1")])
    yield "san_scheme", bad("another scheme", san=[uri.replace("blocktree", "https")])
    yield "san_dots", bad("a path with ..", san=[f"blocktree://{TREE.tree}/a/../pi-1"])
    yield "san_double_slash", bad("not canonical", san=[f"blocktree://{TREE.tree}//pi-1"])
    yield "san_escape", bad("an escape without need", san=[f"blocktree://{TREE.tree}/%70i-1"])
    yield "san_not_utf8", bad("bytes that are not UTF-8", san=[f"blocktree://{TREE.tree}/%ff"])
    yield "san_alias", bad("an alias for the tree", san=["blocktree://home/pi-1"])
    yield "unknown_critical", bad("an unknown critical extension", unknown=[("1.2.3.4", True)])
    yield "not_p256", bad("a P-384 key", public=other_curve())
    yield "not_sha256", bad("signed over SHA-384", digest=hashes.SHA384())
    yield "no_constraints", bad("no basic constraints", constraints=False)
    yield "loose_constraints", bad("basic constraints not critical", critical=False)
    yield "no_usage", bad("no key usage", usage=False)
    yield "no_key_id", bad("no subject key id", own_id=None)
    yield "no_issuer_id", bad("no issuer key id", issuer_id=None)
    yield "wrong_key_id", bad("the id of another key", Kind.DAMAGED, own_id=bytes(20))
    yield "wrong_issuer_id", bad("the id of another issuer", Kind.DAMAGED, issuer_id=bytes(20))
    leaf = node()[0]
    yield "trailing_garbage", Case("a byte behind it", (leaf + b"\0", *UP), Kind.MALFORMED)
    yield "cut_short", Case("its last byte missing", (leaf[:-1], *UP), Kind.MALFORMED)
    yield "huge", Case("a certificate of 8193 bytes", (bytes(8193), *UP), Kind.TOO_LARGE)
    pem = b"-----BEGIN CERTIFICATE-----\n"
    yield "pem", Case("PEM is not DER", (pem, *UP), Kind.MALFORMED)


def _times() -> Iterator[tuple[str, Case]]:
    year, ended = 366 * 86_400, NOW + 10 * 366 * 86_400
    yield "expired", Case("ten years and a second later", node(), Kind.EXPIRED, ended + 1)
    yield "last_second", Case("its last second", node(), None, ended)
    yield "first_second", Case("a clock that starts in 2000", node(), None, 946_684_800)
    yield "clock_in_1970", Case("a clock that was never set", node(), Kind.EXPIRED, 5)
    later = node(begins=NOW + year)
    yield "not_yet_valid", Case("begins next year", later, Kind.EXPIRED)
    owner = forge([TREE.tree], "owner", TREE.owner.key, ROOT, ends=NOW - 1)
    stale = (node()[0], owner.der, TREE.root)
    yield "issuer_expired", Case("the owner's certificate is over", stale, Kind.EXPIRED)
    yield "far_future", Case("a clock far outside the calendar", node(), Kind.EXPIRED, 1 << 62)
