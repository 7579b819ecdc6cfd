"""How soon each follower has what it is sent on its disk: who is much quicker is asked first."""

from collections.abc import Callable, Sequence

from blocktree.raft import Append, AppendReply, Message, NodeId, Raft

_LOOK_EVERY = 16  # answers
_WEIGHT = 1 / 8  # of the newest in the mean
_DELAY_MAX = 1.0  # seconds; one that was away counts no more than a slow one


class Delays:
    """The answers to one driver's entries.

    Args:
        raft: the present core.
        clock: seconds.
    """

    def __init__(self, raft: Callable[[], Raft], clock: Callable[[], float]) -> None:
        self._raft = raft
        self._clock = clock
        self._sent: dict[NodeId, tuple[int, float]] = {}  # the entry that is timed, and since when
        self._means: dict[NodeId, float] = {}
        self._answers = 0
        self._term = 0

    def sent(self, to: NodeId, messages: Sequence[Message]) -> None:
        """Messages leave for a follower."""
        for message in messages:
            if isinstance(message, Append) and message.entries:
                if message.term != self._term:
                    self._term, self._sent, self._means = message.term, {}, {}
                if to not in self._sent:
                    self._sent[to] = message.entries[-1].index, self._clock()

    def heard(self, sender: NodeId, message: Message) -> None:
        """A message came from a follower, and the core knows it."""
        if not isinstance(message, AppendReply) or message.term != self._term:
            return
        index, since = self._sent.get(sender, (0, 0.0))
        if not index or message.index < index:
            return
        del self._sent[sender]
        delay = min(self._clock() - since, _DELAY_MAX)
        mean = self._means.get(sender, delay)
        self._means[sender] = mean + (delay - mean) * _WEIGHT
        self._answers += 1
        if self._answers % _LOOK_EVERY == 0:
            self._raft().prefer(self._means)
