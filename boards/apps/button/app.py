"""A push button: each press is a reading, without bounce."""

from bt.app import DeviceApp

_POLL = 10
_STEADY = 3  # polls in a row that agree


class App(DeviceApp):
    """Settings: `pin` (pulled up, to ground when pressed; none: simulated), `every` (ms, then)."""

    columns = ("presses - 0", "held ms 0")
    commands = ("Button.press held:int", "Button.count")

    def start(self):
        """Look at the pin a hundred times a second."""
        self._presses = 0
        self._pressed = False
        self._same = self._held = 0
        if self.settings.get("pin") is None:
            if self.settings.get("every"):
                self.every(self.settings["every"], self._simulate)
            return
        from machine import Pin

        self._pin = Pin(self.settings["pin"], Pin.IN, Pin.PULL_UP)
        self.every(_POLL, self._look)

    def button_press(self, held):
        """As if it had been pressed for so many milliseconds; gives the count."""
        self._released(held)
        return self._presses

    def button_count(self):
        """How often it was pressed since the start."""
        return self._presses

    def _look(self):
        self.see(not self._pin.value())

    def see(self, pressed):
        """Take one look at the pin."""
        if pressed == self._pressed:
            self._same = 0
            self._held += pressed
            return
        self._same += 1
        if self._same < _STEADY:
            return
        self._pressed, self._same = pressed, 0
        if pressed:
            self._held = _STEADY
        else:
            self._released(self._held * _POLL)

    def _simulate(self):
        self._released(120)

    def _released(self, held):
        self._presses += 1
        self.reading(self._presses, held)
