"""Network addresses as people write them: `host:port`, `[v6]:port`, `[fe80::1%eth0]:port`."""

import re

from blocktree.fault import Fault, Kind

DEFAULT_PORT = 7401
_V6 = r"[0-9A-Fa-f]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(?:%[\w.-]+)?"
_ENDPOINT = re.compile(
    rf"(?:\[(?P<v6>{_V6})\]|(?P<host>[^\s:/\[\]%\0]+))(?::(?P<port>[0-9]{{1,5}}))?|(?P<bare_v6>{_V6})"
)


def split_endpoint(text: str) -> tuple[str, int]:
    """Read host and port; the port may be left out (7401).

    Raises:
        Fault: USAGE if it is not an address.
    """
    match = _ENDPOINT.fullmatch(text)
    port = DEFAULT_PORT if match is None or match["port"] is None else int(match["port"])
    if match is None or not 0 < port < 65536:
        raise Fault(Kind.USAGE, "not a network address", path=text, next_step="HOST:PORT")
    return match["v6"] or match["bare_v6"] or match["host"], port


def join_endpoint(host: str, port: int) -> str:
    """Write host and port."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
