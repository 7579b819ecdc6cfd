"""Which cipher two processes use, each with a processor that has instructions for AES or not."""

import os
import socket
import subprocess
import sys

import pytest

from blocktree import processor

QUICK, SLOW = "flags : fpu aes sse4_2", "Features : fp asimd evtstrm crc32 cpuid"
# An end of a TLS connection on a socket that it inherits, on the processor that it is told of.
END = """
import pathlib, socket, sys
role, processor, descriptor = sys.argv[1:]
read_text = pathlib.Path.read_text
pathlib.Path.read_text = lambda path: (
    processor if str(path) == "/proc/cpuinfo" else read_text(path)
)
from blocktree.link.tls import client_context, server_context
from link.tree import make_node
context = (server_context if role == "server" else client_context)(make_node(role))
with socket.socket(fileno=int(descriptor)) as plain:
    with context.wrap_socket(plain, server_side=role == "server") as secure:
        print(secure.cipher()[0])
        secure.sendall(b"x")
        secure.recv(1)
"""


def agreed(server: str, client: str) -> str:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    environment.pop("OPENSSL_CONF", None)
    ends = []
    for end, role, words in zip(
        socket.socketpair(), ("server", "client"), (server, client), strict=True
    ):
        with end:
            command = [sys.executable, "-c", END, role, words, str(end.fileno())]
            ends.append(
                subprocess.Popen(
                    command,
                    pass_fds=[end.fileno()],
                    env=environment,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
    said = {end.communicate(timeout=30)[0].strip() for end in ends}
    assert [end.returncode for end in ends] == [0, 0]
    (cipher,) = said
    return cipher


@pytest.mark.parametrize(
    ("server", "client", "cipher"),
    [
        (QUICK, QUICK, "TLS_AES_256_GCM_SHA384"),
        (SLOW, SLOW, "TLS_CHACHA20_POLY1305_SHA256"),
        (QUICK, SLOW, "TLS_CHACHA20_POLY1305_SHA256"),
        (SLOW, QUICK, "TLS_CHACHA20_POLY1305_SHA256"),
    ],
)
def test_a_processor_without_aes_on_either_side_means_chacha(
    server: str, client: str, cipher: str
) -> None:
    assert agreed(server, client) == cipher


def test_a_configuration_of_openssl_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "has_aes", lambda: False)
    monkeypatch.setenv("OPENSSL_CONF", "/etc/mine.cnf")
    processor.prepare_tls()
    assert os.environ["OPENSSL_CONF"] == "/etc/mine.cnf"
