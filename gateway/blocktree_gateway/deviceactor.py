"""The actor that stands in for one device, at the device's path, whether the device is on or off.

What the device says in a session comes to `heard`; what others want of it comes as messages. The
session may end and another begin on another link: nothing here is lost by that.
"""

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from blocktree.actors import Actor, Call, plays, receives
from blocktree.fault import Fault, Kind
from blocktree.wire import Record, encode
from blocktree_gateway.commands import Commands
from blocktree_gateway.contracts import DEVICE, Monitor, blame
from blocktree_gateway.conversation import OUTBOX_MAX, Conversation
from blocktree_gateway.devicemessages import (
    DeviceState,
    GetDevice,
    GetTail,
    Perform,
    Performed,
    PushApp,
    Pushed,
    Tail,
    Yield,
    Yielded,
)
from blocktree_gateway.keeping import Keeper
from blocktree_gateway.messages import (
    NOWHERE,
    SENTENCE_BYTES_MAX,
    Answer,
    AppStanding,
    AppState,
    Asleep,
    Bye,
    Checkpoint,
    Entry,
    Face,
    Gateways,
    Kept,
    OfferKind,
    Place,
    Rekey,
    Rekeyed,
    Report,
    Taken,
    TimeAsk,
    TimeTold,
    Want,
)
from blocktree_gateway.publishing import Publisher
from blocktree_gateway.pushing import Push
from blocktree_gateway.roll import Known
from blocktree_gateway.session.keys import Purpose
from blocktree_gateway.session.packets import encode_probe
from blocktree_gateway.tree.streamfile import Item

log = logging.getLogger(__name__)

AWAY_S = 60.0  # without a word
RING_MAX = 256
_FAREWELL_S = 0.2  # for a Bye to arrive
CALLED_S = 5.0  # in which a device that called here may yet enter here
LIVE_PROOF_S = 2.0  # for a device to show that its session here lives
_CLOCK_MIN_MS = 1_735_689_600_000  # 2025: a gateway that does not know the time tells none
_NO_FACE = Face((), ())
_NO_APP = AppState("", b"", AppStanding.NONE, 0, "")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a device's actor needs of its gateway."""

    path: str  # of the gateway
    gateways: Callable[[], Sequence[str]]  # `PATH HOST UDPPORT TLSPORT`
    rekeyed: Callable[[bytes, int], None]  # the device has the secrets of a new epoch
    yielded: Callable[[bytes], None]  # another gateway speaks for the device from now on


@plays(DEVICE.role("device"))
class DeviceActor(Actor):
    """One device.

    Args:
        known: who it is, as the tree says.
        keeper: keeps its stream; made with `kept`, `damaged` and `committed` of this actor.
        around: the gateway.
        publisher: writes its readings for people, where that can be done.
    """

    def __init__(self, known: Known, around: Surroundings) -> None:
        self.known = known
        self.keeper: Keeper | None = None
        self.publisher: Publisher | None = None
        self._around = around
        self._loop = asyncio.get_running_loop()
        self.conversation: Conversation | None = None
        self.commands = Commands(self._loop.time)
        self._report: Report | None = None
        self._face = _NO_FACE
        self._app = _NO_APP
        self._ring: deque[Item] = deque(maxlen=RING_MAX)
        self._fresh = asyncio.Event()
        self._push: Push | None = None
        self._monitor = Monitor()
        self._heard_at: float | None = None
        self.called_at = -CALLED_S  # when the device last looked for a gateway here
        self._asleep_until = 0.0
        self.trouble = ""
        self._hears: dict[type[Record], Callable[[Any], None]] = {
            Entry: self._keep,
            Checkpoint: self._keep,
            TimeAsk: self._tell_time,
            Answer: self.commands.answered,
            Report: self._greet,
            Face: self._see,
            Asleep: self._sleep,
            Want: self._pushed,
            Taken: self._pushed,
            AppState: self._see_app,
            Rekeyed: self._rekeyed,
            Bye: self._left,
        }

    # ---- the device's side

    @property
    def full(self) -> bool:
        """Whether the tree is behind, so that no more can be taken."""
        return self.keeper is None or self.keeper.full

    def begin(self, conversation: Conversation) -> None:
        """A new session takes the place of the one before."""
        before, self.conversation = self.conversation, conversation
        self._monitor = Monitor()
        if before is not None:
            before.end()
        self._report = None
        log.info(
            "%s is here by %s, %s", self._name, conversation.wire.kind, conversation.wire.where
        )

    def heard(self, conversation: Conversation, message: Record) -> None:
        """The device said something."""
        if conversation is not self.conversation:
            return
        self._heard_at = self._loop.time()
        self._asleep_until = 0.0
        if not self._monitor.takes(message):
            self._quarantine(conversation)
            return
        hear = self._hears.get(type(message))
        if hear is not None:
            hear(message)

    def ended(self, conversation: Conversation) -> None:
        """A session is over."""
        if self.conversation is conversation:
            self.conversation = None
            self.condition = "away"
            log.info("%s is away", self._name)

    def changed(self, known: Known) -> None:
        """The tree says something new of the device."""
        self.known = known
        if not known.belongs and self.conversation is not None:
            record = known.device.record
            sentence = f"revoked: {record.reason}"[:100]
            self.conversation.post(Bye(Kind.DENIED, sentence))
            self._loop.call_later(_FAREWELL_S, self._drop)
        elif known.device.record.pending is not None:
            self._send_rekey()

    def kept(self, place: Place) -> None:
        """Everything up to here is durable."""
        if self.conversation is not None:
            self.conversation.post(Kept(*place))

    def damaged(self, sentence: str) -> None:
        """The device contradicts what it said before."""
        self.trouble = sentence
        log.warning("%s: %s", self._name, sentence)

    def committed(self, items: list[Item]) -> None:
        """Items are in the tree."""
        if self.publisher is not None:
            self.publisher.take(items)

    @property
    def away(self) -> bool:
        """Whether the device is not in session, or has been silent for too long."""
        if self.conversation is None:
            return True
        quiet = self._loop.time() - self.conversation.heard_at
        return quiet > AWAY_S + max(0.0, self._asleep_until - self._loop.time())

    async def stopped(self) -> None:
        """Speak with the device no more, and commit what waits."""
        self._drop()
        if self.keeper is not None:
            await self.keeper.close()
        if self.publisher is not None:
            await self.publisher.close()

    # ---- the others' side

    @receives
    def state(self, message: GetDevice, call: Call) -> DeviceState:
        """How the device is."""
        del message, call
        now, talk, report = self._loop.time(), self.conversation, self._report
        last = (self.keeper.stream.last if self.keeper else None) or NOWHERE
        return DeviceState(
            device=self.known.id,
            gateway=self._around.path,
            link="" if talk is None else talk.wire.kind,
            where="" if talk is None else talk.wire.where,
            heard_ms=-1 if self._heard_at is None else int((now - self._heard_at) * 1000),
            asleep_ms=max(0, int((self._asleep_until - now) * 1000)),
            board=report.board if report else self.known.device.record.board,
            runtime=report.runtime if report else "",
            app=self._app.app or (report.app if report else ""),
            app_state=self._app.state,
            app_crashes=self._app.crashes,
            app_sentence=self._app.sentence,
            free_heap=report.free_heap if report else 0,
            drops=(report.drops if report else 0) + (talk.drops if talk else 0),
            columns=self._face.columns,
            commands=self._face.commands,
            boot=report.boot if report else last[0],
            kept_boot=last[0],
            kept_seq=last[1],
            queued=len(self.commands),
            trouble=self.trouble,
        )

    @receives
    def perform(self, message: Perform, call: Call) -> "asyncio.Task[Performed]":
        """Have the device do something."""
        del call
        return self._loop.create_task(self.commands.perform(message, self._send_commands))

    @receives
    def tail(self, message: GetTail, call: Call) -> "asyncio.Task[Tail]":
        """The newest entries."""
        del call
        return self._loop.create_task(self._tail(message))

    @receives
    def push(self, message: PushApp, call: Call) -> "asyncio.Task[Pushed]":
        """Put an app on the device."""
        del call
        if self._push is not None:
            raise Fault(Kind.BUSY, "another app is being put on the device")
        push = Push(OfferKind.APP, message.name, bytes(message.content), message.proof)
        return self._loop.create_task(self._run_push(push))

    @receives
    def give_up(self, message: Yield, call: Call) -> "asyncio.Task[Yielded]":
        """Another gateway hears the device."""
        del call
        if message.device != self.known.id:
            raise Fault(Kind.NOT_FOUND, "that device is not here")
        return self._loop.create_task(self._yield())

    # ---- inside

    @property
    def _name(self) -> str:
        return "…/" + b"/".join(self.known.device.place).decode(errors="replace")

    def _keep(self, item: Item) -> None:
        assert self.keeper is not None
        if self.keeper.take(item):
            self._ring.append(item)
            self.latest = f"boot {item.boot} seq {item.seq}"
            self._fresh.set()
            self._fresh = asyncio.Event()

    def _quarantine(self, conversation: Conversation) -> None:
        """The device broke its contract: this conversation is over, and the device is told why."""
        self.damaged(f"broke its contract: {self._monitor.broken}")
        blame(self, self._monitor, self.known.device.record.chain)
        conversation.post(Bye(Kind.CONTRACT, self._monitor.broken[:SENTENCE_BYTES_MAX]))
        self._loop.call_later(_FAREWELL_S, conversation.end)

    def _see(self, face: Face) -> None:
        self._face = face

    def _sleep(self, asleep: Asleep) -> None:
        self._asleep_until = self._loop.time() + asleep.for_ms / 1000

    def _see_app(self, state: AppState) -> None:
        """An app that fell back stays known as that, though it proves itself again."""
        before = self._app
        fell = before.state is AppStanding.FALLEN_BACK and before.digest == state.digest
        if not fell or state.state is AppStanding.FALLEN_BACK:
            self._app = state

    def _left(self, bye: Bye) -> None:
        log.info("%s left: %s", self._name, bye.sentence)
        self._drop()

    def _tell_time(self, ask: TimeAsk) -> None:
        now_ms = time.time_ns() // 1_000_000
        if now_ms >= _CLOCK_MIN_MS and self.conversation is not None:
            self.conversation.post(TimeTold(ask.uptime_ms, now_ms))

    def _greet(self, report: Report) -> None:
        assert self.conversation is not None
        self._report = report
        if self.conversation.epoch > self.known.device.record.epoch:  # its Rekeyed was lost
            self._around.rekeyed(self.known.id, self.conversation.epoch)
        last = self.keeper.stream.last if self.keeper is not None else None
        if last is not None:
            self.conversation.post(Kept(*last))
        if gateways := self._around.gateways():
            self.conversation.post(Gateways(tuple(gateways)))
        self._send_rekey()
        self._send_commands(again=True)

    def _send_commands(self, *, again: bool = False) -> None:
        talk = self.conversation
        if talk is None or self._report is None or self._asleep_until > self._loop.time():
            return
        for command in self.commands.to_send(again=again):
            talk.post(command)

    def _send_rekey(self) -> None:
        pending = self.known.device.record.pending
        if pending is not None and self.conversation is not None and self._report is not None:
            self.conversation.post(Rekey(pending.epoch, pending.rekey))

    def _rekeyed(self, message: Rekeyed) -> None:
        if message.kind:
            self.damaged(f"the device refused new keys: {message.sentence}")
        else:
            self._around.rekeyed(self.known.id, message.epoch)

    def _pushed(self, message: Want | Taken) -> None:
        if self._push is None:
            return
        if isinstance(message, Want):
            self._push.wanted(message)
        else:
            self._push.taken(message)

    async def _run_push(self, push: Push) -> Pushed:
        begun, self._push, self._app = self._loop.time(), push, _NO_APP
        try:
            taken = await push.run(self._post, self._waiting)
        finally:
            self._push = None
        return Pushed(taken.kind, taken.sentence, int((self._loop.time() - begun) * 1000))

    def _post(self, message: Record) -> bool:
        return self.conversation is not None and self.conversation.post(message)

    def _waiting(self) -> int:
        return OUTBOX_MAX if self.conversation is None else self.conversation.waiting

    async def _tail(self, message: GetTail) -> Tail:
        after = (message.boot, message.seq)
        found = self._behind(after)
        if not found and message.wait_ms > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(message.wait_ms / 1000):
                    await self._fresh.wait()
            found = self._behind(after)
        talk, report = self.conversation, self._report
        items = tuple(encode(item) for item in found)
        return Tail(items, talk.wire.kind if talk else "", report.free_heap if report else 0)

    def _behind(self, after: Place) -> list[Item]:
        return [item for item in self._ring if item.place > after]

    async def _yield(self) -> Yielded:
        talk = self.conversation
        if talk is None and self._loop.time() - self.called_at < CALLED_S:
            raise Fault(Kind.BUSY, "it is just coming to another gateway", path=self._around.path)
        if talk is not None and not self.away:
            asked = self._loop.time()
            talk.wire.send(encode_probe(Purpose.SERVE, self.known.device.record.hint))
            await asyncio.sleep(LIVE_PROOF_S)
            if self.conversation is talk and talk.heard_at > asked:
                raise Fault(Kind.BUSY, "another gateway speaks for it", path=self._around.path)
        self._drop()
        self._around.yielded(self.known.id)
        return Yielded(self.commands.give_away())

    def _drop(self) -> None:
        if self.conversation is not None:
            self.conversation.end()
