"""One app as one file: members of name, size and bytes; read from flash, never whole in RAM."""

from bt.fault import CONTRACT, MALFORMED, TOO_LARGE, Fault

SIZE_MAX = 49152
MEMBERS_MAX = 16
TABLE_MAX = 2048
_PIECE = 256
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789_."


def members(file):
    """Steps through `file` (opened in binary): pairs of a member's name and its size.

    Whoever iterates reads exactly `size` bytes of the file before going on.

    Raises:
        Fault: MALFORMED if it is no app, TOO_LARGE for a member that is too long, CONTRACT for a
            contract table that no device can hold.
    """
    names = []
    total = 0
    while True:
        first = file.read(1)
        if not first:
            break
        name = _name(file.read(first[0]), first[0])
        size = file.read(4)
        if len(size) != 4 or name in names or len(names) == MEMBERS_MAX:
            raise Fault(MALFORMED, "not an app: member " + name)
        size = int.from_bytes(size, "big")
        total += size
        if total > SIZE_MAX:
            raise Fault(TOO_LARGE, "an app has at most 48 KiB")
        if name == "contract.tbl" and size > TABLE_MAX:
            raise Fault(CONTRACT, "a contract table has at most 2 KiB")
        names.append(name)
        yield name, size
    if ("app.py" in names) == ("app.mpy" in names):
        raise Fault(MALFORMED, "an app has either app.py or app.mpy")


def copy(file, size, write):
    """Give `size` bytes of `file` to `write` in pieces.

    Raises:
        Fault: MALFORMED if the file ends before.
    """
    while size:
        piece = file.read(min(size, _PIECE))
        if not piece:
            raise Fault(MALFORMED, "not an app: it is cut short")
        write(piece)
        size -= len(piece)


def _name(raw, size):
    try:
        name = raw.decode()
    except ValueError:
        name = ""
    fits = 0 < len(name) <= 32 and len(raw) == size and name[0] != "."
    if not fits or not all([letter in _LETTERS for letter in name]):
        raise Fault(MALFORMED, "not an app: a member has no proper name")
    return name
