"""Which lease comes with the commit of a header: a rule that the service and its clients share."""

from blocktree.sectors.header import FileKind, Header


def leased_alone(written: Header) -> bool:
    """Whether whoever commits this header is leased it exclusively.

    So it is for new directories: whoever makes one is likely to make something in it.
    """
    return written.version == 1 and written.kind is FileKind.DIRECTORY
