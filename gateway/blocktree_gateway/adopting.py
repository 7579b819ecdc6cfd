"""The tree's half of pairing: new keys, the certificate, the record that lets a device belong."""

import base64
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from blocktree.fault import Fault, Kind
from blocktree.keys import Credential, Key, Member, MemberKind, Principal, check_chain, issue
from blocktree.keys.certificate import read_certificate
from blocktree.names import Path, TreeId, join
from blocktree.wire import encode
from blocktree_gateway.pairer import Adoption
from blocktree_gateway.pairing import NewKeys, seal_rekey
from blocktree_gateway.tree.devices import RECORD, Device, Devices
from blocktree_gateway.tree.records import (
    SECRET_BYTES,
    DeviceRecord,
    GatewayRecord,
    Standing,
    new_secrets,
)
from blocktree_gateway.tree.smallfiles import Place
from blocktree_gateway.tree.streamfile import STREAM

FORMER = b"former"  # what an earlier device left at a path
FIRST_EPOCH = 1
_DEVICES = "devices"


@dataclass(frozen=True, slots=True)
class Circle:
    """Who gets which secret: gateways the link's, readers the readings'."""

    gateways: Sequence[Principal]
    readers: Sequence[Principal]


def circle_of(
    tree: TreeId, gateways: Sequence[GatewayRecord], members: Sequence[Member], user: Credential
) -> Circle:
    """The gateways of a tree whose chains hold, and its users.

    Raises:
        Fault: NOT_FOUND if there is no gateway: nobody could speak for the device.
    """
    found = []
    for each in gateways:
        identity = check_chain(each.chain, tree, None)
        if identity.path == each.path:
            found.append(read_certificate(each.chain[0]).principal)
    if not found:
        raise Fault(
            Kind.NOT_FOUND,
            "the tree has no gateway yet, so nobody could speak for the device",
            next_step="start one on the machine that the device reaches: bt gateway up",
        )
    people = {MemberKind.USER, MemberKind.OWNER}
    readers = [read_certificate(m.chain[0]).principal for m in members if m.kind in people]
    return Circle(found, [user.key.principal, *readers])


def new_adoption(
    user: Credential, path: Path, circle: Circle, board: str, wifi: tuple[str, str]
) -> tuple[Adoption, DeviceRecord]:
    """Keys and a certificate for a device at `path`, and the record of it.

    The certificate names the device below its user, by its fingerprint: where it is in the tree,
    the tree says, so a rename needs no new certificate.

    Raises:
        Fault: as `issue`.
    """
    now, draw = int(time.time()), secrets.token_bytes
    key = Key.generate(draw)
    device = key.principal.id
    name = join(user.path, _DEVICES, device[:8].hex())
    chain = issue(user, MemberKind.DEVICE, name, key.principal, now=now, draw=draw)
    link, reading = draw(SECRET_BYTES), draw(SECRET_BYTES)
    adoption = Adoption(
        FIRST_EPOCH,
        link,
        reading,
        key.scalar(),
        device,
        tree_bytes(user.tree),
        path,
        wifi,
        chain,
    )
    record = DeviceRecord(
        device=device,
        epoch=FIRST_EPOCH,
        standing=Standing.PAIRED,
        board=board,
        spki=key.principal.spki,
        chain=chain,
        secrets=(
            new_secrets(device, FIRST_EPOCH, (link, circle.gateways), (reading, circle.readers)),
        ),
        paired_s=now,
        paired_by=user.path,
    )
    return adoption, record


async def settle(devices: Devices, place: Place, record: DeviceRecord) -> Device:
    """Put an adopted device in its place; what an earlier one left there is kept aside.

    Raises:
        Fault: EXISTS as `Devices.judge_place`.
    """
    there = await devices.at(place)
    if there is not None and there.device != record.device:
        await devices.judge_place(record.device, place)
        aside = (*place, FORMER, there.device[:8].hex().encode())
        if await devices.files.find((*place, STREAM)) is not None:
            await devices.files.move((*place, STREAM), (*aside, STREAM))
        await devices.files.write((*aside, RECORD), encode(there.record))
        await devices.forget(there.device)
    return await devices.pair(place, record)


def rotation(record: DeviceRecord, reader: Key, circle: Circle) -> DeviceRecord:
    """The record with secrets of a new epoch, on their way to the device.

    Raises:
        Fault: DENIED without the present reading secret; BUSY while another rotation is under way.
    """
    if record.pending is not None:
        raise Fault(
            Kind.BUSY,
            "new keys are on their way to it already",
            next_step="they are given to it when it is next here: bt device inspect",
        )
    present = record.reading_secrets(reader).get(record.epoch)
    if present is None:
        raise Fault(Kind.DENIED, "this user has no reading secret of the device")
    epoch = record.epoch + 1
    link, reading = secrets.token_bytes(SECRET_BYTES), secrets.token_bytes(SECRET_BYTES)
    fresh = new_secrets(record.device, epoch, (link, circle.gateways), (reading, circle.readers))
    sealed = seal_rekey(record.device, present, epoch, NewKeys(link, reading))
    return replace(record, secrets=(*record.secrets, replace(fresh, rekey=sealed)))


def tree_bytes(tree: TreeId) -> bytes:
    """The 32 bytes that a tree's name is made of."""
    return base64.b32decode(tree.removeprefix("bt1").upper() + "====")
