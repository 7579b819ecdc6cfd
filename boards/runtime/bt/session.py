"""The device's side of a session: HELLO, key confirmation, then letters under the session's keys.

A pure machine. Time (uptime in ms) and dice are arguments; packets to send are handed out by
`outgoing`, as pairs of a packet and an address (None: to everyone the link can reach).
"""

from bt import packets
from bt.ccm import same
from bt.letters import Letters
from bt.records import UDP_WINDOW, Keys, Plain, Records, refusal_tag, secret_for

SEEKING, CONFIRMING, OPEN, CLOSED = 0, 1, 2, 3
_NONCES = 3
_CANDIDATES = 3
_CONFIRMS = 4
_PROBE_PATIENCE = 2000
_PROBE_PAUSE = 5000
_PAIRER_SILENT = 60000
_BACK_OFF = {5: 600000}  # DENIED, by a gateway that knows us
_BACK_OFF_MS = 60000
_HELLO_FIRST, _HELLO_MOST = 500, 60000


class Session:
    """One purpose on one link.

    Args:
        identity: has `hint(purpose)`, `epoch`, `link_secret` and `setup_secret`.
        purpose: `packets.SERVE`, `PAIR` or `CABLE`.
        strict: the link keeps order (serial), so counters only rise.
        take: called with each message; False if there is no room for it now.
        dice: gives n random bytes.
    """

    def __init__(self, identity, purpose, board, now, take, dice, *, strict=False):
        self.identity = identity
        self.purpose = purpose
        self.state = SEEKING
        self.peer = None
        self.letters = None
        self.drops = 0
        self.refusal = ""
        self.failures = 0  # handshakes that came to nothing
        self.doubted = False  # somebody says that the gateway forgot us: say something to it
        self._board = board
        self._take = take
        self._dice = dice
        self._strict = strict
        self._out = []
        self._records = None
        self._reset(now)

    def _reset(self, now):
        self.state = SEEKING
        self._nonces = []
        self._welcomes = []
        self._confirm = None  # packet, READY's head, keys, tries, when again
        self._hello_wait = _HELLO_FIRST
        self._hello_at = now
        self._probed_at = self._believed_at = None

    def start_plain(self, now):
        """Begin inside TLS, where the certificates were the handshake."""
        self._records = Plain()
        self.letters = Letters(now, reliable=True)
        self.state = OPEN

    def seek(self, now):
        """Forget the session and look for a gateway again, at once."""
        self._records = self.letters = self.peer = None
        self._reset(now)

    def hello_to(self, address, now):
        """Answer a PROBE: say HELLO to its sender, or prove that the session lives."""
        if self.state == OPEN:
            lately = self._believed_at is not None and now - self._believed_at < _PROBE_PAUSE
            if self._probed_at is None and not lately:
                self.doubted = True
                self._probed_at = now
        elif self.state == SEEKING and now >= self._hello_at - _HELLO_MOST:
            self._hello(address)

    def receive(self, packet, address, now):
        """Take a packet; True if it was for this session."""
        kind = packet[0] if packet else 0
        if kind == packets.DATA:
            return self._data(packet, address, now)
        if kind == packets.WELCOME:
            return self._welcome(packet, address, now)
        if kind == packets.READY:
            return self._ready(packet, address, now)
        if kind == packets.REFUSE:
            return self._refuse(packet, now)
        return False

    def tick(self, now):
        """Let time pass."""
        if self.state == SEEKING and now >= self._hello_at:
            self._hello(None)
            jitter = self._dice(1)[0] - 128
            self._hello_at = now + self._hello_wait + self._hello_wait * jitter // 512
            self._hello_wait = min(2 * self._hello_wait, _HELLO_MOST)
        elif self.state == CONFIRMING and now >= self._confirm[4]:
            self._confirm_again(now)
        elif self.state == OPEN:
            for letter in self.letters.due(now):
                self._out.append((self._records.seal(letter), self.peer))
            probed = self._probed_at is not None and now - self._probed_at > _PROBE_PATIENCE
            silent = self.purpose != packets.SERVE and now - self.letters.heard_at > _PAIRER_SILENT
            if (
                probed
                or silent
                or self.letters.lost
                or self.letters.spent()
                or self._records.spent()
            ):
                self.state = CLOSED

    def outgoing(self):
        """The packets to send, with where to."""
        out, self._out = self._out, []
        return out

    def wake_at(self):
        """When `tick` has something to do next, or None."""
        if self.state == SEEKING:
            return self._hello_at
        if self.state == CONFIRMING:
            return self._confirm[4]
        if self.state == CLOSED:
            return None
        at = self.letters.wake_at()
        if self._probed_at is not None:
            late = self._probed_at + _PROBE_PATIENCE + 1
            at = late if at is None else min(at, late)
        if self.purpose != packets.SERVE:
            late = self.letters.heard_at + _PAIRER_SILENT + 1
            at = late if at is None else min(at, late)
        return at

    def _hello(self, address):
        nonce = self._dice(16)
        self._nonces.append(nonce)
        self._nonces = self._nonces[-_NONCES:]
        hint = self.identity.hint(self.purpose)
        epoch = self.identity.epoch if self.purpose == packets.SERVE else 0
        self._out.append((packets.hello(self.purpose, epoch, hint, nonce, self._board), address))

    def _welcome(self, packet, address, now):
        said = packets.read_welcome(packet)
        if said is None or said[0] not in self._nonces or self.state == OPEN:
            return False
        if len(self._welcomes) >= _CANDIDATES:
            return True
        self._welcomes.append((said[0], said[1], address))
        if self.state == SEEKING:
            self._begin_confirm(now)
        return True

    def _begin_confirm(self, now):
        nonce_d, nonce_g, address = self._welcomes.pop(0)
        mine = self.identity
        secret = secret_for(self.purpose, mine.link_secret, mine.setup_secret)
        hint = mine.hint(self.purpose)
        epoch = mine.epoch if self.purpose == packets.SERVE else 0
        keys = Keys(secret, nonce_d, nonce_g, self.purpose, epoch, hint)
        head = packets.confirm_head(hint, epoch, self.purpose, nonce_d, nonce_g)
        self._confirm = [head + keys.confirm(head), nonce_d, keys, 0, now]
        self.peer = address
        self.state = CONFIRMING
        self._confirm_again(now)

    def _confirm_again(self, now):
        confirm = self._confirm
        if confirm[3] >= _CONFIRMS or (confirm[3] >= 2 and self._welcomes):
            self.failures += 1
            if self._welcomes:
                self._begin_confirm(now)
            else:
                self._give_up(now)
            return
        self._out.append((confirm[0], self.peer))
        confirm[4] = now + (250 << confirm[3])
        confirm[3] += 1

    def _give_up(self, now):
        """Back to HELLO, with the back-off where it was; a wrong setup code waits a minute."""
        self.state = SEEKING
        if self.purpose == packets.PAIR and self.failures >= 10:
            self.failures = 0
            self._hello_at = now + _BACK_OFF_MS
        else:
            self._hello_at = max(self._hello_at, now)

    def _ready(self, packet, address, now):
        said = packets.read_ready(packet)
        confirm = self._confirm
        if said is None or self.state != CONFIRMING or said[0] != confirm[1]:
            return False
        if not same(said[1], confirm[2].ready(packet[:17])):
            self.drops += 1
            return True
        self._records = Records(confirm[2], 0 if self._strict else UDP_WINDOW)
        self.letters = Letters(now)
        self.peer = address
        self.state = OPEN
        self.failures = 0
        self.refusal = ""
        self._confirm = None
        self._welcomes = []
        return True

    def _data(self, packet, address, now):
        if self.state != OPEN:
            return False
        letter = self._records.open(packet)
        if letter is None:
            self.drops += 1
            return False
        if self._probed_at is not None:
            self._probed_at, self._believed_at = None, now
        self.peer = address
        self.letters.receive(letter, now, self._take)
        return True

    def _refuse(self, packet, now):
        """Without our secret in it, it may be a stranger's, or of one that will know us soon."""
        said = packets.read_refuse(packet)
        if said is None or self.state == OPEN or said[0] not in self._nonces:
            return False
        nonce, kind, tag, sentence = said
        self.refusal = sentence
        known = self.purpose == packets.SERVE and tag == refusal_tag(
            self.identity.link_secret, nonce, kind, sentence
        )
        if known:
            self.state = SEEKING
            self._hello_at = now + _BACK_OFF.get(kind, _BACK_OFF_MS)
            self._hello_wait = _HELLO_MOST
            self._nonces = []
        return True
