"""Measure signing, verifying, chain checks and sealed keys beside bare calls of `cryptography`.

The right column is the least that the same mathematics costs through the same library: the ECDSA or
HPKE call alone, or parsing and verifying the same certificates without any of our rules. `--json`
prints the table for programs.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from blocktree import caps, keys
from blocktree.keys.chain import forget_chains
from blocktree.names import ROOT_FILE, FileId, Path, join

Work = Callable[[], object]
Row = tuple[str, Work, Work | None]

NOW = int(time.time())
MESSAGE = bytes(400)
SECRET = bytes(32)
FILE = FileId(bytes(range(16)))
ECDSA = ec.ECDSA(hashes.SHA256())
SUITE = Suite(KEM.P256, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
TREE = keys.new_tree("home", "anna", now=NOW, passphrase="x", draw=os.urandom)
PLACE = join(Path(f"/{TREE.tree}"), "pi-2")
TICKET = keys.new_ticket(TREE.owner, keys.MemberKind.NODE, PLACE, now=NOW, draw=os.urandom)
NODE = keys.join_from_ticket(TICKET, now=NOW, draw=os.urandom)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    as_json = parser.parse_args().json
    rows = [
        (what, spent(ours), None if bare is None else spent(bare))
        for what, ours, bare in (*signatures(), *chains(), *secrets())
    ]
    if as_json:
        table = [{"what": what, "us": ours, "bare_us": bare} for what, ours, bare in rows]
        print(json.dumps({"schema": 1, "rows": table}, indent=2))
        return
    print(f"{'':38}{'ours µs':>10}{'bare µs':>10}")
    for what, ours, bare in rows:
        print(f"{what:38}{ours:10.1f}" + ("" if bare is None else f"{bare:10.1f}"))


def signatures() -> Iterator[Row]:
    key, who = NODE.key, NODE.key.principal
    signature, plain = key.sign(MESSAGE), key.private.sign(MESSAGE, ECDSA)
    yield "sign 400 bytes", lambda: key.sign(MESSAGE), lambda: key.private.sign(MESSAGE, ECDSA)
    yield (
        "verify 400 bytes",
        lambda: who.verify(signature, MESSAGE),
        lambda: who.public.verify(plain, MESSAGE, ECDSA),
    )


def chains() -> Iterator[Row]:
    user, node, tree = TREE.user.chain, NODE.chain, TREE.tree
    member, saved = keys.member_of(NODE.identity), NODE.save()
    yield "check_chain, 3 certificates, new", lambda: cold(user), lambda: bare_chain(user)
    yield "check_chain, 4 certificates, new", lambda: cold(node), lambda: bare_chain(node)
    yield "check_chain, known", lambda: keys.check_chain(node, tree, NOW), None
    yield "check_member, known", lambda: keys.check_member(member, tree, NOW), None
    yield "load a credential", lambda: keys.Credential.load(saved), None
    yield (
        "issue a certificate",
        lambda: keys.process_credential(TREE.user, "pc", now=NOW, draw=os.urandom),
        None,
    )
    yield "open the owner's key", lambda: keys.open_credential(TREE.owner_sealed, "x"), None


def secrets() -> Iterator[Row]:
    key, who = NODE.key, NODE.key.principal
    sealed, plain = caps.seal_key(SECRET, who, FILE, 1), SUITE.encrypt(SECRET, who.public)
    ring = caps.KeyRing.start(os.urandom)
    access = caps.new_access(
        TREE.owner,
        TREE.tree,
        ROOT_FILE,
        grants=[caps.grant_to(TREE.user.principal, caps.Right.ALL)],
        readers=[TREE.user.key.principal, who],
        ring=ring,
    )
    owner, user = TREE.owner.identity, TREE.user.identity
    yield (
        "seal a key (HPKE)",
        lambda: caps.seal_key(SECRET, who, FILE, 1),
        lambda: SUITE.encrypt(SECRET, who.public),
    )
    yield (
        "open a key (HPKE)",
        lambda: caps.open_key(sealed, key, FILE, 1),
        lambda: SUITE.decrypt(plain, key.private),
    )
    yield "rights_of, one access", lambda: caps.rights_of(user, [access]), None
    yield (
        "check_accesses, one, known",
        lambda: caps.check_accesses([access], lambda _: owner, TREE.tree),
        None,
    )


def cold(chain: tuple[bytes, ...]) -> keys.Identity:
    forget_chains()
    return keys.check_chain(chain, TREE.tree, NOW)


def bare_chain(chain: tuple[bytes, ...]) -> None:
    parsed = [x509.load_der_x509_certificate(der) for der in chain]
    for subject, issuer in zip(parsed, [*parsed[1:], parsed[-1]], strict=True):
        subject.verify_directly_issued_by(issuer)


def spent(work: Work, least: float = 0.1) -> float:
    """Microseconds for one call: the best of three runs of at least `least` seconds."""
    count, best, runs = 1, float("inf"), 0
    while runs < 3:
        start = time.perf_counter()
        for _ in range(count):
            work()
        took = time.perf_counter() - start
        if took < least:
            count *= 2
            continue
        best, runs = min(best, took / count * 1e6), runs + 1
    return best


if __name__ == "__main__":
    main()
