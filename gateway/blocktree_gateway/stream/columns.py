"""Columns of readings: `temperature °C -2` says that 2153 is 21.53 °C."""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

_POWER_MAX = 12


@dataclass(frozen=True, slots=True)
class Column:
    """One thing that is measured."""

    name: str
    unit: str  # "" for none
    power: int  # of ten, that a value is multiplied by

    @property
    def head(self) -> str:
        """As it heads a column of CSV: `temperature °C`."""
        return f"{self.name} {self.unit}".strip()

    def number(self, value: int | None) -> str:
        """A value without its unit, exact; "" if nothing was measured."""
        if value is None:
            return ""
        if self.power >= 0:
            return str(value * 10**self.power)
        digits = str(abs(value)).rjust(1 - self.power, "0")
        whole, rest = digits[: self.power], digits[self.power :]
        return f"{'-' if value < 0 else ''}{whole}.{rest}"

    def text(self, value: int | None) -> str:
        """A value for people: `21.53 °C`."""
        if value is None:
            return f"{self.name} -"
        return f"{self.number(value)} {self.unit}".strip()


def read_column(text: str) -> Column:
    """A column as a device describes it; what makes no sense is a name without unit."""
    parts = text.split(" ")
    if len(parts) == 3 and parts[0]:
        unit = "" if parts[1] == "-" else parts[1]
        try:
            power = int(parts[2])
        except ValueError:
            return Column(text, "", 0)
        if abs(power) <= _POWER_MAX:
            return Column(parts[0], unit, power)
    return Column(text, "", 0)


def value_texts(columns: Sequence[str], values: Sequence[int | None]) -> list[str]:
    """All values of a reading for people: `21.53 °C`, `47 %`."""
    known = [read_column(text) for text in columns]
    known += [Column(f"value {n}", "", 0) for n in range(len(known) + 1, len(values) + 1)]
    return [column.text(value) for column, value in zip(known, values, strict=False)]


def time_text(time_ms: int | None) -> str:
    """A time as in ISO 8601, in UTC; "" while it is not known."""
    if time_ms is None:
        return ""
    try:
        at = datetime.datetime.fromtimestamp(time_ms / 1000, datetime.UTC)
    except (OverflowError, ValueError, OSError):
        return ""
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
