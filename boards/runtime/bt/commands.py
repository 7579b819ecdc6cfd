"""Commands from the gateway: each is carried out once, and its answer is remembered."""

from bt import cbor, messages
from bt.fault import BUSY, FAILED, MALFORMED, TOO_LARGE, Fault
from bt.tasks import spawn

_REMEMBERED = 16
_AT_ONCE = 4
_RESULT = 160


class Commands:
    """What was asked and answered lately.

    Args:
        runner: who carries commands out.
        clock: when it was done.
        post: sends an answer; False if it could not.
    """

    def __init__(self, runner, clock, post):
        self._runner = runner
        self._clock = clock
        self._post = post
        self._answers = []  # (id, message or None while under way)

    def receive(self, number, name, arguments):
        """Take a command; its answer is posted when it is done."""
        for known, answer in self._answers:
            if known == number:
                if answer is not None:
                    self._post(answer)
                return
        under_way = len([1 for _id, answer in self._answers if answer is None])
        if under_way >= _AT_ONCE:
            self._post(self._answer(number, BUSY, ("it is still busy with others",)))
            return
        self._answers = self._answers[1 - _REMEMBERED :]
        self._answers.append((number, None))
        spawn(self._carry_out(number, name, arguments))

    async def _carry_out(self, number, name, arguments):
        try:
            values = cbor.loads(arguments)
            if not isinstance(values, tuple):
                raise Fault(MALFORMED, "the arguments are no list")
            kind, result = 0, await self._runner.command(name, values)
        except Fault as fault:
            kind, result = fault.kind, (fault.what,)
        except Exception as cause:  # a result of a kind that cannot be sent
            kind, result = FAILED, (str(cause),)
        answer = self._answer(number, kind, result)
        self._answers = [pair for pair in self._answers if pair[0] != number]
        self._answers.append((number, answer))
        self._post(answer)

    def _answer(self, number, kind, result):
        data = cbor.dumps(result)
        if len(data) > _RESULT:
            kind, data = TOO_LARGE, cbor.dumps(("the result is too long to send",))
        uptime, time = self._clock.uptime(), self._clock.time()
        return messages.encode(messages.ANSWER, number, kind, data, uptime, time)
