"""What the contents of all files of a volume are read and written with."""

from dataclasses import dataclass

from blocktree.files.fetch import Fetcher
from blocktree.files.tree import Trees
from blocktree.files.upload import Budget, Uploads


@dataclass(frozen=True, slots=True)
class Engine:
    """What all files of a volume share."""

    fetcher: Fetcher
    trees: Trees
    uploads: Uploads
    budget: Budget
    leftovers: Budget  # of removed files that are still open: nothing commits them
