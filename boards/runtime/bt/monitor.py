"""Holding an app to its contract: which command may come now, and what follows."""

from bt import flash

STRIKES = 3


class Monitor:
    """The state of one conversation; without a table everything is allowed."""

    def __init__(self, table):
        self._table = table
        self.strikes = 0

    @classmethod
    def load(cls, path):
        """The monitor of an app's table, if it has one."""
        return cls(None if not flash.size(path) else path)

    def takes(self, name):
        """Whether a command may come now."""
        return True

    def took(self, name):
        """It came."""

    def expected(self):
        """What may come now, for people."""
        return ""
