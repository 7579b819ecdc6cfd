"""The sensors of the climate app: DHT22, BME280, and one that only computes."""

import asyncio


def open_sensor(settings):
    """The sensor that the settings name."""
    name = settings.get("sensor", "simulated")
    if name == "dht22":
        return Dht22(settings["pin"])
    if name == "bme280":
        from bme280 import Bme280

        return Bme280(settings["scl"], settings["sda"], settings.get("address", 0x76))
    if name == "simulated":
        return Simulated()
    raise ValueError("no sensor is called %s; there are: dht22, bme280, simulated" % name)


class Dht22:
    """AM2302 on one pin, by the firmware's own driver; two seconds between readings."""

    def __init__(self, pin):
        from dht import DHT22
        from machine import Pin

        self._dht = DHT22(Pin(pin))

    async def measure(self):
        """(hundredths of °C, tenths of %)."""
        try:
            self._dht.measure()
        except OSError:  # one answer in a hundred is lost; ask once more
            await asyncio.sleep(2)
            self._dht.measure()
        return round(self._dht.temperature() * 100), round(self._dht.humidity() * 10)


class Simulated:
    """A room whose temperature wanders up and down by a degree in an hour of readings."""

    def __init__(self):
        self._count = 0

    async def measure(self):
        """(hundredths of °C, tenths of %)."""
        self._count += 1
        swing = abs(self._count % 60 - 30)
        return 2000 + 7 * swing, 480 - 2 * swing
