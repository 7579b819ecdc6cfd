"""What the tree says of one device and of one gateway: who it is, whether it belongs, its secret.

The record of a device is what makes it belong: a device whose record is missing or says REVOKED is
refused at its first packet, whatever certificate or secret it has (`SPEC.md`).
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import IntEnum, unique
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from blocktree.fault import Fault, Kind
from blocktree.keys import Key, Principal
from blocktree.names import PrincipalId
from blocktree.wire import Record, record

SECRET_BYTES: Final = 32
DEVICE_ID_BYTES: Final = 32
HINT_BYTES: Final = 8
_SUITE: Final = Suite(KEM.P256, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_LINK: Final = b"blocktree link secret 1\0"
_READING: Final = b"blocktree reading secret 1\0"


@unique
class Standing(IntEnum):
    """Whether a device belongs. Append only."""

    PAIRED = 1
    REVOKED = 2


@record(0x0C80)
@dataclass(frozen=True, slots=True)
class SealedSecret(Record):
    """A secret that one principal can open (HPKE, RFC 9180)."""

    principal: PrincipalId
    sealed: bytes


@record(0x0C81)
@dataclass(frozen=True, slots=True)
class EpochSecrets(Record):
    """The secrets of one epoch: the link secret for gateways, the reading secret for readers."""

    epoch: int
    link: tuple[SealedSecret, ...]
    reading: tuple[SealedSecret, ...]
    rekey: bytes = b""  # what tells the device of this epoch, until it has confirmed it


@record(0x0C82)
@dataclass(frozen=True, slots=True)
class DeviceRecord(Record):
    """One device, at `<its path>/device`.

    Raises:
        Fault: MALFORMED for an id of another length, or without the secrets of its epoch.
    """

    device: bytes  # its principal id
    epoch: int  # of the secrets in use; a higher one in `secrets` is on its way to the device
    standing: Standing
    board: str
    spki: bytes  # of its key
    chain: tuple[bytes, ...]  # its certificate, leaf first
    secrets: tuple[EpochSecrets, ...]  # of every epoch: old readings stay readable
    paired_s: int  # seconds since 1970
    paired_by: str  # the path of who did
    reason: str = ""  # of the revocation
    revoked_s: int = 0

    def __post_init__(self) -> None:
        if len(self.device) != DEVICE_ID_BYTES:
            raise Fault(Kind.MALFORMED, f"a device id of {len(self.device)} bytes")
        if all(each.epoch != self.epoch for each in self.secrets):
            raise Fault(Kind.MALFORMED, f"a device without secrets of epoch {self.epoch}")

    @property
    def belongs(self) -> bool:
        """Whether the device may be served."""
        return self.standing is Standing.PAIRED

    @property
    def hint(self) -> bytes:
        """What it calls itself in a HELLO."""
        return self.device[:HINT_BYTES]

    @property
    def principal(self) -> Principal:
        """Its key.

        Raises:
            Fault: DAMAGED if it is not the key that the id names.
        """
        principal = Principal.load(self.spki)
        if principal.id != self.device:
            raise Fault(Kind.DAMAGED, "the key is not the one that the device's id names")
        return principal

    @property
    def pending(self) -> EpochSecrets | None:
        """The secrets that the device is to be told of, while a rotation is under way."""
        return next((each for each in self.secrets if each.epoch > self.epoch), None)

    def link_secrets(self, key: Key) -> dict[int, bytes]:
        """By epoch, those of the present and of a pending epoch that `key` can open."""
        now = [each for each in self.secrets if each.epoch >= self.epoch]
        return self._open(((each.epoch, each.link) for each in now), key, _LINK)

    def reading_secrets(self, key: Key) -> dict[int, bytes]:
        """By epoch, those that `key` can open."""
        return self._open(((each.epoch, each.reading) for each in self.secrets), key, _READING)

    def rotated(self) -> "DeviceRecord":
        """The same once the device has the pending secrets."""
        pending = self.pending
        assert pending is not None
        kept = [replace(each, rekey=b"") for each in self.secrets]
        return replace(self, epoch=pending.epoch, secrets=tuple(kept))

    def _open(
        self, sealed: Iterable[tuple[int, tuple[SealedSecret, ...]]], key: Key, use: bytes
    ) -> dict[int, bytes]:
        found = {
            epoch: open_secret(each, key, use + self.device + epoch.to_bytes(2))
            for epoch, each in sealed
        }
        return {epoch: secret for epoch, secret in found.items() if secret is not None}


@record(0x0C83)
@dataclass(frozen=True, slots=True)
class GatewayRecord(Record):
    """One gateway, at `/.gateways/<principal>`: secrets are sealed to it, devices may trust it."""

    path: str
    chain: tuple[bytes, ...]
    addresses: tuple[str, ...]  # `HOST UDPPORT TLSPORT`


def new_secrets(
    device: bytes,
    epoch: int,
    link: tuple[bytes, Iterable[Principal]],
    reading: tuple[bytes, Iterable[Principal]],
) -> EpochSecrets:
    """Seal the secrets of an epoch: each with those who may have it."""
    mark = device + epoch.to_bytes(2)
    return EpochSecrets(
        epoch, seal_secret(*link, _LINK + mark), seal_secret(*reading, _READING + mark)
    )


def give_on(record: DeviceRecord, secrets: dict[int, bytes], to: Principal) -> DeviceRecord:
    """The record with its link secrets sealed to one more gateway."""
    changed = [
        replace(
            each,
            link=(
                *each.link,
                *seal_secret(
                    secrets[each.epoch], [to], _LINK + record.device + each.epoch.to_bytes(2)
                ),
            ),
        )
        if each.epoch in secrets and all(one.principal != to.id for one in each.link)
        else each
        for each in record.secrets
    ]
    return replace(record, secrets=tuple(changed))


def seal_secret(
    secret: bytes, principals: Iterable[Principal], purpose: bytes
) -> tuple[SealedSecret, ...]:
    """Seal a 32-byte secret so that each of `principals` can open it, and nobody else."""
    assert len(secret) == SECRET_BYTES
    return tuple(
        SealedSecret(each.id, _SUITE.encrypt(secret, each.public, purpose))
        for each in dict.fromkeys(principals)
    )


def open_secret(secrets: Iterable[SealedSecret], key: Key, purpose: bytes) -> bytes | None:
    """Open what `seal_secret` gave; None if nothing of it is for this key and purpose."""
    for each in secrets:
        if each.principal == key.principal.id:
            try:
                return _SUITE.decrypt(each.sealed, key.private, purpose)
            except (InvalidTag, ValueError):
                return None
    return None
