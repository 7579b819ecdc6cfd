"""Temperature and humidity, measured at an even pace."""

import sensors
from bt.app import DeviceApp


class App(DeviceApp):
    """Settings: `sensor` (`dht22`, `bme280` or `simulated`), its pins, `every` (ms)."""

    columns = ("temperature °C -2", "humidity % -1")
    commands = ("Climate.every seconds:int", "Climate.now")

    def start(self):
        """Measure at once, then again and again."""
        self._sensor = sensors.open_sensor(self.settings)
        self._pace = self.settings.get("every", 60000)
        self.tell(self.measure)
        self._next()

    async def measure(self):
        """One reading; what the sensor could not tell is nothing, and said."""
        try:
            values = await self._sensor.measure()
        except OSError as cause:
            self.note("the sensor does not answer: %s" % cause, level=2)
            values = (None, None)
        self.reading(*values)
        return values

    def climate_every(self, seconds):
        """Change the pace; from 1 second to a day."""
        if not 1 <= seconds <= 86400:
            raise ValueError("a pace is 1 to 86400 seconds")
        self._pace = seconds * 1000
        return seconds

    async def climate_now(self):
        """Measure now; gives the values."""
        return await self.measure()

    def _next(self):
        self.after(self._pace, self._again)

    async def _again(self):
        self._next()
        await self.measure()
