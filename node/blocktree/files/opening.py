"""Puts a volume together from its parts, for one credential in one process."""

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from blocktree.actors import Runtime
from blocktree.files.cache import CACHE_BYTES, SectorCache
from blocktree.files.client import SectorService
from blocktree.files.commit import Commits
from blocktree.files.core import Core
from blocktree.files.directories import Directories
from blocktree.files.engine import Engine
from blocktree.files.fetch import Fetcher
from blocktree.files.headers import HeaderCache
from blocktree.files.joint import Joint
from blocktree.files.nodes import NodeTable
from blocktree.files.opened import Opened
from blocktree.files.parts import Parts
from blocktree.files.service import Filesystem
from blocktree.files.sources import Sources
from blocktree.files.tree import Trees
from blocktree.files.trust import Trust
from blocktree.files.upload import DIRTY_BYTES_MAX, Budget, Uploads
from blocktree.keys import Credential
from blocktree.names import Path
from blocktree.processor import has_aes
from blocktree.sectors.header import Cipher
from blocktree.store.clock import boot_clock
from blocktree.store.messages import SESSION_BYTES


@dataclass(frozen=True, slots=True)
class Limits:
    """How much memory a volume may use, in bytes, and what it waits for."""

    cache_bytes: int = CACHE_BYTES
    dirty_bytes: int = DIRTY_BYTES_MAX
    patience_s: float = 30.0  # for a quorum
    threads: int = 2
    fast_close: bool = False  # close(2) of a new file does not wait for the quorum; fsync(2) does


def open_filesystem(
    credential: Credential,
    runtime: Runtime,
    nodes: Callable[[], Sequence[Path]],
    limits: Limits | None = None,
) -> Filesystem:
    """Put a volume together; `start` it before use.

    Args:
        credential: whose key signs what is written and opens read caps.
        runtime: the actors of this process.
        nodes: the paths of the storing processes as known now.
        limits: bounds of memory and patience.
    """
    limits = limits or Limits()
    threads = ThreadPoolExecutor(limits.threads, "files")
    cache = SectorCache(limits.cache_bytes)
    session = os.urandom(SESSION_BYTES)
    service = SectorService(runtime, nodes, session, boot_clock, patience_s=limits.patience_s)
    fetcher = Fetcher(service, cache, Sources(), threads)
    uploads = Uploads(service, cache, threads)
    budgets = Budget(limits.dirty_bytes), Budget(limits.dirty_bytes)
    engine = Engine(fetcher, Trees(fetcher), uploads, *budgets)
    trust = Trust(service, credential.tree)
    headers = HeaderCache(service, trust)
    opened = Opened(headers, credential.key, engine)
    commits = Commits(service, credential, headers, trust, uploads)
    core = Core(
        service=service,
        engine=engine,
        nodes=NodeTable(),
        headers=headers,
        opened=opened,
        directories=Directories(engine, opened),
        commits=commits,
        parts=Parts(engine, opened, Joint(commits.commit)),
        trust=trust,
        now_ns=time.time_ns,
        draw=os.urandom,
        cipher=Cipher.AES_256_GCM if has_aes() else Cipher.CHACHA20_POLY1305,
    )
    return Filesystem(core, threads, runtime, fast_close=limits.fast_close)
