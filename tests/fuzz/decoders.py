"""Every decoder of bytes or text that come from elsewhere, with a sample of what it accepts.

`test_decoders` finds decoders by their names and fails for one that is not here: add a line to
`DECODERS` with a function of one byte string that calls it, and what is good for it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from blocktree.actors import remote
from blocktree.caps import Right, access, ring, seal
from blocktree.caps.share import open_read_cap
from blocktree.disk import (
    Batch,
    MemoryIndex,
    SimulatedFiles,
    Space,
    catalogue,
    checkpoint,
    identity,
    reading,
    segment,
)
from blocktree.disk import log as disk_log
from blocktree.disk.segment import Place, key_of, place, segment_name
from blocktree.disk.shelf import Shelf
from blocktree.files.cache import open_sector
from blocktree.keys import certificate, chain, recovery, ticket, welcome
from blocktree.keys.credential import Credential
from blocktree.keys.principal import Key, Principal
from blocktree.link import announcement, endpoint
from blocktree.link.frames import VERSION, Hello, Lane
from blocktree.names import FileId, parse_address, parse_name, parse_path
from blocktree.raft import HardState
from blocktree.sectors import bucket, check, header, transaction
from blocktree.sectors.directory import Directory
from blocktree.sectors.header import Cipher, FileKind, sign_header, sign_headers
from blocktree.sectors.sector import SectorCipher
from blocktree.sectors.transaction import Change, Expire, Transaction
from blocktree.store import blobs, owners
from blocktree.store.between import HoldBlobs
from blocktree.wire import Record, decode, decode_any, decode_each, encode
from blocktree_gateway import appfile, pairing
from blocktree_gateway.decoding import decode_message
from blocktree_gateway.links.framing import decode_cobs
from blocktree_gateway.session.packets import read_packet
from blocktree_gateway.stream.columns import read_column
from blocktree_gateway.tree.streamfile import split_items
from blocktree_images.build.boards import read_board
from blocktree_images.card.blockmap import decode_blockmap
from blocktree_images.card.settings import decode_settings
from caps.home import ANNA, OWNER, PHOTOS, RING, ROOT_ACCESS, TREE, give, sealed_access
from disk.rig import KEEPER, ME, blob_of, entry_of, mark_of, open_disk
from sectors.house import file_id, fresh
from store.world import make_ticket

Decoder = Callable[[bytes], object]


@dataclass(frozen=True, slots=True)
class Fuzzed:
    """A decoder of one byte string, and what it accepts."""

    decode: Decoder
    good: tuple[bytes, ...]


def a_disk() -> tuple[SimulatedFiles, MemoryIndex]:
    files, index = SimulatedFiles(), MemoryIndex()
    disk = open_disk(files, index)
    disk.append(Batch(HardState(3, ME), [BLOB], [entry_of(1)]))
    disk.checkpoint({b"k": b"v"}, mark_of(1))
    return files, index


BLOB = blob_of(b"blob" * 99)
FILES, INDEX = a_disk()
SEGMENT = FILES.contents(segment_name(1))
IDENTITY = FILES.contents(identity.NAME)
DISK_KEY = key_of(b"d" * 16)
FILE = FileId(bytes([9] * 16))
SIGNED = sign_header(fresh(FILE), ANNA.key)
TOGETHER = sign_headers([fresh(file_id(number)) for number in range(1, 6)], ANNA.key)[4]
CHANGE = Change(FILE, 0, SIGNED.encoded, ())
TRANSACTION = encode(Transaction((CHANGE,)))
CIPHER = SectorCipher(FILE, Cipher.AES_256_GCM, RING)
SHARED = sealed_access(OWNER, PHOTOS, [give(ANNA, Right.READ)], [ANNA])
NEXT = RING.advance(bytes)
ENTRY = bucket.DirEntry(b"name", FILE, FileKind.FILE, bytes(32), 1)
HELLO = encode(Hello(VERSION, TREE.tree, "", Lane.CONTROL, bytes(16), tuple(ANNA.chain)))
ROUTE = remote.encode_route("store", "files")
WORDS = " ".join(recovery.encode_words(ANNA.key))


def text(decoder: Callable[[str], object]) -> Decoder:
    return lambda data: decoder(data.decode("utf-8", "replace"))


def a_place(data: bytes) -> Place:
    return place(1, int.from_bytes(data[:2]) % 3000, int.from_bytes(data[2:4]) % 3000)


def at(offset: int, length: int) -> bytes:
    """A segment, and behind which bytes of it a record is looked for."""
    return offset.to_bytes(2) + length.to_bytes(2) + SEGMENT


def spoiled(data: bytes) -> Shelf:
    return Shelf(SimulatedFiles({segment_name(1): data[4:]}))


def announced(data: bytes) -> object:
    parts = data.split(b"\n")
    pairs: Mapping[bytes, bytes | None] = {
        part.partition(b"=")[0]: part.partition(b"=")[2] or None for part in parts
    }
    return announcement.read_text(pairs, TREE.tree, ["10.0.0.1"], 7400)


def verified(data: bytes) -> object:
    signed = header.load_header(data)
    header.verify_header(signed, ANNA.key.principal)
    return signed


def load_identity(data: bytes) -> object:
    return identity.load_identity(SimulatedFiles({identity.NAME: data}), KEEPER, bytes)


def load_row(space: int, load: Callable[[MemoryIndex], object], key: bytes) -> Decoder:
    def decoder(data: bytes) -> object:
        index = INDEX.copy()
        index.commit({space: {key: data}})  # type: ignore[dict-item]
        return load(index)

    return decoder


TEXT = "\n".join(f"{k}={v}" for k, v in (announcement.write_text(ANNA) or {}).items()).encode()
SPACES = {name: getattr(Space, name) for name in ("STATE", "LOG")}
INDEX_1 = (1).to_bytes(8)
ROW = INDEX.get(SPACES["LOG"], INDEX_1) or b""
CHECKPOINT = INDEX.get(SPACES["STATE"], checkpoint.CHECKPOINT_KEY) or b""
RESTORE = next(iter(checkpoint.state_rows(checkpoint.Restore(mark_of(1), b"k")).values())) or b""
HEAD_LENGTH = int.from_bytes(SEGMENT[8:12])
AT_ENTRY = SEGMENT.index(b"payload") - 64


def split(data: bytes) -> object:
    return blobs.split_blobs(list(data[:4]), data[4:])


def a_chain(data: bytes) -> tuple[bytes, ...]:
    return tuple(data.split(b"\xff\xfe\xfd"))


DECODERS: dict[str, Fuzzed] = {
    "blocktree.wire.record.decode": Fuzzed(lambda data: decode(data, Record), (TRANSACTION, HELLO)),
    "blocktree.wire.record.decode_any": Fuzzed(decode_any, (TRANSACTION, HELLO)),
    "blocktree.wire.record.decode_each": Fuzzed(decode_each, (b"\x82" + TRANSACTION + HELLO,)),
    "blocktree.actors.remote.split_head": Fuzzed(
        remote.split_head, (remote.encode_message(remote.Form(1), 7, ROUTE, CHANGE),)
    ),
    "blocktree.actors.remote.read_message": Fuzzed(
        lambda data: remote.read_message(data, data[:3]), (encode(HoldBlobs((), ())),)
    ),
    "blocktree.caps.access.load_access": Fuzzed(access.load_access, (encode(ROOT_ACCESS),)),
    "blocktree.caps.ring.open_ring": Fuzzed(
        lambda data: ring.open_ring(data[:32], 2, data[32:], FILE),
        (NEXT.current + NEXT.seal_past(FILE),),
    ),
    "blocktree.caps.seal.open_key": Fuzzed(
        lambda data: seal.open_key(data, ANNA.key, FILE, 1),
        (seal.seal_key(bytes(32), ANNA.key.principal, FILE, 1),),
    ),
    "blocktree.caps.share.open_read_cap": Fuzzed(
        lambda data: open_read_cap(access.load_access(data), ANNA.key),
        (encode(SHARED),),
    ),
    "blocktree.disk.catalogue.decode_place": Fuzzed(catalogue.decode_place, (bytes(12),)),
    "blocktree.disk.log.decode_row": Fuzzed(lambda data: disk_log.decode_row(1, data), (ROW,)),
    "blocktree.disk.segment.parse_head": Fuzzed(
        lambda data: segment.parse_head(data, DISK_KEY, 1, 0), (SEGMENT[:64],)
    ),
    "blocktree.disk.segment.decode_deleted": Fuzzed(segment.decode_deleted, (bytes(80),)),
    "blocktree.disk.checkpoint.load_checkpoint": Fuzzed(
        load_row(SPACES["STATE"], checkpoint.load_checkpoint, checkpoint.CHECKPOINT_KEY),
        (CHECKPOINT,),
    ),
    "blocktree.disk.checkpoint.load_restore": Fuzzed(
        load_row(SPACES["STATE"], checkpoint.load_restore, checkpoint.RESTORE_KEY), (RESTORE,)
    ),
    "blocktree.disk.checkpoint.load_log": Fuzzed(
        load_row(SPACES["LOG"], checkpoint.load_log, INDEX_1), (ROW,)
    ),
    "blocktree.disk.identity.load_identity": Fuzzed(load_identity, (IDENTITY,)),
    "blocktree.disk.reading.read_record": Fuzzed(
        lambda data: reading.read_record(spoiled(data), DISK_KEY, a_place(data)),
        (at(0, HEAD_LENGTH), at(AT_ENTRY, 7)),
    ),
    "blocktree.disk.reading.read_blob": Fuzzed(
        lambda data: reading.read_blob(
            spoiled(data), DISK_KEY, BLOB[0], a_place(data), verify=True
        ),
        (at(SEGMENT.index(BLOB[1]) - 64, len(BLOB[1])),),
    ),
    "blocktree.disk.reading.read_entry": Fuzzed(
        lambda data: reading.read_entry(spoiled(data), DISK_KEY, a_place(data)),
        (at(AT_ENTRY, 7),),
    ),
    "blocktree.files.cache.open_sector": Fuzzed(
        lambda data: open_sector(CIPHER, 0, data), (bytes(CIPHER.seal(0, b"plain", bytes(12))),)
    ),
    "blocktree.sectors.sector.SectorCipher.open": Fuzzed(
        lambda data: CIPHER.open(0, data), (bytes(CIPHER.seal(0, b"plain", bytes(12))),)
    ),
    "blocktree.keys.certificate.read_certificate": Fuzzed(
        certificate.read_certificate, (ANNA.chain[0],)
    ),
    "blocktree.keys.chain.read_chain": Fuzzed(
        lambda data: chain.read_chain(a_chain(data)), (b"\xff\xfe\xfd".join(ANNA.chain),)
    ),
    "blocktree.keys.chain.check_chain": Fuzzed(
        lambda data: chain.check_chain(a_chain(data), TREE.tree, 1_800_000_000),
        (b"\xff\xfe\xfd".join(ANNA.chain),),
    ),
    "blocktree.keys.credential.Credential.load": Fuzzed(Credential.load, (ANNA.save(),)),
    "blocktree.keys.principal.Principal.load": Fuzzed(Principal.load, (ANNA.key.principal.spki,)),
    "blocktree.keys.principal.Key.load": Fuzzed(Key.load, (bytes(31) + b"\1",)),
    "blocktree.keys.recovery.decode_words": Fuzzed(text(recovery.decode_words), (WORDS.encode(),)),
    "blocktree.keys.welcome.decode_request": Fuzzed(
        text(welcome.decode_request), (welcome.encode_request(ANNA.key.principal).encode(),)
    ),
    "blocktree.keys.welcome.decode_welcome": Fuzzed(
        text(welcome.decode_welcome),
        (welcome.encode_welcome(welcome.Welcome(ANNA.chain, ("pi:7400",))).encode(),),
    ),
    "blocktree.keys.ticket.decode_ticket": Fuzzed(
        text(ticket.decode_ticket), (ticket.encode_ticket(make_ticket("pi-9")).encode(),)
    ),
    "blocktree.link.announcement.read_text": Fuzzed(announced, (TEXT,)),
    "blocktree.link.endpoint.split_endpoint": Fuzzed(
        text(endpoint.split_endpoint), (b"[fe80::1%3]:7400", b"pi:1")
    ),
    "blocktree.names.parse_name": Fuzzed(text(parse_name), (b"name",)),
    "blocktree.names.parse_path": Fuzzed(text(parse_path), (b"/home/pi-1",)),
    "blocktree.names.parse_address": Fuzzed(text(parse_address), (b"/home/pi-1#store",)),
    "blocktree.sectors.bucket.load": Fuzzed(bucket.load, (bucket.pack(ENTRY) + bytes(9),)),
    "blocktree.sectors.bucket.unpack": Fuzzed(
        lambda data: bucket.unpack(bucket.load(data)), (bucket.pack(ENTRY) + bytes(9),)
    ),
    "blocktree.sectors.directory.Directory.load": Fuzzed(
        lambda data: Directory(bytes(32), 4096).load(0, data), (bucket.pack(ENTRY) + bytes(9),)
    ),
    "blocktree.sectors.check.read_transaction": Fuzzed(check.read_transaction, (TRANSACTION,)),
    "blocktree.sectors.header.load_header": Fuzzed(
        header.load_header, (SIGNED.encoded, TOGETHER.encoded)
    ),
    "blocktree.sectors.header.verify_header": Fuzzed(verified, (SIGNED.encoded, TOGETHER.encoded)),
    "blocktree.sectors.transaction.decode_command": Fuzzed(
        transaction.decode_command, (encode(Expire(5)),)
    ),
    "blocktree.store.blobs.split_blobs": Fuzzed(split, (b"\1\2\3\4" + bytes(10),)),
    "blocktree_images.build.boards.read_board": Fuzzed(
        text(lambda words: read_board(words, "a-board")), ()
    ),
    "blocktree_images.card.blockmap.decode_blockmap": Fuzzed(decode_blockmap, ()),
    "blocktree_images.card.settings.decode_settings": Fuzzed(decode_settings, ()),
    "blocktree_gateway.appfile.unpack_app": Fuzzed(
        appfile.unpack_app, (b"\x06app.py\0\0\0\4pass",)
    ),
    "blocktree_gateway.decoding.decode_message": Fuzzed(decode_message, ()),
    "blocktree_gateway.links.framing.decode_cobs": Fuzzed(decode_cobs, (b"\3ab\2c",)),
    "blocktree_gateway.pairing.open_rekey": Fuzzed(
        lambda data: pairing.open_rekey(bytes(16), bytes(32), 1, data), ()
    ),
    "blocktree_gateway.pairing.read_code": Fuzzed(text(pairing.read_code), ()),
    "blocktree_gateway.session.packets.read_packet": Fuzzed(
        read_packet, tuple(bytes([kind, 1]) + bytes(34) for kind in range(16))
    ),
    "blocktree_gateway.stream.columns.read_column": Fuzzed(
        text(read_column), (b"temperature C -2", b"x - 99999999999")
    ),
    "blocktree_gateway.tree.streamfile.split_items": Fuzzed(
        lambda data: list(split_items(data, b"s")), (b"",)
    ),
    "blocktree.store.owners.read_dropped": Fuzzed(
        owners.read_dropped, (encode(owners.DroppedRow(SIGNED.encoded, b"")),)
    ),
}

# Found by name, and no decoders of foreign bytes.
NOT_FOREIGN: Mapping[str, str] = {
    "blocktree_images.build.boards.load_board": "the name of one of our own folders",
    "blocktree_images.build.debs.read_record": "what apt says on the machine that builds images",
    "blocktree.services.child.load_class": "a name that its parent gives to a process it starts",
    "blocktree.keys.passphrase.open_credential": "slow on purpose; its record is fuzzed",
}
