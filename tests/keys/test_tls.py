"""OpenSSL itself accepts our chains: mutual TLS 1.3 in memory, with the strictest checks it has."""

import ssl
from dataclasses import dataclass
from pathlib import Path as File

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from blocktree.keys import (
    Credential,
    Key,
    MemberKind,
    decode_ticket,
    encode_ticket,
    join_from_ticket,
    new_ticket,
    process_credential,
)
from blocktree.names import Path, join
from keys.forge import NOW, a_tree, credential, drawn, forge, issuer_of

TREE = a_tree()


def by_ticket() -> Credential:
    place = join(Path(f"/{TREE.tree}"), "pi-2")
    ticket = new_ticket(TREE.owner, MemberKind.NODE, place, now=NOW, draw=drawn(2))
    return join_from_ticket(decode_ticket(encode_ticket(ticket)), now=NOW, draw=drawn(3))


def by_user_ticket() -> Credential:
    place = join(TREE.user.path, "tablet")
    ticket = new_ticket(TREE.user, MemberKind.PROCESS, place, now=NOW, draw=drawn(4))
    return join_from_ticket(ticket, now=NOW, draw=drawn(5))


MEMBERS = {
    "owner, node": credential(TREE, MemberKind.NODE, "pi-1"),
    "owner, device": credential(TREE, MemberKind.DEVICE, "sensors/attic"),
    "owner, ticket, node": by_ticket(),
    "owner, user": TREE.user,
    "owner, user, process": process_credential(TREE.user, "laptop", now=NOW, draw=drawn(6)),
    "owner, user, ticket, process": by_user_ticket(),
    "owner": TREE.owner,
    "a name that is not ASCII": credential(TREE, MemberKind.NODE, "küche/täglich 100 %/ノード"),
}


@pytest.mark.parametrize("client", MEMBERS)
@pytest.mark.parametrize("server", ["owner, node", "owner, ticket, node"])
def test_members_of_a_tree_meet_over_tls(server: str, client: str, tmp_path: File) -> None:
    near, far = shake(MEMBERS[client], MEMBERS[server], tmp_path)
    assert near.version() == far.version() == "TLSv1.3"
    assert far.getpeercert(binary_form=True) == MEMBERS[client].chain[0]
    assert near.getpeercert(binary_form=True) == MEMBERS[server].chain[0]


def test_a_member_of_another_tree_is_refused(tmp_path: File) -> None:
    stranger = credential(a_tree(seed=7), MemberKind.NODE, "pi-1")
    with pytest.raises(ssl.SSLCertVerificationError, match="unable to get local issuer"):
        shake(stranger, MEMBERS["owner, node"], tmp_path)


def test_openssl_too_refuses_what_a_node_certifies(tmp_path: File) -> None:
    node, key = MEMBERS["owner, node"], Key.generate(drawn(8))
    forged = forge([TREE.tree, "pi-1", "x"], "device", key, issuer_of(node))
    liar = Sent(key, (forged.der, *node.chain))
    with pytest.raises(ssl.SSLCertVerificationError, match="invalid CA certificate"):
        shake(liar, node, tmp_path)


@dataclass
class Sent:
    """What one side shows: `Credential` has this shape, and so have lies."""

    key: Key
    chain: tuple[bytes, ...]


def shake(
    client: Sent | Credential, server: Credential, folder: File
) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Run one handshake through memory, with a byte each way behind it."""
    upward, downward = ssl.MemoryBIO(), ssl.MemoryBIO()
    dialling = context(ssl.PROTOCOL_TLS_CLIENT, client, folder / "client.pem")
    answering = context(ssl.PROTOCOL_TLS_SERVER, server, folder / "server.pem")
    near = dialling.wrap_bio(downward, upward)
    far = answering.wrap_bio(upward, downward, server_side=True)
    for side in (near, far, near, far):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    near.write(b"?")
    assert far.read(1) == b"?"
    far.write(b"!")
    assert near.read(1) == b"!"
    return near, far


def context(protocol: int, shown: Sent | Credential, file: File) -> ssl.SSLContext:
    made = ssl.SSLContext(protocol)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.check_hostname = False
    made.verify_mode = ssl.CERT_REQUIRED
    made.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN  # 3.13 sets both
    made.load_verify_locations(cadata=shown.chain[-1])
    file.write_bytes(shown.key.pem() + b"".join(pem(der) for der in shown.chain[:-1]))
    made.load_cert_chain(file)
    return made


def pem(der: bytes) -> bytes:
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM)
