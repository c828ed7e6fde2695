"""Energy: what was counted times what a table says of it, in integer femtojoules.

>>> counts = (Count("mac_int8", 1000), Count("dram_byte", 64, "byte"))
>>> charge(counts, [load_table("sparseloop_stc")]).total_fj
4656800

A table is a YAML file in ``energy_tables``: groups of entries, each group with unit, source, kind and scope, the table
with its technology node. Each line of a report is rounded to a femtojoule once, and the total is the sum of the lines,
so parts add up exactly.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from importlib import resources
from typing import Any

import yaml

from spcomp.errors import InputError
from spcomp.sim.nearest import nearest

KINDS = ("measured", "vendor", "standard", "paper", "derived", "assumed")
SCOPES = ("dynamic", "static", "dram")
UNITS: dict[str, tuple[Fraction, str]] = {
    "fJ": (Fraction(1), "action"),
    "pJ": (Fraction(1000), "action"),
    "nJ": (Fraction(10**6), "action"),
    "pJ/bit": (Fraction(1000), "bit"),
    "pJ/byte": (Fraction(1000), "byte"),
    "pJ/KiB": (Fraction(1000, 1024), "byte"),
    "mW": (Fraction(1, 1000), "fs"),
    "W": (Fraction(1), "fs"),
}
"""Unit -> femtojoules of one, and of one what. A watt for a femtosecond is a femtojoule."""
DENOMINATORS = ("action", "bit", "byte", "fs")
TABLE_KEYS = ("node", "description", "entries", "area")
GROUP_KEYS = ("unit", "source", "kind", "scope", "values")


@dataclass(frozen=True)
class Entry:
    """One constant: ``value`` in ``unit``, exact as the file has it."""

    action: str
    value: Fraction
    unit: str
    source: str
    kind: str
    scope: str

    @property
    def of(self) -> str:
        """What has to be counted: actions, bits, bytes or femtoseconds."""
        return UNITS[self.unit][1]

    @property
    def femtojoules(self) -> Fraction:
        """Of one of these."""
        return self.value * UNITS[self.unit][0]


@dataclass(frozen=True, eq=False)
class EnergyTable:
    """Constants of one technology, by action, and areas in mm2 by part."""

    name: str
    node: str
    description: str
    entries: Mapping[str, Entry]
    area_mm2: Mapping[str, Entry]


@dataclass(frozen=True)
class Count:
    """``amount`` of an action, counted in ``of``: ``action``, ``bit``, ``byte``, or ``fs`` of time (of all devices)."""

    action: str
    amount: int | Fraction
    of: str = "action"


@dataclass(frozen=True)
class EnergyLine:
    """One action's energy and where its constant is from."""

    action: str
    amount: Fraction
    of: str
    energy_fj: int
    scope: str
    table: str
    node: str
    kind: str


@dataclass(frozen=True)
class EnergyReport:
    """Lines in the order of the counts; every total is a sum of lines."""

    lines: tuple[EnergyLine, ...]

    @property
    def total_fj(self) -> int:
        return sum(line.energy_fj for line in self.lines)

    @property
    def total_uj(self) -> float:
        return self.total_fj * 1e-9

    def scopes(self) -> dict[str, int]:
        """Femtojoules by scope: ``dynamic``, ``static``, ``dram``; they add up to the total."""
        return {s: sum(line.energy_fj for line in self.lines if line.scope == s) for s in SCOPES}

    def assumed_fj(self) -> int:
        """The part that rests on constants nobody has measured or published."""
        return sum(line.energy_fj for line in self.lines if line.kind == "assumed")

    def nodes(self) -> tuple[str, ...]:
        """Technology nodes that are mixed in it; reports of different nodes are not to be ranked."""
        return tuple(sorted({line.node for line in self.lines}))


def charge(counts: Iterable[Count], tables: Sequence[EnergyTable]) -> EnergyReport:
    """The energy of what was counted. Of tables that know an action, the first one is asked.

    Raises:
        InputError: an action that no table knows (the nearest is named), a count in the wrong unit, or below 0.
    """
    return EnergyReport(tuple(_line(count, tables) for count in counts if count.amount))


def _line(count: Count, tables: Sequence[EnergyTable]) -> EnergyLine:
    asked = f"charge {count.action}"
    if count.amount < 0:
        raise InputError(asked, f"a count of {count.amount}", "a count of 0 or more")
    table = next((t for t in tables if count.action in t.entries), None)
    if table is None:
        names = ", ".join(t.name for t in tables) or "no table"
        hint = nearest(count.action, [a for t in tables for a in t.entries])
        raise InputError(asked, f"no action of that name in {names}", hint)
    entry = table.entries[count.action]
    amount = _converted(count, entry, asked)
    energy = round(amount * entry.femtojoules)
    return EnergyLine(count.action, amount, entry.of, energy, entry.scope, table.name, table.node, entry.kind)


def _converted(count: Count, entry: Entry, asked: str) -> Fraction:
    if count.of not in DENOMINATORS:
        raise InputError(asked, f"it is counted in {count.of!r}", nearest(count.of, DENOMINATORS))
    if count.of == entry.of:
        return Fraction(count.amount)
    if (count.of, entry.of) == ("byte", "bit"):
        return Fraction(count.amount) * 8
    if (count.of, entry.of) == ("bit", "byte"):
        return Fraction(count.amount) / 8
    raise InputError(asked, f"it counts {count.of}s, and the table has {entry.unit}", f'Count(..., "{entry.of}")')


def area_mm2(parts: Mapping[str, int], table: EnergyTable) -> float:
    """The area of so many of each part, in mm2.

    Raises:
        InputError: a part whose area the table does not have.
    """
    for name in parts:
        if name not in table.area_mm2:
            raise InputError(f"add up the area of {name}", f"{table.name} has none", nearest(name, table.area_mm2))
    return float(sum((table.area_mm2[name].value * count for name, count in parts.items()), Fraction(0)))


def tables() -> tuple[str, ...]:
    """The names of all tables."""
    files = resources.files("spcomp.sim").joinpath("energy_tables").iterdir()
    return tuple(sorted(f.name.removesuffix(".yaml") for f in files if f.name.endswith(".yaml")))


@functools.cache
def load_table(name: str) -> EnergyTable:
    """A table by name.

    Raises:
        InputError: no such table; the nearest name is suggested.
    """
    if name not in tables():
        raise InputError(f"find the energy table {name!r}", "no table of that name", nearest(name, tables()))
    file = resources.files("spcomp.sim").joinpath("energy_tables", f"{name}.yaml")
    return parse_table(name, file.read_text(encoding="utf-8"))


def parse_table(name: str, text: str) -> EnergyTable:
    """A table of YAML text.

    Raises:
        InputError: a missing or unknown key, unit, kind or scope; a negative or doubled value; no YAML.
    """
    asked = f"read the energy table {name}"
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(asked, f"it is no YAML: {error}".replace("\n", " "), "a file such as horowitz_45nm") from error
    if not isinstance(data, dict) or not isinstance(data.get("entries"), list):
        raise InputError(asked, "it has no list of entries", "a file such as horowitz_45nm")
    for key in data:
        if key not in ("node", "description", "entries", "area"):
            raise InputError(
                asked, f"unknown key {key!r}", nearest(str(key), ("node", "description", "entries", "area"))
            )
    entries: dict[str, Entry] = {}
    areas: dict[str, Entry] = {}
    for group in data["entries"]:
        _add(entries, group, tuple(UNITS), asked)
    for group in data.get("area", []):
        _add(areas, {"scope": "static", **group}, ("mm2",), asked)
    return EnergyTable(name, str(data.get("node", "unknown")), str(data.get("description", "")), entries, areas)


def _add(into: dict[str, Entry], group: Any, units: tuple[str, ...], asked: str) -> None:
    if not isinstance(group, dict) or not isinstance(group.get("values"), dict):
        raise InputError(asked, f"{group!r} is no group of values", f"a group with {', '.join(GROUP_KEYS)}")
    for key in group:
        if key not in GROUP_KEYS:
            raise InputError(asked, f"unknown key {key!r}", nearest(str(key), GROUP_KEYS))
    for key, choices in (("unit", units), ("kind", KINDS), ("scope", SCOPES)):
        if group.get(key) not in choices:
            raise InputError(asked, f"{key} is {group.get(key)!r}", nearest(str(group.get(key)), choices))
    if not group.get("source"):
        raise InputError(asked, f"{', '.join(group['values'])} have no source", "source: where the figures are from")
    for action, value in group["values"].items():
        if type(value) not in (int, float) or not 0 <= value < float("inf"):
            raise InputError(asked, f"{action} is {value!r}", "a number of 0 or more")
        if action in into:
            raise InputError(asked, f"{action} is there twice", "one value for an action")
        into[action] = Entry(
            action, Fraction(str(value)), group["unit"], group["source"], group["kind"], group["scope"]
        )
