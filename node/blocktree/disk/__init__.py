"""The disk of one process: a stream of segments that holds blobs and the Raft log, and an index.

`SPEC.md` states the bytes, the order of syncs and what survives a crash. One `fdatasync` makes
blobs and log durable together; the index follows at checkpoints.
"""

from blocktree.disk.batch import Batch, Damage, Keeper, Limits, Reclaimed, Scrubbed, Stats
from blocktree.disk.disk import Disk
from blocktree.disk.files import File, Files, OsFiles
from blocktree.disk.identity import NAME as IDENTITY_NAME
from blocktree.disk.index import Index, MemoryIndex, Space, View
from blocktree.disk.kernel_sync import KernelSync
from blocktree.disk.lmdb_index import LmdbIndex
from blocktree.disk.log import DiskLog
from blocktree.disk.salvage import salvage
from blocktree.disk.scrub import scrub_log
from blocktree.disk.simulated import SimulatedFiles
from blocktree.disk.snapshot import Snapshot

__all__ = [
    "IDENTITY_NAME",
    "Batch",
    "Damage",
    "Disk",
    "DiskLog",
    "File",
    "Files",
    "Index",
    "Keeper",
    "KernelSync",
    "Limits",
    "LmdbIndex",
    "MemoryIndex",
    "OsFiles",
    "Reclaimed",
    "Scrubbed",
    "SimulatedFiles",
    "Snapshot",
    "Space",
    "Stats",
    "View",
    "salvage",
    "scrub_log",
]
