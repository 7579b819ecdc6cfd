"""The announcement of one process in DNS-SD terms: instance name and TXT strings."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from blocktree.fault import Fault
from blocktree.keys import Credential
from blocktree.link.endpoint import join_endpoint
from blocktree.names import Path, TreeId, is_within, leaf, parse_path, short

SERVICE = "_blocktree._tcp.local."
ADDRESSES_MAX = 8  # of one process
PATH_BYTES_MAX = 240  # in one TXT string of at most 255 bytes
_LABEL_MAX = 63


@dataclass(frozen=True, slots=True)
class Found:
    """A process that announced itself. Nothing of it is proved."""

    tree: TreeId
    path: Path
    principal: str  # hex
    kind: str  # of `MemberKind`, in lower case
    addresses: tuple[str, ...]  # host:port


def instance_name(credential: Credential) -> str:
    """`pi-1 q3k5abcdef._blocktree._tcp.local.`: readable, unique by the principal."""
    mark = short(credential.principal)
    room = _LABEL_MAX - len(mark) - 1
    name = leaf(credential.path).replace(".", "-").encode()[:room].decode(errors="ignore")
    return f"{name} {mark}.{SERVICE}"


def write_text(credential: Credential) -> dict[str, str] | None:
    """The TXT strings, or None for a path too long for one."""
    below = credential.path.removeprefix(f"/{credential.tree}")
    if len(below.encode()) > PATH_BYTES_MAX:
        return None
    return {
        "v": "1",
        "tree": credential.tree,
        "path": below,
        "principal": credential.principal.hex(),
        "kind": credential.identity.kind.name.lower(),
    }


def read_text(
    text: Mapping[bytes, bytes | None], tree: TreeId, hosts: Iterable[str], port: int
) -> Found | None:
    """What was announced, or None if it is of another tree or makes no sense."""
    try:
        fields = {key.decode(): (value or b"").decode() for key, value in text.items()}
        path = parse_path(f"/{tree}{fields.get('path', '')}")
    except (UnicodeDecodeError, Fault):
        return None
    root = Path(f"/{tree}")
    if fields.get("v") != "1" or fields.get("tree") != tree or not is_within(path, root):
        return None
    if path == root and fields.get("path"):
        return None
    addresses = tuple(join_endpoint(host, port) for host in list(hosts)[:ADDRESSES_MAX])
    if not addresses or not 0 < port < 65536:
        return None
    return Found(
        tree, path, fields.get("principal", "")[:64], fields.get("kind", "")[:16], addresses
    )
