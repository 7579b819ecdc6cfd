"""Erlang's own distribution over mutual TLS 1.3, measured for `bench_actors.py`: ask and tell.

Two nodes on this machine with certificates made for the run. Needs Debian's `erlang-base` and
`erlang-ssl`; without them nothing is measured.
"""

import datetime
import ipaddress
import json
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_SERVER = """
register(echo, self()),
F = fun Loop() ->
  receive {ask, From, X} -> From ! {answer, X}, Loop(); {tell, _} -> Loop(); stop -> ok end
end, F(), halt().
"""
_CLIENT = """
Count = {count}, Told = {told}, To = {{echo, '{there}'}},
Wait = fun Wait(0) -> halt(1);
  Wait(N) -> case net_adm:ping('{there}') of
    pong -> ok; pang -> timer:sleep(100), Wait(N - 1) end end,
Wait(100), timer:sleep(300),
Ask = fun() -> To ! {{ask, self(), <<1:192>>}}, receive {{answer, X}} -> X end end,
[Ask() || _ <- lists:seq(1, Count div 10)],
Times = lists:sort([begin B = erlang:monotonic_time(nanosecond), Ask(),
  erlang:monotonic_time(nanosecond) - B end || _ <- lists:seq(1, Count)]),
P50 = lists:nth(Count div 2, Times), P99 = lists:nth(Count * 99 div 100, Times),
B0 = erlang:monotonic_time(nanosecond),
[To ! {{tell, 1}} || _ <- lists:seq(1, Told)], Ask(),
Spent = erlang:monotonic_time(nanosecond) - B0,
Me = self(), Local = spawn(fun L() -> receive {{ask, F, X}} -> F ! {{answer, X}}, L();
  {{tell, _}} -> L() end end),
B1 = erlang:monotonic_time(nanosecond),
[Local ! {{tell, 1}} || _ <- lists:seq(1, Told)],
Local ! {{ask, Me, 1}}, receive {{answer, _}} -> ok end,
S1 = erlang:monotonic_time(nanosecond) - B1,
B2 = erlang:monotonic_time(nanosecond),
[begin Local ! {{ask, Me, 1}}, receive {{answer, _}} -> ok end end || _ <- lists:seq(1, Count)],
S2 = erlang:monotonic_time(nanosecond) - B2,
To ! stop,
io:format("{{\\"p50\\": ~p, \\"p99\\": ~p, \\"told\\": ~p, \\"local\\": ~p, \\"asked\\": ~p}}~n",
  [P50, P99, Spent, S1, S2 / Count]), halt().
"""


_HOSTS = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("127.0.0.1")]


def measure(count: int, told: int) -> dict[str, float] | None:
    """Nanoseconds: p50, p99 of a remote ask; `told` and `local` for all tells; `asked` for one."""
    if shutil.which("erl") is None:
        return None
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        options = _certificates(folder)
        names = [f"bt{secrets.token_hex(4)}@127.0.0.1" for _ in range(2)]
        cookie = secrets.token_hex(8)
        world = {**os.environ, "ERL_EPMD_PORT": str(_free_port()), "HOME": made}
        server = subprocess.Popen(
            [*_erl(names[0], cookie, options), "-eval", _line(_SERVER)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=world,
        )
        client = _CLIENT.format(count=count, told=told, there=names[0])
        try:
            done = subprocess.run(
                [*_erl(names[1], cookie, options), "-eval", _line(client)],
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
                env=world,
            )
        finally:
            server.kill()
            server.wait()
            # The name server that Erlang started beside it.
            subprocess.run(["epmd", "-kill"], env=world, capture_output=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if not lines:
        return None  # this machine's Erlang has no TLS distribution
    measured: dict[str, float] = json.loads(lines[0])
    return measured


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _line(text: str) -> str:
    return " ".join(text.split())


def _erl(name: str, cookie: str, options: Path) -> list[str]:
    tls = ["-proto_dist", "inet_tls", "-ssl_dist_optfile", str(options)]
    return ["erl", "-noshell", "-noinput", *tls, "-name", name, "-setcookie", cookie]


def _certificate(
    name: str, key: ec.EllipticCurvePrivateKey, issuer: str, signer: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=name == issuer, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(_HOSTS), critical=False)
        .sign(signer, hashes.SHA256())
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _certificates(folder: Path) -> Path:
    authority, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root = _certificate("root", authority, "root", authority)
    certificate = _certificate("127.0.0.1", key, "root", authority)
    pem = serialization.Encoding.PEM
    (folder / "root.pem").write_bytes(root.public_bytes(pem))
    (folder / "cert.pem").write_bytes(certificate.public_bytes(pem))
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(pem, form, plain))
    side = (
        f'{{certfile, "{folder}/cert.pem"}}, {{keyfile, "{folder}/key.pem"}}, '
        f'{{cacertfile, "{folder}/root.pem"}}, {{verify, verify_peer}}, '
        "{versions, ['tlsv1.3']}"
    )
    options = folder / "options"
    options.write_text(
        f"[{{server, [{side}, {{fail_if_no_peer_cert, true}}]}},\n"
        f" {{client, [{side}, {{server_name_indication, disable}},\n"
        "   {depth, 1}]}].\n"
    )
    return options


if __name__ == "__main__":
    print(measure(5000, 100_000))
