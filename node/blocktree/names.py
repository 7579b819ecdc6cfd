"""Names of things: tree ids, principal ids, paths and actor addresses.

A path in memory and on the wire always starts with the tree id; an alias such as `home` stands for
it only in what people type and read (`Aliases`). DESIGN section 2 has the words.
"""

import base64
import hashlib
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NewType

from blake3 import blake3

from blocktree.fault import Fault, Kind

TreeId = NewType("TreeId", str)  # "bt1" + lower-case base32 of SHA-256(root SPKI), 55 characters
PrincipalId = NewType("PrincipalId", bytes)  # SHA-256 of the SubjectPublicKeyInfo DER, 32 bytes
FileId = NewType("FileId", bytes)  # 16 bytes, see `new_file`; the root directory's is all zero
Digest = NewType("Digest", bytes)  # 32 bytes: a blob's see `digest_of`; of headers and code SHA-256
Path = NewType("Path", str)  # "/<tree id>/a/b", no trailing slash
Buffer = bytes | bytearray | memoryview  # contiguous
Name = NewType("Name", bytes)  # one path component as the file system sees it

ROOT_FILE = FileId(bytes(16))
PATH_COMPONENTS_MAX = 64
COMPONENT_BYTES_MAX = 255
_MILLISECOND_BYTES = 6


def tree_id(root_spki: bytes) -> TreeId:
    """Name the tree whose root public key has this SubjectPublicKeyInfo (DER)."""
    digest = hashlib.sha256(root_spki).digest()
    return TreeId("bt1" + base64.b32encode(digest).decode().rstrip("=").lower())


def principal_id(spki: bytes) -> PrincipalId:
    """Name the principal whose public key has this SubjectPublicKeyInfo (DER)."""
    return PrincipalId(hashlib.sha256(spki).digest())


def digest_of(blob: Buffer) -> Digest:
    """Name a blob: BLAKE3 of its bytes (O'Connor et al., 2020; 32 bytes, no key)."""
    return Digest(blake3(blob).digest())


def new_file(now_ns: int, draw: Callable[[int], bytes]) -> FileId:
    """Name a new file: 48 bits of milliseconds since 1970, then 80 random ones (as RFC 9562, 5.7).

    So files made at about the same time lie beside each other in every table that is ordered by
    file. Nothing depends on the time: a wrong clock only scatters them.

    Args:
        now_ns: nanoseconds since 1970.
        draw: as many random bytes.
    """
    milliseconds = now_ns // 1_000_000 % (1 << 8 * _MILLISECOND_BYTES)
    return FileId(milliseconds.to_bytes(_MILLISECOND_BYTES) + draw(16 - _MILLISECOND_BYTES))


def short(identifier: bytes) -> str:
    """The first 50 bits of an id in lower-case base32, for people: `q3k5…`, 10 characters."""
    return base64.b32encode(identifier[:10]).decode().lower()[:10]


def parse_name(component: str) -> str:
    """Check one path component and return it in NFC.

    Raises:
        Fault: USAGE if it is empty, `.`, `..`, longer than 255 bytes, or has `/` or NUL.
    """
    if component in {"", ".", ".."} or "/" in component or "\0" in component:
        raise Fault(Kind.USAGE, f"{component!r} cannot be a name in a path")
    normal = unicodedata.normalize("NFC", component)
    try:
        size = len(normal.encode())
    except UnicodeEncodeError:
        raise Fault(Kind.USAGE, f"{component!r} is not valid Unicode") from None
    if size > COMPONENT_BYTES_MAX:
        raise Fault(Kind.USAGE, f"a name of {size} bytes is longer than {COMPONENT_BYTES_MAX}")
    return normal


def parse_path(text: str) -> Path:
    """Check an absolute path and return it in canonical form.

    Raises:
        Fault: USAGE, naming the component that is wrong.
    """
    if not text.startswith("/"):
        raise Fault(Kind.USAGE, "a path starts with / and a tree", path=text, next_step="/home/…")
    parts = [part for part in text.split("/") if part]
    if len(parts) > PATH_COMPONENTS_MAX:
        raise Fault(Kind.USAGE, f"more than {PATH_COMPONENTS_MAX} components", path=text)
    return Path("/" + "/".join(parse_name(part) for part in parts))


def components(path: Path) -> tuple[str, ...]:
    """The parts of a path, the tree first; empty for `/`."""
    return tuple(path.split("/")[1:]) if path != "/" else ()


def join(path: Path, *names: str) -> Path:
    """The path of a descendant."""
    head = "" if path == "/" else path
    return parse_path("/".join([head, *names])) if names else path


def parent(path: Path) -> Path:
    """The directory that holds `path`; `/` is its own parent."""
    head, _, _ = path.rpartition("/")
    return Path(head or "/")


def leaf(path: Path) -> str:
    """The last component, or "" for `/`."""
    return path.rpartition("/")[2]


def tree_of(path: Path) -> TreeId:
    """The tree (or alias) a path starts with."""
    return TreeId(path.split("/", 2)[1])


def is_within(path: Path, ancestor: Path) -> bool:
    """Whether `path` is `ancestor` or lies below it, by whole components."""
    return path == ancestor or ancestor == "/" or path.startswith(ancestor + "/")


@dataclass(frozen=True, slots=True)
class Address:
    """Where an actor's mailbox is: `/home/pi-1#store`."""

    process: Path
    actor: str

    def __str__(self) -> str:
        return f"{self.process}#{self.actor}"


def parse_address(text: str) -> Address:
    """Read `/tree/process#actor`.

    Raises:
        Fault: USAGE if a part is missing or malformed.
    """
    process, mark, actor = text.rpartition("#")
    if not mark or not actor:
        raise Fault(Kind.USAGE, "an actor's address is PATH#NAME", path=text)
    return Address(parse_path(process), parse_name(actor))


@dataclass(frozen=True, slots=True)
class Aliases:
    """The local names of the trees this machine knows: alias to tree id."""

    trees: Mapping[str, TreeId]

    def resolve(self, text: str) -> Path:
        """Turn what a person typed (`/home/photos`) into a path with the tree id.

        Raises:
            Fault: USAGE for a malformed path, NOT_FOUND for a tree this machine does not know.
        """
        path = parse_path(text)
        first, *rest = components(path) or ("",)
        tree = self.trees.get(first, first)
        if not tree.startswith("bt1"):
            known = (
                ", ".join(f"/{alias}" for alias in sorted(self.trees)) or "none yet: bt init home"
            )
            raise Fault(Kind.NOT_FOUND, "no such tree here", path=text, next_step=f"known: {known}")
        return Path("/" + "/".join([tree, *rest]))

    def display(self, path: Path) -> str:
        """Write a path for people, with the alias in place of the tree id."""
        first, *rest = components(path) or ("",)
        for alias, tree in self.trees.items():
            if tree == first:
                return "/" + "/".join([alias, *rest])
        return str(path)
