"""Opening a disk whatever state it is in: the log as far as it goes, a damaged index made anew."""

import os
import time
from collections.abc import Callable

from blocktree.disk.batch import Keeper, Limits
from blocktree.disk.disk import Disk
from blocktree.disk.files import Files
from blocktree.disk.identity import NAME
from blocktree.disk.index import Index
from blocktree.fault import Fault, Kind


def salvage(
    files: Files,
    open_index: Callable[[bool], Index],
    limits: Limits,
    keeper: Keeper,
    said: Callable[[Fault], None],
    *,
    clock: Callable[[], float] = time.perf_counter,
    dice: Callable[[int], bytes] = os.urandom,
) -> Disk:
    """Open a disk; look at its `damage` before anything else.

    Args:
        files: its directory.
        open_index: opens the index; told True, one that is empty.
        limits: its sizes.
        keeper: whose it is.
        said: told why the index has to be made anew.
        clock: as `Disk.open`.
        dice: as `Disk.open`.

    Raises:
        Fault: as `Disk.open` with salvage, but never DAMAGED because of the index.
    """
    try:
        index = open_index(False)  # noqa: FBT003 - as the caller's function is declared
        try:
            return Disk.open(files, index, limits, keeper, salvage=True, clock=clock, dice=dice)
        except BaseException:
            index.close()
            raise
    except Fault as fault:
        if fault.kind is not Kind.DAMAGED or fault.path == NAME:
            raise
        said(fault)
    return Disk.rebuild(files, open_index(True), limits, keeper, clock=clock, dice=dice)  # noqa: FBT003
