"""The messages of the sector service, pinned in `tests/vectors/store`."""

import pytest

from blocktree.names import Digest, FileId, Path, PrincipalId
from blocktree.raft import AppendReply, Heartbeat, NodeId
from blocktree.sectors import claims as c
from blocktree.sectors.places import Publish
from blocktree.sectors.running import Running
from blocktree.store import between as b
from blocktree.store import messages as m
from blocktree.store import place_messages as p
from blocktree.store.owners import DroppedRow
from blocktree.store.scrub import ScrubNote
from blocktree.store.scrub_messages import Phase, Scrub, Scrubbing
from blocktree.wire import Record, decode, encode
from vector import FOLDER, Vector, load, pin, verdict

F, G = FileId(bytes(range(16))), FileId(b"\xff" * 16)
D, E = Digest(b"\x11" * 32), Digest(b"\x22" * 32)
S = b"\x33" * 16
P = PrincipalId(b"\x44" * 32)
N = NodeId("44" * 32)
NODE, DOOR = Path("/bt1x/pi-1"), Path("/bt1x/door")
LOCK = m.LockRange(m.LockKind.WRITE, 0, (1 << 63) - 1, 7, 1234)
RECORDS: dict[str, Record] = {
    "put-blobs": m.PutBlobs((65552, 4096)),
    "stored": m.Stored((D, E)),
    "commit": m.Commit(b"transaction", S),
    "commit-riding": m.Commit(b"transaction", b"", (2064,)),
    "committed": m.Committed(17, 450, 1 << 40, 3),
    "get-headers": m.GetHeaders((F, G), (3, 0), S),
    "get-headers-exclusive": m.GetHeaders((F,), (), S, exclusive=True),
    "headers": m.Headers((b"header", b"", None), 17, 450, 5, ((NODE,), (), ()), 2),
    "get-blobs": m.GetBlobs((D, E)),
    "blobs": m.Blobs((100, 0)),
    "recall": m.Recall(S, (F,), 5),
    "recalled": m.Recalled(),
    "lock-range": LOCK,
    "keep-alive": m.KeepAlive(S, (m.HeldLock(F, LOCK),)),
    "alive": m.Alive(450, 3, 2900, 1),
    "lock": m.Lock(S, F, LOCK, wait=True),
    "locked": m.Locked(3),
    "unlock": m.Unlock(S, F, LOCK),
    "get-lock": m.GetLock(S, F, m.LockRange(m.LockKind.READ, 5, 9, 7, 1, flock=True)),
    "in-the-way": m.InTheWay(LOCK),
    "nothing-in-the-way": m.InTheWay(None),
    "get-history": m.GetHistory(F, 9, 2),
    "history": m.History((b"header",)),
    "join": m.Join((b"leaf", b"root"), ("192.0.2.1:7401",)),
    "joined": m.Joined((b"member",), 4),
    "get-members": m.GetMembers(),
    "members": m.Members((b"member",), 4),
    "remove": m.Remove(PrincipalId(b"\x44" * 32)),
    "removed": m.Removed(18),
    "get-status": m.GetStatus(),
    "raft-messages": b.RaftMessages(N, (Heartbeat(3, 16, 1000), AppendReply(3, 19))),
    "raft-messages-riding": b.RaftMessages(N, (Heartbeat(3, 16, 1000),), (100,)),
    "hold-blobs": b.HoldBlobs((D,), (100,)),
    "need-blobs": b.NeedBlobs((D,), (7,)),
    "needed-blobs": b.NeededBlobs((100, 0, -1)),
    "snapshot-offer": b.SnapshotOffer(3),
    "get-snapshot": b.GetSnapshot(17, b"h"),
    "snapshot-piece": b.SnapshotPiece(b"mark", ((b"h", b"row"),), last=True),
    "clear": b.Clear(),
    "cleared": b.Cleared(17),
    "get-rows": b.GetRows(b"h", b"h1", b"", b"\x55" * 32),
    "rows-the-same": b.Rows(17, same=True),
    "rows": b.Rows(17, same=False, rows=((b"h2", b"header"),), complete=False),
    "scrub": Scrub(begin=True),
    "scrubbing": Scrubbing(Phase.LOG, 5, 9, 4, 3, 2, 1, 1, 0, 1_800_000_000, 0, ("one",)),
    "scrub-note": ScrubNote(Phase.STATE, b"h1", 5, 4, 3, 2, 1, 1_800_000_000, 0, ("one",)),
    "dropped-row": DroppedRow(b"old", b""),
    "register": p.Register(S, DOOR, "door", sole=True, addresses=("192.0.2.1:7401",)),
    "registered": p.Registered(3000, 17),
    "renew": p.Renew(S, 2, (p.Stay(DOOR, "door", 17),), ("192.0.2.1:7401",)),
    "renew-as-before": p.Renew(S, 2),
    "renewed": p.Renewed(3000, (DOOR,)),
    "withdraw": p.Withdraw(S, DOOR),
    "withdrawn": p.Withdrawn(),
    "resolve": p.Resolve(NODE, "services/door"),
    "providers": p.Providers((p.Provider(DOOR, NODE, "door", 17, ("192.0.2.1:7401",)),), 20),
    "list-providers": p.ListProviders(NODE, DOOR),
    "publish-place": p.PublishPlace(DOOR, F),
    "published": p.Published(17),
    "get-access": p.GetAccess(DOOR, NODE, "door"),
    "access-at": p.AccessAt((b"access",), b"header"),
    "keep-state": p.KeepState(DOOR, 17, 3, b"state"),
    "get-state": p.GetState(DOOR),
    "kept-state": p.KeptState(17, 3, b"state"),
    "volunteer": p.Volunteer(S),
    "volunteered": p.Volunteered(),
    "forget": p.Forget(DOOR),
    "forgotten": p.Forgotten(),
    "list-running": p.ListRunning(),
    "run-list": p.RunList((p.Run(DOOR, "Door", "", NODE, 17),), ("one",)),
    "running": Running(DOOR, F, D, "Door", NODE),
    "command-publish": Publish(DOOR, F, P, 1),
    "command-claim": c.Claim(DOOR, P, NODE, "door", S, 9, 1, F),
    "command-release": c.Release(DOOR, 17, forget=True),
    "command-keep": c.Keep(DOOR, 17, 3, b"state"),
    "holding-row": c.Holding(P, NODE, "door", S, 17, F),
    "kept-row": c.Kept(17, 3, b"state"),
}
WRONG: dict[str, bytes] = {
    "lock-unknown-kind": encode(LOCK).replace(b"\x0b\x01", b"\x0b\x02"),
    "recalled-with-a-field": b"\x82\x19\x09\x0a\x00",
    "stored-cut": encode(RECORDS["stored"])[:-1],
    "get-blobs-of-text": encode(m.GetBlobs((D,))).replace(b"\x58\x20", b"\x78\x20"),
}


@pytest.mark.parametrize("name", RECORDS)
def test_vectors_are_what_we_write(name: str, rewrite: bool) -> None:
    pin("store", name, Vector({"expect": "ok"}, [encode(RECORDS[name])]), rewrite=rewrite)


@pytest.mark.parametrize("name", WRONG)
def test_wrong_vectors_are_pinned(name: str, rewrite: bool) -> None:
    pin("store", name, Vector({"expect": "malformed"}, [WRONG[name]]), rewrite=rewrite)


@pytest.mark.parametrize("name", [*RECORDS, *WRONG])
def test_vectors_are_judged_as_they_say(name: str) -> None:
    vector = load(FOLDER / "store" / f"{name}.txt")
    (data,) = vector.values
    assert verdict(lambda: decode(data, Record)) == vector.headers["expect"]


def test_every_message_has_a_vector() -> None:
    pinned = {type(record) for record in RECORDS.values()}
    messages = {
        cls
        for cls in (*vars(m).values(), *vars(b).values(), *vars(p).values(), *vars(c).values())
        if isinstance(cls, type) and issubclass(cls, Record) and cls is not Record
    }
    inside = {
        m.HeldLock,
        m.PeerStatus,
        m.Status,
        p.Stay,
        p.Provider,
        p.Run,
    }  # parts of others; the status grows with us
    assert messages - inside <= pinned
