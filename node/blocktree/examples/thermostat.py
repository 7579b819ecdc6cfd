"""A thermostat: hears a sensor, tells a heater, and turns it off when the sensor falls silent.

bt run thermostat.py:Thermostat --at /home/services/thermostat
bt ask /home/services/thermostat Set celsius=20.5 heater=/home/lamps/heater
"""

from dataclasses import dataclass

from blocktree.actors import Call, plays, receives
from blocktree.contract import Contract, Role, State, answers, hears, mirror
from blocktree.names import Path
from blocktree.services.service import Service
from blocktree.wire import Record, record

BAND = 0.5  # degrees around the wish in which nothing is switched
SILENT_S = 600.0


@record(0xE010)
@dataclass(frozen=True, slots=True)
class Reading(Record):
    """The sensor says how warm it is; above 100: it has said nothing for too long."""

    celsius: float = 999.0


@record(0xE011)
@dataclass(frozen=True, slots=True)
class Set(Record):
    """Say how warm it is to be, and at which path the heater answers."""

    celsius: float
    heater: str = ""


@record(0xE013)
@dataclass(frozen=True, slots=True)
class Switch(Record):
    """What a heater or a lamp takes."""

    on: bool


ROLE = Role("thermostat", State("on", hears(Reading), answers(Set)))
THERMOSTAT = Contract("thermostat", 1, ROLE, mirror("user"))


@plays(ROLE)
class Thermostat(Service):
    """Keeps a room as warm as it was told to."""

    async def started(self) -> None:
        """Go on with the last wish; the heater is off until a reading says otherwise."""
        self.wish, self.heater = self.state.value or [20.0, ""]
        self.on, self.silence = False, self.after(SILENT_S, Reading())

    @receives
    async def set(self, message: Set, call: Call) -> None:
        """Take a wish and keep it."""
        await self.state.save([message.celsius, message.heater or self.heater])
        self.wish, self.heater = self.state.value

    @receives
    async def reading(self, message: Reading, call: Call) -> None:
        """Compare with the wish; rather cold than on fire."""
        self.silence.cancel()
        self.silence = self.after(SILENT_S, Reading())
        wanted = message.celsius < self.wish + (BAND if self.on else -BAND)
        self.latest = f"{message.celsius:.1f} °C, wished {self.wish:.1f} °C"
        if wanted != self.on and self.heater:
            await self.runtime.tell(Path(self.heater), Switch(wanted))
            self.on, self.condition = wanted, "heating" if wanted else "off"
