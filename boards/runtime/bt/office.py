"""Links and their sessions: which one speaks for the device, and what goes out next.

Links are in order of preference. One session serves at a time; while it lives, only links before it
in the order go on looking for a gateway, and the others answer when they are probed.
"""

import asyncio

from bt import messages, packets
from bt.session import CLOSED, OPEN, SEEKING, Session
from bt.tasks import spawn

_CONTROL = 24
_BEAT = 15000
_IDLE = 60000
_WINDOW_MS = 120000


class Desk:
    """One link with the sessions on it, by purpose."""

    def __init__(self, link):
        self.link = link
        self.sessions = {}

    @property
    def serving(self):
        """The session for purpose 0, or None."""
        return self.sessions.get(packets.SERVE)


class Office:
    """Moves packets between links and sessions, and messages between sessions and the device.

    Args:
        identity: who we are.
        clock: uptime.
        board: its name, for HELLO.
        links: in order of preference.
        dice: gives n random bytes.
        device: is told `opened()`, `lost()`, `receive(message)`, `paired(purpose, session,
            message)`, and asked for `entry()`, the next message of the stream, or None.
    """

    def __init__(self, identity, clock, board, links, dice, device):
        self._identity = identity
        self._clock = clock
        self._board = board
        self._dice = dice
        self._device = device
        self._desks = [Desk(link) for link in links]
        self._control = []
        self._event = asyncio.Event()
        self._planned = 0
        self._said_at = 0
        self._asleep_until = 0
        self.live = None
        self.drops = 0
        self.refusal = ""
        for desk in self._desks:
            if hasattr(desk.link, "opened"):
                desk.link.opened = self._connection(desk)
            if hasattr(desk.link, "gone"):
                desk.link.gone = self._hung_up(desk)
        self.renew()

    async def run(self):
        """Serve all links, for ever."""
        for desk in self._desks:
            spawn(desk.link.run(self._sink(desk)))
        while True:
            self.turn()
            wait = max(self._planned - self._clock.uptime(), 1)
            self._event.clear()
            try:
                await asyncio.wait_for(self._event.wait(), wait / 1000)
            except asyncio.TimeoutError:
                pass

    def renew(self):
        """The identity has changed: every session begins anew."""
        now = self._clock.uptime()
        self.live = None
        for desk in self._desks:
            desk.sessions = {}
            if self._identity.paired:
                self._add(desk, packets.SERVE, now)
            else:
                self._add(desk, self._pairing(desk), now)
        self.wake()

    def end(self):
        """End the session that serves, and look for a gateway in a second."""
        if self.live is not None:
            self.live.serving.state = CLOSED
        self.wake()

    def post(self, message):
        """Send a message when there is room; False if too many wait."""
        if self.live is None or len(self._control) >= _CONTROL:
            return False
        self._control.append(message)
        self.wake()
        return True

    async def nap(self, ms):
        """Neither send nor listen for a while; the gateway is told first."""
        if self.live is not None and self.post(messages.encode(messages.ASLEEP, ms)):
            for _ in range(40):
                await asyncio.sleep(0.05)
                if self.live is None or (not self._control and self.live.serving.letters.idle()):
                    break
        self._asleep_until = self._clock.uptime() + ms
        await asyncio.sleep(ms / 1000)
        self.post(self._device.alive())

    def wake(self):
        """There may be something to do."""
        self._event.set()

    def room(self):
        """Whether `post` takes another message, with some to spare."""
        return len(self._control) < _CONTROL // 2

    def links(self):
        """All links."""
        return [desk.link for desk in self._desks]

    @property
    def link(self):
        """The kind of the link that serves, or ""."""
        return self.live.link.kind if self.live is not None else ""

    def turn(self):
        """Do what is due on all links."""
        now = self._clock.uptime()
        if self._asleep_until > now:
            self._planned = self._asleep_until
            return
        soonest = now + _IDLE
        for desk in self._desks:
            for session in list(desk.sessions.values()):
                self._turn_session(desk, session, now)
                held = session.state == SEEKING and self._held(desk, session)
                at = None if held else session.wake_at()
                soonest = soonest if at is None else min(soonest, at)
        if self.live is not None:
            soonest = min(soonest, self._said_at + _BEAT)
        self._planned = soonest

    def _turn_session(self, desk, session, now):
        if session.refusal:
            self.refusal = session.refusal
        if session.state == OPEN and desk is self.live and session is desk.serving:
            self._pump(session, now)
        if session.state != SEEKING or not self._held(desk, session):
            session.tick(now)
        for packet, address in session.outgoing():
            desk.link.send(packet, address)
        if session.state == CLOSED:
            self._closed(desk, session, now)

    def _pump(self, session, now):
        letters = session.letters
        if session.doubted:
            session.doubted = False
            self._control.append(self._device.alive())
        if now - self._said_at >= _BEAT and not self._control and letters.idle():
            self._control.append(self._device.alive())
        while letters.room() > 0 and self._control:
            letters.send(self._control.pop(0))
            self._said_at = now
        while letters.room() > 4:
            entry = self._device.entry()
            if entry is None:
                return
            letters.send(entry)
            self._said_at = now

    def _held(self, desk, session):
        """Whether a session has no reason to look for a gateway of its own."""
        if desk.link.kind == "tls":
            return True  # its connection is its HELLO
        if session.purpose != packets.SERVE:
            return self._identity.paired
        live = self.live
        return live is not None and self._desks.index(desk) >= self._desks.index(live)

    def _pairing(self, desk):
        return packets.CABLE if desk.link.strict else packets.PAIR

    def _add(self, desk, purpose, now):
        if desk.link.kind == "tls" or (purpose == packets.PAIR and not self._identity.setup_secret):
            return None
        made = Session(
            self._identity,
            purpose,
            self._board,
            now,
            self._taker(desk, purpose),
            self._dice,
            strict=desk.link.strict,
        )
        desk.sessions[purpose] = made
        return made

    def _taker(self, desk, purpose):
        if purpose == packets.SERVE:
            return self._device.receive
        return lambda message: self._device.paired(purpose, desk.sessions[purpose], message)

    def _sink(self, desk):
        def sink(packet, address):
            now = self._clock.uptime()
            if self._asleep_until > now:
                return
            probe = packets.read_probe(packet)
            if probe is not None:
                self._probed(desk, probe, address, now)
            elif not self._deliver(desk, packet, address, now):
                self.drops += 1
            self.turn()
            self.wake()

        return sink

    def _deliver(self, desk, packet, address, now):
        for session in list(desk.sessions.values()):
            was = session.state
            if session.receive(packet, address, now):
                if session.state == OPEN and was != OPEN and session is desk.serving:
                    self._opened(desk, now)
                return True
        return False

    def _probed(self, desk, probe, address, now):
        purpose, hint = probe
        if purpose != packets.SERVE:
            late = self._identity.paired and purpose == packets.PAIR and now > _WINDOW_MS
            if purpose != self._pairing(desk) or late:
                return
        if hint not in (packets.ANYONE, self._identity.hint(purpose)):
            return
        session = desk.sessions.get(purpose)
        if session is None and purpose != packets.SERVE:
            session = self._add(desk, purpose, now)
        if session is not None:
            session.hello_to(address, now)

    def _opened(self, desk, now):
        before = self.live
        self.live = desk
        self._control = []
        self._said_at = now
        self.refusal = ""
        if before is not None and before is not desk:
            self._let_go(before, now)
        for other in self._desks:
            if hasattr(other.link, "wanted"):
                other.link.wanted = self._desks.index(other) <= self._desks.index(desk)
        self._device.opened()

    def _let_go(self, desk, now):
        if desk.link.kind == "tls":
            desk.link.close()
            desk.sessions = {}
        else:
            desk.serving.seek(now)

    def _closed(self, desk, session, now):
        if desk.link.kind == "tls":
            desk.link.close()
            desk.sessions = {}
        elif session.purpose != packets.SERVE and self._identity.paired:
            del desk.sessions[session.purpose]
        else:
            session.seek(now)
        if desk is self.live and session.purpose == packets.SERVE:
            self.live = None
            self._device.lost()
            for other in self._desks:
                if hasattr(other.link, "wanted"):
                    other.link.wanted = True
                elif other.serving is not None and other is not desk:
                    other.serving.seek(now)

    def _hung_up(self, desk):
        def gone():
            for session in desk.sessions.values():
                if session.state == OPEN:
                    session.state = CLOSED
            self.wake()

        return gone

    def _connection(self, desk):
        def changed(stands):
            now = self._clock.uptime()
            if stands:
                made = Session(
                    self._identity, packets.SERVE, self._board, now, self._device.receive, None
                )
                made.start_plain(now)
                desk.sessions[packets.SERVE] = made
                self._opened(desk, now)
            elif desk.serving is not None:
                desk.serving.state = CLOSED
            self.wake()

        return changed
