"""Which leases come with a commit: a rule that the service and its clients share."""

from collections.abc import Sequence

from blocktree.names import FileId
from blocktree.sectors.check import Checked
from blocktree.sectors.header import FileKind, Header


def leased_alone(written: Header) -> bool:
    """Whether whoever commits this header is leased it exclusively.

    So it is for new directories: whoever makes one is likely to make something in it.
    """
    return written.version == 1 and written.kind is FileKind.DIRECTORY


def to_lease(checked: Checked) -> tuple[Sequence[FileId], Sequence[FileId]]:
    """What a transaction changed: the files that others may be leased, too, and those not."""
    files = [change.file for change in checked.transaction.changes]
    alone = [s.header.file for s in checked.headers if s is not None and leased_alone(s.header)]
    if not alone:
        return files, ()
    return [file for file in files if file not in alone], alone
