"""Bosch BME280 over I2C, with the integer compensation of its data sheet (section 4.2.3)."""

import asyncio
import struct


class Bme280:
    """One sensor in forced mode: it sleeps between readings.

    Args:
        scl, sda: pin numbers, or an I2C bus as `scl` and nothing as `sda`.
        address: 0x76 or 0x77.
    """

    def __init__(self, scl, sda, address):
        if sda is None:
            self._bus = scl
        else:
            from machine import I2C, Pin

            self._bus = I2C(0, scl=Pin(scl), sda=Pin(sda))
        self._address = address
        if self._read(0xD0, 1) != b"\x60":
            raise OSError("no BME280 at address 0x%x" % address)
        self._t = struct.unpack("<Hhh", self._read(0x88, 6))
        h1 = self._read(0xA1, 1)[0]
        low = self._read(0xE1, 7)
        h2, h3 = struct.unpack("<hB", low[:3])
        h4 = (_signed(low[3]) << 4) | (low[4] & 15)
        h5 = (_signed(low[5]) << 4) | (low[4] >> 4)
        self._h = h1, h2, h3, h4, h5, _signed(low[6])

    async def measure(self):
        """(hundredths of °C, tenths of %)."""
        self._write(0xF2, 1)  # humidity once
        self._write(0xF4, 0x25)  # temperature and pressure once, forced
        await asyncio.sleep(0.02)
        raw = self._read(0xF7, 8)
        temperature = raw[3] << 12 | raw[4] << 4 | raw[5] >> 4
        return compensate(temperature, raw[6] << 8 | raw[7], self._t, self._h)

    def _read(self, register, size):
        return self._bus.readfrom_mem(self._address, register, size)

    def _write(self, register, value):
        self._bus.writeto_mem(self._address, register, bytes([value]))


def compensate(raw_t, raw_h, t, h):
    """(hundredths of °C, tenths of %) from raw values and the calibration."""
    one = ((raw_t >> 3) - (t[0] << 1)) * t[1] >> 11
    two = (((raw_t >> 4) - t[0]) * ((raw_t >> 4) - t[0]) >> 12) * t[2] >> 14
    fine = one + two
    v = fine - 76800
    left = (((raw_h << 14) - (h[3] << 20) - h[4] * v) + 16384) >> 15
    right = ((v * h[5] >> 10) * ((v * h[2] >> 11) + 32768) >> 10) + 2097152
    v = left * ((right * h[1] + 8192) >> 14)
    v -= ((v >> 15) * (v >> 15) >> 7) * h[0] >> 4
    v = min(max(v, 0), 419430400)
    return (fine * 5 + 128) >> 8, ((v >> 12) * 10 + 512) >> 10


def _signed(byte):
    return byte - 256 if byte > 127 else byte
