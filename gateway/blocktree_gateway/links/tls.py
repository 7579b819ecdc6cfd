"""TLS connections from devices: both sides prove their certificates, then records flow.

mbedTLS on boards speaks TLS 1.2, so that is allowed here beside 1.3, with forward secrecy and AEAD
ciphers only. A record on the stream is preceded by its length, two bytes, big-endian.
"""

import asyncio
import logging
import os
import socket
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from blocktree.fault import Fault, Kind
from blocktree.keys import Credential
from blocktree.link import join_endpoint
from blocktree_gateway.links.rate import Seldom

log = logging.getLogger(__name__)

RECORD_BYTES_MAX = 16 << 10
HANDSHAKE_SECONDS = 15.0  # a small board computes for seconds
CONNECTIONS_MAX = 512
_CIPHERS = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384"
_OUT_BYTES_MAX = 64 << 10


@dataclass(slots=True, eq=False)
class TlsWire:
    """One connection."""

    writer: asyncio.StreamWriter
    certificate: bytes  # the device's, DER; that it holds the key is proved
    where: str
    kind: str = "mtls"

    def send(self, record: bytes) -> bool:
        """Queue one record; False if too much waits, or the connection is closing."""
        transport = self.writer.transport
        if transport.is_closing() or transport.get_write_buffer_size() > _OUT_BYTES_MAX:
            return False
        self.writer.write(len(record).to_bytes(2) + record)
        return True

    def close(self) -> None:
        """Close the connection."""
        self.writer.close()


@dataclass(slots=True)
class TlsPort:
    """The listening port; made by `open_tls`.

    Args:
        context: what is shown and demanded in handshakes.
        heard: called with the wire and each record.
        gone: called when a connection has ended.
    """

    context: ssl.SSLContext
    heard: Callable[[TlsWire, bytes], None]
    gone: Callable[[TlsWire], None]
    number: int = 0
    refused: int = 0
    _server: asyncio.Server | None = None
    _open: dict[asyncio.StreamWriter, None] = field(default_factory=dict)
    _grumble: Seldom = field(default_factory=Seldom)

    async def listen(self, host: str, port: int) -> None:
        """Begin to take connections.

        Raises:
            Fault: EXISTS if the port is taken.
        """
        try:
            self._server = await asyncio.start_server(
                self._serve,
                host or None,
                port,
                ssl=self.context,
                ssl_handshake_timeout=HANDSHAKE_SECONDS,
                family=socket.AF_INET,
            )
        except OSError as cause:
            what = f"TCP port {port} cannot be opened: {cause.strerror}"
            raise Fault(Kind.EXISTS, what, path=host) from cause
        self.number = int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stop listening and end every connection."""
        if self._server is not None:
            self._server.close()
        for writer in list(self._open):
            writer.close()
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tls = writer.get_extra_info("ssl_object")
        certificate = tls.getpeercert(binary_form=True)
        host, number = writer.get_extra_info("peername")[:2]
        if certificate is None or len(self._open) >= CONNECTIONS_MAX:
            self.refused += 1
            writer.close()
            return
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        wire = TlsWire(writer, certificate, join_endpoint(host, number))
        self._open[writer] = None
        try:
            await self._read(reader, wire)
        except (OSError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        finally:
            self._open.pop(writer, None)
            writer.close()
            self.gone(wire)

    async def _read(self, reader: asyncio.StreamReader, wire: TlsWire) -> None:
        while True:
            size = int.from_bytes(await reader.readexactly(2))
            if not 0 < size <= RECORD_BYTES_MAX:
                self.refused += 1
                self._grumble(log, "%s sent a record of %d bytes", wire.where, size)
                return
            self.heard(wire, await reader.readexactly(size))


def device_context(credential: Credential, authorities: Iterable[bytes] = ()) -> ssl.SSLContext:
    """The gateway's side of TLS with devices.

    Args:
        credential: who the gateway is.
        authorities: certificates (DER) of users who paired devices, beside the gateway's own chain:
            a device shows its own certificate only.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.verify_mode = ssl.CERT_REQUIRED
    context.num_tickets = 0
    for certificate in dict.fromkeys((*credential.chain[1:], *authorities)):
        context.load_verify_locations(cadata=certificate)
    _load(context, credential)
    return context


def _load(context: ssl.SSLContext, credential: Credential) -> None:
    """Python's ssl reads keys from files only: give it one that no disk ever sees."""
    chain = "".join(ssl.DER_cert_to_PEM_cert(der) for der in credential.chain[:-1])
    descriptor = os.memfd_create("blocktree-key")
    with os.fdopen(descriptor, "wb") as file:
        file.write(credential.key.pem() + chain.encode())
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{file.fileno()}")
