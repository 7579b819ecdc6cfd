"""Mutual TLS for CPython, in the shape that `tls_link` needs; boards never import it."""

import asyncio
import os
import ssl
import tempfile

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec


async def connect(host, port, name, certificates, key):
    """A reader and a writer over mutual TLS with the gateway called `name`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # Python compares no URIs: done below
    context.load_verify_locations(cadata=certificates[1])
    secret = ec.derive_private_key(int.from_bytes(key[7:39], "big"), ec.SECP256R1())
    pem = secret.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    descriptor, path = tempfile.mkstemp()  # readable by this user only
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem + ssl.DER_cert_to_PEM_cert(certificates[0]).encode())
        context.load_cert_chain(path)
    finally:
        os.remove(path)
    reader, writer = await asyncio.open_connection(host, port, ssl=context)
    names = writer.get_extra_info("peercert").get("subjectAltName", ())
    if ("URI", name) not in names:
        writer.close()
        raise ValueError("the gateway is not " + name)
    return reader, writer
