"""TLS 1.3 contexts from a credential, and TLS and socket errors as sentences.

The tree's root is the only authority. Host names are not checked: identity is a path in the
certificate, checked by `opening`. Sessions are not resumed, so that every connection proves itself.
"""

import os
import socket
import ssl
import tempfile
from pathlib import Path as File

from blocktree.fault import Fault, Kind
from blocktree.keys import Credential
from blocktree.link.frames import ALPN
from blocktree.link.link import again

_PRIORITIZE_CHACHA = 1 << 21  # SSL_OP_PRIORITIZE_CHACHA of OpenSSL's ssl.h
_CLOCK = "compare the clocks: date"
_TREE = "check which tree each of the two belongs to: bt status"
# X509_V_ERR_* of OpenSSL's x509_vfy.h
_OUT_OF_DATE = {9, 10}
_OTHER_ROOT = {2, 18, 19, 20, 21}
_ALERTS = {
    "TLSV1_ALERT_UNKNOWN_CA": (Kind.WRONG_TREE, "it belongs to another tree", _TREE),
    "TLSV1_ALERT_DECRYPT_ERROR": (Kind.WRONG_TREE, "it belongs to another tree", _TREE),
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": (
        Kind.EXPIRED,
        "it says that our certificate is out of date",
        _CLOCK,
    ),
    "SSLV3_ALERT_BAD_CERTIFICATE": (Kind.DENIED, "it does not accept our certificate", ""),
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": (Kind.DENIED, "it does not accept our certificate", ""),
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": (Kind.DENIED, "it misses our certificate", ""),
}


def server_context(credential: Credential) -> ssl.SSLContext:
    """For the answering side; a peer without a certificate of this tree is refused."""
    context = _context(ssl.PROTOCOL_TLS_SERVER, credential)
    context.num_tickets = 0
    context.options |= _PRIORITIZE_CHACHA  # if the peer has it first: see `blocktree.processor`
    return context


def client_context(credential: Credential) -> ssl.SSLContext:
    """For the dialling side."""
    return _context(ssl.PROTOCOL_TLS_CLIENT, credential)


def _context(protocol: int, credential: Credential) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols([ALPN])
    context.load_verify_locations(cadata=credential.chain[-1])
    certificates = (ssl.DER_cert_to_PEM_cert(der).encode() for der in credential.chain[:-1])
    _load_key(context, credential.key.pem() + b"".join(certificates))
    return context


def _load_key(context: ssl.SSLContext, pem: bytes) -> None:
    """Python's ssl reads keys from files only: give it one that no disk ever sees, if possible."""
    if hasattr(os, "memfd_create") and File("/proc/self/fd").exists():
        with os.fdopen(os.memfd_create("blocktree-key"), "wb") as file:
            file.write(pem)
            file.flush()
            context.load_cert_chain(f"/proc/self/fd/{file.fileno()}")
        return
    descriptor, name = tempfile.mkstemp()  # readable by this user only
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem)
        context.load_cert_chain(name)
    finally:
        File(name).unlink()


def connection_fault(cause: Exception, address: str = "") -> Fault:
    """What went wrong with a connection, in a sentence."""
    if isinstance(cause, Fault):
        return again(cause).at(address)
    return _sentence(cause).at(address)


def _sentence(cause: Exception) -> Fault:
    if isinstance(cause, ssl.SSLCertVerificationError):
        if cause.verify_code in _OUT_OF_DATE:
            return Fault(
                Kind.EXPIRED,
                f"its certificate is not valid now: {cause.verify_message}",
                next_step=_CLOCK,
            )
        if cause.verify_code in _OTHER_ROOT:
            return Fault(Kind.WRONG_TREE, "it belongs to another tree", next_step=_TREE)
        return Fault(Kind.DENIED, f"its certificate is refused: {cause.verify_message}")
    if isinstance(cause, ssl.SSLError):
        if cause.reason in _ALERTS:
            kind, what, next_step = _ALERTS[cause.reason]
            return Fault(kind, what, next_step=next_step)
        return Fault(
            Kind.UNREACHABLE,
            f"no TLS connection: {cause.reason or cause}",
            next_step="is it the port of a blocktree process?",
        )
    if isinstance(cause, ConnectionRefusedError):
        return Fault(Kind.UNREACHABLE, "nothing listens there", next_step="is it up? bt up")
    if isinstance(cause, TimeoutError):
        return Fault(Kind.UNREACHABLE, "no answer in time")
    if isinstance(cause, socket.gaierror):
        return Fault(Kind.UNREACHABLE, "no host of that name")
    return Fault(Kind.UNREACHABLE, f"no connection: {cause}")
