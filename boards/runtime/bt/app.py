"""What an app is made from: subclass `DeviceApp` and call it `App` in `app.py`."""

from bt.actor import Actor


class DeviceApp(Actor):
    """An actor with columns it measures and commands it takes.

    `columns`: texts `temperature °C -2` (name, unit, power of ten). `commands`: texts
    `Led.set on:bool`; each is a method, here `led_set(on)`, whose result is its answer.
    """

    columns = ()
    commands = ()

    def __init__(self, runner):
        super().__init__()
        self._runner = runner
        self.settings = runner.settings

    def reading(self, *values):
        """Keep one value (an integer or None) for each column."""
        self._runner.keep(values)

    async def sleep(self, ms):
        """Tell the gateway and be deaf for a while: commands wait there until then."""
        await self._runner.nap(ms)

    def note(self, text, level=1):
        """Say something for the log (1 note, 2 warning, 3 error)."""
        self._runner.say(level, text)
