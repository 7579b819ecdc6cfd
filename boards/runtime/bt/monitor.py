"""Holding an app to its contract: what may come or be said now, and what follows.

A walk over the bytes of a device table (`contract/SPEC.md`), which are kept as they are: at most
2 KiB of RAM, and a number for each state and message.
"""

from bt.fault import CONTRACT, MALFORMED, TOO_LARGE, Fault

TABLE_MAX = 2048
HEARS, ANSWERS, TELLS, ASKS = 0, 1, 2, 3
_NONE = 255


class Monitor:
    """One conversation, held to a table by the names of messages.

    Raises:
        Fault: MALFORMED or TOO_LARGE if these bytes are no device table.
    """

    def __init__(self, table):
        if len(table) > TABLE_MAX:
            raise Fault(TOO_LARGE, "a contract table has at most 2 KiB")
        self._table = table
        self._names = []  # where the name of each message lies
        self._nodes = []  # where each node begins
        try:
            self._index()
        except (IndexError, ValueError):
            raise Fault(MALFORMED, "a contract table that is cut") from None
        self._question = None  # where the edge of the open question lies
        self.node = 0

    @property
    def at(self):
        """The name of the state."""
        return self._text(self._nodes[self.node])

    @property
    def states(self):
        """How many there are."""
        return len(self._nodes)

    def knows(self, name):
        """Whether the contract speaks of such a message."""
        return name in [self._text(at) for at in self._names]

    def take(self, name):
        """A message came. Raises Fault CONTRACT if it may not; nothing has changed then."""
        self._step(name, (HEARS, ANSWERS), "come")

    def say(self, name):
        """A message is to be said. Raises Fault CONTRACT if it may not."""
        self._step(name, (TELLS, ASKS), "be said")

    def answer(self, name=None):
        """The open question is answered, or done. Raises Fault CONTRACT for another answer."""
        edge = self._open()
        for at in range(edge + 4, edge + 4 + 2 * self._table[edge + 3], 2):
            said = self._table[at]
            if name == (None if said == _NONE else self._text(self._names[said])):
                self.node, self._question = self._table[at + 1], None
                return
        raise Fault(CONTRACT, "%s is no answer here" % (name or "nothing"))

    def done(self):
        """The open question is answered in the first way that the contract names."""
        edge = self._open()
        self.node, self._question = self._table[edge + 5], None

    def refuse(self):
        """The open question is refused. Raises Fault CONTRACT without one."""
        self.node, self._question = self._table[self._open() + 2], None

    def lose(self):
        """The partner is gone."""
        node = self._nodes[self.node]
        lost = self._table[node + 1 + self._table[node]]
        self.node, self._question = 0 if lost == _NONE else lost, None

    def _open(self):
        if self._question is None:
            raise Fault(CONTRACT, "an answer without a question")
        return self._question

    def _step(self, name, kinds, how):
        for edge in self._edges() if self._question is None else ():
            message, kind = self._table[edge], self._table[edge + 1]
            if kind in kinds and self._text(self._names[message]) == name:
                if kind in (HEARS, TELLS):
                    self.node = self._table[edge + 5]
                else:
                    self._question = edge
                return
        wanted = " or ".join(self._expected()) or "nothing"
        what = "%s may not %s in state %s, which expects %s" % (name, how, self.at, wanted)
        raise Fault(CONTRACT, what)

    def _expected(self):
        if self._question is not None:
            return []
        takes = [edge for edge in self._edges() if self._table[edge + 1] in (HEARS, ANSWERS)]
        return sorted([self._text(self._names[self._table[edge]]) for edge in takes])

    def _edges(self):
        """Where the edges of the present node lie."""
        at = self._nodes[self.node]
        at += 2 + self._table[at]
        for _ in range(self._table[at]):
            yield at + 1
            at += 4 + 2 * self._table[at + 4]

    def _text(self, at):
        end = at + 1 + self._table[at]
        if end > len(self._table):
            raise IndexError
        return self._table[at + 1 : end].decode()

    def _index(self):
        table = self._table
        if table[:4] != b"BTC1":
            raise Fault(MALFORMED, "not a device table")
        messages, nodes = table[4], table[5]
        at = self._after(14)
        for _ in range(messages):
            self._names.append(at + 2)
            at = self._after(at + 2)
        for _ in range(nodes):
            self._nodes.append(at)
            at = self._after(at)
            if table[at] >= nodes and table[at] != _NONE:
                raise Fault(MALFORMED, "a contract table that leads nowhere")
            at = self._check_edges(at + 1, messages, nodes)
        if at != len(table) or not nodes:
            raise Fault(MALFORMED, "a contract table with too many bytes, or without states")

    def _after(self, at):
        self._text(at)
        return at + 1 + self._table[at]

    def _check_edges(self, at, messages, nodes):
        table = self._table
        count = table[at]
        at += 1
        for _ in range(count):
            outcomes = table[at + 3]
            good = table[at] < messages and table[at + 1] <= ASKS and table[at + 2] < nodes
            for pair in range(at + 4, at + 4 + 2 * outcomes, 2):
                known = table[pair] < messages or table[pair] == _NONE
                good = good and known and table[pair + 1] < nodes
            if not good or not outcomes:
                raise Fault(MALFORMED, "a contract table that leads nowhere")
            at += 4 + 2 * outcomes
        return at
