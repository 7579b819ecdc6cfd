"""A lamp or a relay that is switched by command, and says what it is."""

from bt.app import DeviceApp


class App(DeviceApp):
    """Settings: `pin` (none: simulated), `inverted` (many relay boards are), `name`."""

    columns = ("on - 0",)
    commands = ("Led.set on:bool", "Led.get", "Led.toggle", "Led.blink times:int")

    def start(self):
        """Off, until somebody says otherwise."""
        self._pin = _open(self.settings)
        self._blinks = 0
        self._show(False)

    def led_set(self, on):
        """Switch; gives what it is now."""
        self._blinks = 0
        self._show(on)
        return self._on

    def led_get(self):
        """What it is now."""
        return self._on

    def led_toggle(self):
        """The other way; gives what it is now."""
        return self.led_set(not self._on)

    def led_blink(self, times):
        """Blink up to 100 times, twice a second."""
        self._blinks = 2 * min(max(times, 0), 100)
        self.tell(self._blink)
        return times

    def _blink(self):
        if self._blinks:
            self._blinks -= 1
            self._pin.value(self._blinks & 1)
            self.after(250, self._blink)
        else:
            self._pin.value(self._on)

    def _show(self, on):
        self._on = on
        self._pin.value(on)
        self.reading(int(on))


def _open(settings):
    if settings.get("pin") is None:
        return _Simulated()
    from machine import Pin, Signal

    return Signal(Pin(settings["pin"], Pin.OUT), invert=settings.get("inverted", False))


class _Simulated:
    """A pin that nothing is wired to."""

    def value(self, on):
        self.on = bool(on)
