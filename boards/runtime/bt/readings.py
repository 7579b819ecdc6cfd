"""What a device measures and has to say, sealed into its chain and kept until the tree has it."""

from hashlib import sha256

from bt import messages, p256
from bt.chain import Chain, checkpoint_message

_CHECKPOINT_ENTRIES = 64
_NOTE_BYTES = 100


class Readings:
    """The stream of one boot.

    Args:
        identity: whose; its secrets may change in between (`rekey`).
        clock: gives uptime and time.
        buffer: what keeps the entries.
        boot: this boot's number, saved already.
        news: called when there is something new to send.
    """

    def __init__(self, identity, clock, buffer, boot, news):
        self._identity = identity
        self._clock = clock
        self.buffer = buffer
        self.boot = boot
        self._news = news
        self._chain = Chain(identity.device, identity.reading_secret, identity.epoch, boot)
        self._signed = 0  # entries below this seq have a checkpoint
        self._signed_at = None  # uptime; None: not in this boot
        self._lost = None  # (first, last): what went, until the tree has been told
        self._lost_said = None
        self.checkpoint = None  # (place, message): the newest
        self.checkpoint_ms = 300000  # between two; a fifth of it when many entries are unsigned

    @property
    def next(self):
        """The next sequence number."""
        return self._chain.next

    def start(self, app, digest, columns):
        """Say what follows: seq 0 of a boot, and again for a new app."""
        place, after = (0, 0), bytes(32)
        if self._chain.next:
            place, after = (self.boot, self._chain.next - 1), self._chain.head
        else:
            safe = self.buffer.safe()
            if safe:
                place, after = safe[0], sha256(safe[1]).digest()
        self._add(messages.START, app, digest, columns, place[0], place[1], after)

    def reading(self, values):
        """One value for each column: integers in the column's power of ten, or None."""
        self._add(messages.READING, self._clock.uptime(), self._clock.time(), tuple(values))

    def clock_was_set(self):
        """Let readers date what came before."""
        self._add(messages.CLOCK, self._clock.uptime(), self._clock.time())

    def note(self, level, text):
        """Something for the log: 1 note, 2 warning, 3 error."""
        text = text.encode()[:_NOTE_BYTES]
        while True:
            try:
                text = text.decode()
                break
            except ValueError:  # cut within a character
                text = text[:-1]
        self._add(messages.NOTE, self._clock.uptime(), self._clock.time(), level, text)

    def rekey(self):
        """The identity has new secrets: what was sealed for another device id has to go."""
        changed = self._chain.device != self._identity.device
        lost = self.buffer.clear() if changed else None
        identity = self._identity
        self._chain.rekey(identity.device, identity.reading_secret, identity.epoch)
        self._signed = max(self._signed, self._chain.next) if changed else self._signed
        self.checkpoint = None if changed else self.checkpoint
        self._tell_lost(lost)

    def _add(self, *event):
        if not self._identity.paired:
            return  # nobody could ever read it
        seq, entry = self._chain.add(*event)
        lost = self.buffer.add((self.boot, seq), entry)
        self._tell_lost(lost)
        self._news()

    def kept(self, place):
        """The tree has everything up to a place."""
        self.buffer.kept(place)
        if self._lost_said is not None and place >= self._lost_said:
            self._lost = self._lost_said = None

    def _tell_lost(self, lost):
        """Say it; and again, with what was said before, should that be lost as well."""
        if lost:
            self._lost = (self._lost[0] if self._lost else lost[0], lost[1])
            (boot, seq), (last_boot, last_seq) = self._lost
            self._lost_said = (self.boot, self._chain.next)
            self._add(messages.LOST, boot, seq, last_boot, last_seq)

    def checkpoint_due(self):
        """In how many ms the next checkpoint should be made; None if nothing is unsigned."""
        unsigned = self._chain.next - self._signed
        if not unsigned or not self._identity.paired:
            return None
        wait = self.checkpoint_ms // 5 if unsigned >= _CHECKPOINT_ENTRIES else self.checkpoint_ms
        if self._signed_at is None:
            return max(0, self.checkpoint_ms // 5 - self._clock.uptime())
        return max(0, self._signed_at + wait - self._clock.uptime())

    def sign(self):
        """Steps to a checkpoint over the newest entry (a generator)."""
        identity, seq, head = self._identity, self._chain.next - 1, self._chain.head
        device, time = identity.device, self._clock.time()
        said = checkpoint_message(device, self.boot, seq, head, time)
        self._signed, self._signed_at = seq + 1, self._clock.uptime()
        signature = yield from p256.sign(identity.scalar, said)
        if identity.device == device:
            message = messages.encode(messages.CHECKPOINT, self.boot, seq, head, time, signature)
            self.checkpoint = ((self.boot, seq), message)
            self._news()
