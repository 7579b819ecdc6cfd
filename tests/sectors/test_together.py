"""The parts together, without any I/O: a client, a replica and the blobs they leave behind."""

import random
from collections.abc import Mapping
from typing import Any

from blocktree.caps import KeyRing
from blocktree.names import ROOT_FILE, Digest, FileId, digest_of
from blocktree.sectors.bucket import DirEntry, entry_size
from blocktree.sectors.check import tree_of
from blocktree.sectors.difference import Difference
from blocktree.sectors.directory import Directory
from blocktree.sectors.header import INLINE_MAX, Cipher, FileKind, Header, load_header
from blocktree.sectors.inline import open_inline, seal_inline
from blocktree.sectors.pages import HOLE, Tree, read, update
from blocktree.sectors.sector import NONCE_BYTES, SectorCipher
from blocktree.sectors.transaction import Change, Expire, Outcome
from keys.forge import NOW, drawn
from sectors.house import A, House, file_id

HOME_RING = KeyRing.start(drawn(71))
SECTOR = 4096


class Client:
    """Writes files into directory A and reads them back; `blobs` is the sector service's disk."""

    def __init__(self) -> None:
        self.house = House()
        self.blobs: dict[Digest, bytes] = {}
        self.draw = random.Random(72).randbytes
        self.house.ok(self.house.mkdir(A))

    def cipher(self, file: FileId, ring: KeyRing) -> SectorCipher:
        return SectorCipher(file, Cipher.AES_256_GCM, ring)

    def put(
        self, cipher: SectorCipher, tree: Tree, sectors: Mapping[int, bytes | None], count: int
    ) -> tuple[Tree, tuple[Digest, ...]]:
        """Seal sectors (None: a hole) and rebuild the tree; the blobs that this introduces."""
        changes = dict.fromkeys((n for n, c in sectors.items() if c is None), HOLE)
        for number, content in sectors.items():
            if content is not None:
                blob = bytes(cipher.seal(number, content, self.draw(NONCE_BYTES)))
                changes[number] = digest_of(blob)
                self.blobs[changes[number]] = blob
        done = update(tree, changes, count, self.blobs)
        assert not done.missing
        self.blobs |= done.made
        return done.tree, (*(set(changes.values()) - {HOLE}), *done.made)

    def get(self, header: Header, cipher: SectorCipher, sector: int) -> bytes:
        found = read(tree_of(header), sector, sector + 1, self.blobs)
        assert not found.missing
        digest = found.digests[0]
        return b"" if digest == HOLE else cipher.open(sector, self.blobs[digest])

    def directory(self) -> Directory:
        header = self.house.header(A)
        inline = open_inline(self.cipher(A, HOME_RING), header)
        return Directory(HOME_RING.key(1), header.size, inline)

    def load(self, directory: Directory, sectors: list[int]) -> None:
        for sector in sectors:
            content = self.get(self.house.header(A), self.cipher(A, HOME_RING), sector)
            directory.load(sector, content)

    def directory_change(self, directory: Directory) -> Change:
        cipher, old = self.cipher(A, HOME_RING), tree_of(self.house.header(A))
        change = directory.change()
        if not change.count:
            inline = seal_inline(cipher, change.inline, self.draw(NONCE_BYTES))
            return self.house.edit(A, size=change.load, inline=inline, root=b"")
        tree, added = self.put(cipher, old, change.sectors, change.count)
        return self.house.edit(A, size=change.load, inline=b"", root=tree.root, blobs=added)

    def write(self, name: bytes, file: FileId, content: bytes) -> Outcome:
        """Create a file with its content: one transaction of two headers."""
        ring = KeyRing.start(self.draw)
        cipher = self.cipher(file, ring)
        directory = self.directory()
        self.load(directory, directory.needed(name, entry_size(name)))
        directory.add(DirEntry(name, file, FileKind.FILE, ring.current, ring.epoch))
        fields: dict[str, Any] = {"size": len(content), "sector_size": SECTOR, "parent": A}
        added: tuple[Digest, ...] = ()
        if len(content) <= INLINE_MAX:
            fields["inline"] = seal_inline(cipher, content, self.draw(NONCE_BYTES))
        else:
            parts = {
                at // SECTOR: content[at : at + SECTOR] for at in range(0, len(content), SECTOR)
            }
            tree, added = self.put(cipher, Tree(), parts, len(parts))
            fields["root"] = tree.root
        created = self.house.create(file, **fields)
        created = Change(file, 0, created.header, added)
        return self.sweep(self.house.ok(self.directory_change(directory), created, time_ns=NOW))

    def remove(self, name: bytes) -> Outcome:
        directory = self.directory()
        self.load(directory, directory.needed(name, -entry_size(name)))
        gone = directory.remove(name)
        changes = self.directory_change(directory), self.house.delete(gone.file)
        return self.sweep(self.house.ok(*changes, time_ns=NOW))

    def content(self, name: bytes) -> bytes:
        directory = self.directory()
        self.load(directory, directory.needed(name))
        entry = directory.lookup(name)
        assert entry is not None
        header, cipher = (
            self.house.header(entry.file),
            self.cipher(entry.file, KeyRing((entry.key,))),
        )
        if header.inline:
            return open_inline(cipher, header)
        return b"".join(self.get(header, cipher, n) for n in range(tree_of(header).count))

    def sweep(self, outcome: Outcome) -> Outcome:
        """Delete what dropped versions leave behind, as the sector service does."""
        for dropped in outcome.dropped:
            after = tree_of(load_header(dropped.successor).header) if dropped.successor else Tree()
            for _, digest in self.walk(tree_of(load_header(dropped.old).header), after):
                del self.blobs[digest]
        return outcome

    def walk(self, tree: Tree, other: Tree) -> list[tuple[int, Digest]]:
        walk = Difference(tree, other)
        found = walk.feed(self.blobs)
        assert not walk.missing(), "every page is there as long as it is needed"
        return found

    def reachable(self) -> set[Digest]:
        """What every present and past version refers to, walked one by one."""
        rows = [row for _, row in self.house.table.items(b"h", b"", 1 << 20)]
        rows += [row[8:] for _, row in self.house.table.items(b"v", b"", 1 << 20)]
        trees = [tree_of(load_header(row).header) for row in rows]
        return {digest for tree in trees for _, digest in self.walk(tree, Tree())}


def test_creating_a_small_file_in_a_small_directory_writes_two_headers_and_no_blob() -> None:
    client = Client()
    outcome = client.write(b"note.txt", file_id(100), b"milk")
    assert outcome.changed == (A, file_id(100))
    assert client.blobs == {}
    assert client.content(b"note.txt") == b"milk"


def test_every_blob_lives_exactly_as_long_as_a_version_that_needs_it() -> None:
    client, dice = Client(), random.Random(73)
    contents: dict[bytes, bytes] = {}
    for step in range(160):
        if contents and dice.random() < 0.25:
            name = dice.choice(sorted(contents))
            del contents[name]
            client.remove(name)
        else:
            name = b"a file with a name of some length %d" % step
            size = dice.choice([0, 10, INLINE_MAX, INLINE_MAX + 1, SECTOR, 3 * SECTOR + 5])
            contents[name] = dice.randbytes(size)
            client.write(name, file_id(1000 + step), contents[name])
        if step % 20 == 19:
            client.sweep(client.house.apply(Expire(NOW + 1 if step % 40 == 39 else NOW)))
            assert set(client.blobs) == client.reachable()
    assert client.directory().count > 1
    assert {name: client.content(name) for name in contents} == contents
    for name in contents:
        client.remove(name)
    while client.sweep(client.house.apply(Expire(NOW + 1))).more:
        pass
    assert client.blobs == {}
    assert client.house.table.items(b"v", b"", 1) == []
    assert client.house.header(A).size == 0
    assert client.house.header(ROOT_FILE).version == 1
