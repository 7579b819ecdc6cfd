"""The judgement of a transaction against the state: what a replica checks before it changes a row.

Versions are compared before (`state`). Here: the chain of versions, what may not change, whose
rights are needed where, that parents are directories, and that no directory gets below itself.
"""

from typing import Final

from blocktree.caps import Access, Right, check_access, check_succession, load_access
from blocktree.fault import Fault, Kind
from blocktree.keys import Identity
from blocktree.names import PATH_COMPONENTS_MAX, ROOT_FILE, FileId, PrincipalId
from blocktree.sectors.check import Checked
from blocktree.sectors.header import FileKind, Header, SignedHeader
from blocktree.sectors.rights import Rights

_WRITE: Final = int(Right.WRITE)


class Judge:
    """One transaction of one principal.

    Rights are those of the state before the transaction; directories that it creates have those
    of their parents. Places are those of the state after it.
    """

    def __init__(self, rights: Rights, principal: PrincipalId, checked: Checked) -> None:
        self._rights = rights
        self._principal = principal
        changes = checked.transaction.changes
        self._new = {s.header.file: s.header for s in checked.headers if s is not None}
        self._created = {c.file for c in changes if not c.expected_version}
        self._deleted = {c.file for c in changes if not c.header}

    def create(self, signed: SignedHeader, before: SignedHeader | None) -> None:
        """Judge a file that does not exist; `before` is its last version if it was deleted.

        Raises:
            Fault: DENIED, DAMAGED (chain), EXISTS (a deleted file's id), and as `_place`.
        """
        header = signed.header
        self._written_by_principal(header)
        self._place(header)
        if before is None and header.version != 1:
            raise Fault(Kind.DAMAGED, "no such earlier version", path=header.file.hex())
        if before is not None:
            if header.version == 1:
                raise Fault(Kind.EXISTS, "the id of a deleted file", path=header.file.hex())
            self._continues(header, before)
            self._needs_write(before.header.parent)
        self._needs_write(header.parent)
        if header.access or (before is not None and before.header.access):
            self._shares(header, None if before is None else before.header)

    def replace(self, signed: SignedHeader, current: SignedHeader) -> None:
        """Judge the next version of a file.

        Raises:
            Fault: DENIED, DAMAGED (chain), CONTRACT (what may not change), and as `_place`.
        """
        header, before = signed.header, current.header
        self._written_by_principal(header)
        self._continues(header, current)
        directory = header.kind is FileKind.DIRECTORY
        self._needs_write(header.file if directory else before.parent)
        if header.parent != before.parent:
            self._needs_write(before.parent)
            self._needs_write(header.parent)
            self._place(header)
        elif header.parent in self._deleted:
            raise Fault(Kind.NOT_FOUND, "its directory goes away", path=header.file.hex())
        if header.access != before.access or (header.access and header.parent != before.parent):
            self._shares(header, before)

    def delete(self, current: SignedHeader) -> None:
        """Judge the end of a file.

        Raises:
            Fault: DENIED without WRITE in its directory, and for the root directory.
        """
        if current.header.file == ROOT_FILE:
            raise Fault(Kind.DENIED, "the root directory cannot be deleted")
        self._needs_write(current.header.parent)

    def _written_by_principal(self, header: Header) -> None:
        if header.writer != self._principal:
            raise Fault(
                Kind.DENIED, "signed by another than who commits it", path=header.file.hex()
            )

    def _continues(self, header: Header, current: SignedHeader) -> None:
        before = current.header
        if header.version != before.version + 1 or header.previous != current.digest:
            raise Fault(
                Kind.DAMAGED, "does not continue the file's history", path=header.file.hex()
            )
        fixed = header.kind is before.kind and header.epoch >= before.epoch
        same_sectors = header.sector_size == before.sector_size and header.cipher is before.cipher
        if not fixed or (before.root and not same_sectors):
            raise Fault(
                Kind.CONTRACT,
                "changes what is fixed: its kind, its sectors' size or cipher, or its epoch back",
                path=header.file.hex(),
            )

    def _needs_write(self, directory: FileId) -> None:
        for _ in range(len(self._created) + 1):
            if directory not in self._created:
                break
            directory = self._new[directory].parent
        if not self._rights.of(self._principal, directory) & _WRITE:
            raise Fault(
                Kind.DENIED,
                f"{self._principal.hex()[:16]} lacks the right to write",
                path=directory.hex(),
                next_step="ask whoever may grant there",
            )

    def _place(self, header: Header) -> None:
        """Check that a file's directory will be there, and is not below the file itself.

        A way that comes back to where it began has no end, which `way_up` refuses.

        Raises:
            Fault: NOT_FOUND, NOT_DIRECTORY, USAGE.
        """
        way = self._rights.way_up(header.parent, self._new)
        if self._deleted and any(above.file in self._deleted for above in way):
            raise Fault(Kind.NOT_FOUND, "its directory goes away", path=header.file.hex())
        if len(way) == PATH_COMPONENTS_MAX:
            raise Fault(Kind.USAGE, "too deep for a path", path=header.file.hex())

    def _shares(self, header: Header, before: Header | None) -> None:
        """Check a directory's changed access, or one that moves: its signer may share there."""
        if not header.access:
            raise Fault(
                Kind.DENIED, "an access is replaced, not taken away", path=header.file.hex()
            )
        access = load_access(header.access)
        if access.file != header.file:
            raise Fault(Kind.MALFORMED, "another directory's access", path=header.file.hex())
        old = load_access(before.access) if before is not None and before.access else None
        if before is None or header.access != before.access:
            check_succession(old, access)
        check_access(access, self._signer(access), self._above(header))

    def _signer(self, access: Access) -> Identity:
        return self._rights.identify(access.signer)

    def _above(self, header: Header) -> list[Access]:
        if header.file == ROOT_FILE:
            return []
        way = self._rights.way_up(header.parent, self._new)
        return [load_access(above.access) for above in reversed(way) if above.access]
