"""Small files that are whole or absent, whatever happens to the power.

A file is written beside its old version, with the first bytes of its hash before it, and renamed.
Where renaming over a file is refused (FAT), the old one goes first and `load` knows the new name.
"""

import os
from hashlib import sha256

from bt.fault import NO_SPACE, Fault

_CHECK = 4


def save(path, data):
    """Write a small file.

    Raises:
        Fault: NO_SPACE if the file system refuses.
    """
    try:
        with open(path + ".new", "wb") as file:
            file.write(sha256(data).digest()[:_CHECK])
            file.write(data)
        replace(path + ".new", path)
    except OSError as cause:
        raise Fault(NO_SPACE, "cannot save %s: %s" % (path, cause)) from None


def load(path):
    """What was saved last, or None."""
    for name in (path, path + ".new"):
        try:
            with open(name, "rb") as file:
                data = file.read()
        except OSError:
            continue
        if sha256(data[_CHECK:]).digest()[:_CHECK] == data[:_CHECK]:
            return data[_CHECK:]
    return None


def replace(old, new):
    """Rename over whatever is there."""
    try:
        os.rename(old, new)
    except OSError:
        os.remove(new)
        os.rename(old, new)


def remove(path):
    """Remove a file, if it is there."""
    try:
        os.remove(path)
    except OSError:
        pass


def make_folder(path):
    """Make a folder and those above it."""
    made = ""
    for name in path.split("/"):
        made += name
        if made:
            try:
                os.mkdir(made)
            except OSError:
                pass
        made += "/"


def names(path):
    """The files of a folder, sorted."""
    try:
        return sorted(os.listdir(path))
    except OSError:
        return []


def size(path):
    """The bytes of a file; 0 if there is none."""
    try:
        return os.stat(path)[6]
    except OSError:
        return 0


def free(path):
    """The bytes that are free on the file system of `path`; a lot where nobody tells."""
    try:
        stat = os.statvfs(path)
        return stat[0] * stat[3]
    except (AttributeError, OSError):
        return 1 << 30
