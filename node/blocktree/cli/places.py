"""Where this machine keeps what it knows: trees and their keys, nodes, mounts.

$BLOCKTREE_STATE  or  $XDG_STATE_HOME/blocktree  or  ~/.local/state/blocktree
  trees/<alias>/    root.der  owner.sealed  user  genesis  seeds  (passphrase: throw-away trees)
  nodes/<name>/     one node's state directory, its pid file and log
  mounts/<id>/      one mount's pid file and log
"""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from blocktree.cli.daemons import Daemon
from blocktree.fault import Fault, Kind
from blocktree.keys import Credential
from blocktree.names import Aliases, TreeId, parse_name, tree_id


def state_root() -> Path:
    """The state directory of this user on this machine; it may not exist yet."""
    if chosen := os.environ.get("BLOCKTREE_STATE"):
        return Path(chosen).absolute()
    home = os.environ.get("XDG_STATE_HOME")
    return (Path(home) if home else Path.home() / ".local" / "state") / "blocktree"


def write_whole(path: Path, content: bytes, *, secret: bool = False) -> None:
    """Write a file so that it is there whole or not at all, for the owner's eyes if `secret`.

    Raises:
        Fault: NO_SPACE or FAILED, naming the file.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as part:  # mode 0600
            part.write(content)
            part.flush()
            os.fsync(part.fileno())
        Path(part.name).chmod(0o600 if secret else 0o644)
        Path(part.name).replace(path)
    except OSError as cause:
        kind = Kind.NO_SPACE if cause.errno == 28 else Kind.FAILED
        raise Fault(kind, f"cannot be written: {cause.strerror}", path=str(path)) from cause


@dataclass(frozen=True, slots=True)
class TreePlace:
    """What this machine keeps of one tree."""

    folder: Path

    @property
    def alias(self) -> str:
        """The tree's name on this machine."""
        return self.folder.name

    def root(self) -> bytes:
        """The root certificate, DER."""
        return self._read("root.der")

    def tree(self) -> TreeId:
        """The tree's id, computed from its root certificate."""
        key = x509.load_der_x509_certificate(self.root()).public_key()
        return tree_id(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))

    def shown(self, path: str) -> str:
        """A path of the tree as people write it, with the tree's name here."""
        return path.replace(f"/{self.tree()}", f"/{self.alias}", 1)

    def user(self) -> Credential:
        """The credential this user works with.

        Raises:
            Fault: DENIED if there is none here.
        """
        if not (self.folder / "user").exists():
            raise Fault(
                Kind.DENIED,
                "there is no user key for this tree on this machine",
                path=f"/{self.alias}",
                next_step="use the machine on which `bt init` ran",
            )
        return Credential.load(self._read("user"))

    def owner_sealed(self) -> bytes:
        """The owner's key, sealed with the passphrase.

        Raises:
            Fault: DENIED if it is not on this machine.
        """
        if not (self.folder / "owner.sealed").exists():
            raise Fault(
                Kind.DENIED,
                "the owner's key is not on this machine",
                path=f"/{self.alias}",
                next_step="run this on the machine on which `bt init` ran",
            )
        return self._read("owner.sealed")

    def genesis_for(self, path: str) -> bytes:
        """What the tree's first node starts it from; empty for every other node.

        The first path that is invited is the founder and stays it, so that a lost ticket can be
        made again while two nodes can never start the same tree.
        """
        genesis, founder = self.folder / "genesis", self.folder / "founder"
        if not genesis.exists():
            return b""
        if not founder.exists():
            write_whole(founder, path.encode())
        return genesis.read_bytes() if founder.read_text() == path else b""

    def founded(self) -> None:
        """The tree has its first node: nobody may start it a second time."""
        (self.folder / "genesis").unlink(missing_ok=True)

    @property
    def passphrase(self) -> Path:
        """Where a throw-away tree keeps its passphrase."""
        return self.folder / "passphrase"

    def is_throwaway(self) -> bool:
        """Whether `bt up --sim` made this tree and `bt down --purge` may remove it unasked."""
        return self.passphrase.exists()

    def seeds(self) -> tuple[str, ...]:
        """Addresses of nodes that this machine was told or has seen."""
        path = self.folder / "seeds"
        return tuple(path.read_text().split()) if path.exists() else ()

    def remember_seeds(self, addresses: tuple[str, ...]) -> None:
        """Keep addresses for the next time, newest first, at most 16."""
        kept = list(dict.fromkeys([*addresses, *self.seeds()]))[:16]
        if tuple(kept) != self.seeds():
            write_whole(self.folder / "seeds", "\n".join(kept).encode() + b"\n")

    def _read(self, name: str) -> bytes:
        try:
            return (self.folder / name).read_bytes()
        except OSError as cause:
            raise Fault(
                Kind.DAMAGED,
                f"cannot be read: {cause.strerror}",
                path=str(self.folder / name),
            ) from cause


@dataclass(frozen=True, slots=True)
class Places:
    """The state directory of this machine."""

    root: Path

    def tree_place(self, alias: str) -> TreePlace:
        """Where the tree of this alias is kept, whether it exists or not."""
        return TreePlace(self.root / "trees" / parse_name(alias))

    def trees(self) -> list[TreePlace]:
        """The trees this machine knows, by alias."""
        return [TreePlace(folder) for folder in _folders(self.root / "trees")]

    def aliases(self) -> Aliases:
        """The names people use for these trees."""
        return Aliases({place.alias: place.tree() for place in self.trees()})

    def only_tree(self) -> TreePlace:
        """The tree meant when none is named.

        Raises:
            Fault: NOT_FOUND if there is none, USAGE if there are several.
        """
        places = self.trees()
        if not places:
            raise Fault(Kind.NOT_FOUND, "no tree on this machine yet", next_step="bt init home")
        if len(places) > 1:
            names = ", ".join(f"/{place.alias}" for place in places)
            raise Fault(Kind.USAGE, f"which tree? there are {names}")
        return places[0]

    def tree_of(self, tree: TreeId) -> TreePlace:
        """The place of the tree with this id.

        Raises:
            Fault: NOT_FOUND.
        """
        for place in self.trees():
            if place.tree() == tree:
                return place
        raise Fault(Kind.NOT_FOUND, "no such tree on this machine", path=f"/{tree}")

    def node(self, name: str) -> Daemon:
        """The node of this name on this machine, whether it exists or not."""
        return Daemon(self.root / "nodes" / parse_name(name))

    def nodes(self) -> list[Daemon]:
        """The nodes of this machine, by name."""
        return [Daemon(folder) for folder in _folders(self.root / "nodes")]

    def mount(self, directory: Path) -> Daemon:
        """The mount on this directory."""
        mark = hashlib.sha256(os.fsencode(directory)).hexdigest()[:12]
        return Daemon(self.root / "mounts" / mark)

    def mounts(self) -> list[Daemon]:
        """The mounts of this machine."""
        return [Daemon(folder) for folder in _folders(self.root / "mounts")]


def here() -> Places:
    """The state directory that this command works with."""
    return Places(state_root())


def _folders(parent: Path) -> Iterator[Path]:
    if parent.is_dir():
        yield from sorted(path for path in parent.iterdir() if path.is_dir())
