"""What a machine is made of. Units stand in the names of the keys; unknown keys and impossible sizes are errors.

A machine has the sections that its simulation needs and no others. Every number of it is covered by one of ``sources``:
by the longest key there that it begins with.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from spcomp.encodings.spec import Encoding, Refusal
from spcomp.encodings.table import ENCODINGS, parse_encoding
from spcomp.errors import InputError
from spcomp.sim.energy import EnergyTable, load_table
from spcomp.sim.machines.compute import Core, Gpu, MacArray, Noc, Section, Systolic, VectorUnit
from spcomp.sim.nearest import nearest
from spcomp.sim.parts.cache import CacheLevel
from spcomp.sim.parts.dram import DramConfig, preset

Positive = Annotated[int, Field(ge=1)]


class SourceOf(Section):
    """Where constants are from. ``fitted`` ones say what data they were fitted to."""

    keys: list[str]
    source: Annotated[str, Field(min_length=4)]
    kind: Literal["measured", "vendor", "standard", "paper", "derived", "assumed", "fitted", "override"]
    node: str = ""


class Encodings(Section):
    """Which encodings run: ``dense``, or with parameters, ``nm(n=2, m=4)``; and why the others do not."""

    runs: Annotated[list[str], Field(min_length=1)]
    refuses: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _known(self) -> Encodings:
        for text in self.runs:
            parse_encoding(text) if "(" in text else _encoding_name(text)
        for name in self.refuses:
            _encoding_name(name)
        return self


def _encoding_name(name: str) -> None:
    if name not in ENCODINGS:
        raise InputError(f"list the encoding {name!r}", "no encoding of that name", nearest(name, ENCODINGS))


class Dram(Section):
    """A memory: a preset of :mod:`spcomp.sim.parts.dram`, channels, and settings or timings that differ."""

    preset: str
    channels: Positive = 1
    settings: dict[str, int | float | str | bool] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, data: Any) -> Any:
        """``dram.tRCD`` is short for ``dram.settings.tRCD``."""
        if not isinstance(data, dict):
            return data
        own = {k: v for k, v in data.items() if k in cls.model_fields}
        loose = {k: v for k, v in data.items() if k not in cls.model_fields}
        return {**own, "settings": {**data.get("settings", {}), **loose}} if loose else data

    @model_validator(mode="after")
    def _possible(self) -> Dram:
        self.config()
        return self

    def config(self) -> DramConfig:
        """The memory, checked."""
        return preset(self.preset).with_settings({**self.settings, "channels": self.channels})


class Level(Section):
    """A level of cache; the fields of :class:`~spcomp.sim.parts.cache.CacheLevel`, and its name."""

    name: str
    size_bytes: Positive
    ways: Positive
    line_bytes: Positive = 64
    replacement: str = "lru"
    write_back: bool = True
    write_allocate: bool = True
    inclusion: str = "non_inclusive"
    shared: bool = True
    mshrs: Annotated[int, Field(ge=0)] = 0
    latency_cycles: Annotated[int, Field(ge=0)] = 0
    prefetch: str = "none"
    degree: Positive = 1
    bytes_per_cycle: Annotated[float, Field(gt=0)] | None = None
    """What it gives to the level above; None: a line a cycle."""
    written_bytes_per_cycle: Annotated[float, Field(gt=0)] | None = None
    """The same of lines that are written there; None: as of those that are read."""

    @model_validator(mode="after")
    def _possible(self) -> Level:
        self.level().check()
        return self

    def level(self) -> CacheLevel:
        return CacheLevel(**{f.name: getattr(self, f.name) for f in fields(CacheLevel)})


class Cache(Section):
    """Levels from the core to the memory."""

    memory_latency_ns: Annotated[float, Field(gt=0)] | None = None
    """Beyond the last level, on the way to the memory and back; None: none."""
    memory_bytes_per_cycle: Annotated[float, Field(gt=0)] | None = None
    """What one core gets of the memory; None: all that the memory gives."""
    levels: Annotated[list[Level], Field(min_length=1)]


class Machine(Section):
    """A simulated machine. ``cores`` are named; ``core[0..127]`` stands for 128 of them."""

    name: str
    description: str
    clock_mhz: Annotated[float, Field(gt=0)]
    node: str = ""
    encodings: Encodings
    sources: list[SourceOf]
    energy: list[str] = Field(default_factory=list)
    cores: dict[str, Core] = Field(default_factory=dict)
    vector: VectorUnit | None = None
    """Beside an array or in each SM; a core has its own."""
    dram: Dram | None = None
    cache: Cache | None = None
    noc: Noc | None = None
    systolic: Systolic | None = None
    mac_array: MacArray | None = None
    gpu: Gpu | None = None

    @model_validator(mode="after")
    def _whole(self) -> Machine:
        for name in self.energy:
            load_table(name)
        if not any((self.cores, self.systolic, self.mac_array, self.gpu)):
            hint = "one of cores, systolic, mac_array, gpu"
            raise InputError(f"build {self.name}", "nothing in it computes", hint)
        return self

    @property
    def cycle_fs(self) -> int:
        """Femtoseconds of a clock, rounded."""
        return round(1e9 / self.clock_mhz)

    def energy_tables(self) -> tuple[EnergyTable, ...]:
        return tuple(load_table(name) for name in self.energy)

    def refuses(self, encoding: Encoding) -> Refusal | None:
        """Why this machine cannot run a weight in this encoding, or None if it can."""
        same = [text for text in self.encodings.runs if text.partition("(")[0] == encoding.name]
        if any("(" not in text or parse_encoding(text) == encoding for text in same):
            return None
        if same:
            return Refusal(f"{self.name} runs {' and '.join(same)}, not {encoding}")
        runs = ", ".join(self.encodings.runs)
        why = self.encodings.refuses.get(encoding.name, "it has no hardware for it")
        return Refusal(f"{self.name} does not run {encoding.name}: {why}; it runs {runs}")

    def source(self, key: str) -> SourceOf | None:
        """Where the constant at ``key``, such as ``gpu.sms``, is from; None where nobody says."""
        best, found = -1, None
        for source in self.sources:
            for prefix in source.keys:
                if len(prefix) >= best and (key == prefix or key.startswith((prefix + ".", prefix + "["))):
                    best, found = len(prefix), source
        return found

    def constants(self) -> Iterator[tuple[str, int | float]]:
        """Every number of the machine with its key."""
        data = self.model_dump(exclude={"sources", "encodings", "energy"}, exclude_none=True)
        yield from numbers_in("", data)


def numbers_in(prefix: str, value: Any) -> Iterator[tuple[str, int | float]]:
    """The numbers in nested mappings and lists, with their keys."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from numbers_in(f"{prefix}.{key}" if prefix else str(key), inner)
    elif isinstance(value, list | tuple):
        for k, inner in enumerate(value):
            yield from numbers_in(f"{prefix}[{k}]", inner)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield prefix, value
