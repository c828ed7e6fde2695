"""A memory's configuration: a preset (``dram_presets/*.yaml``) and whatever of it is overridden."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from importlib import resources
from typing import Any

import yaml

from spcomp.errors import InputError
from spcomp.sim.parts.dram_map import MAPPERS
from spcomp.sim.parts.dram_rules import STANDARDS, Standard, complete

SHAPE = ("ranks", "stacks", "groups", "banks", "rows", "columns")
ROW_POLICIES = ("open", "closed", "timeout")
REFRESHES = ("all_bank", "per_bank", "none")
FRONT_ENDS = ("per_channel", "in_order")
MAX_BANKS = 4096
MAX_QUEUE = 4096


@dataclass(frozen=True)
class Source:
    """Where a constant comes from: ``kind`` is standard, vendor, paper, derived, assumed or override."""

    source: str
    kind: str


@dataclass(frozen=True)
class DramConfig:
    """A memory. Timings are in clocks of ``clock_fs`` and have the names of the standards without ``t`` or ``n``.

    Sizes are per node of the level above: ``ranks`` (pseudo channels of HBM) in a channel, ``stacks`` (stack ids of
    HBM3) in a rank, bank ``groups``, ``banks`` in a group, ``rows``, and ``columns`` in transactions.
    """

    name: str
    standard: Standard
    clock_fs: int
    transaction_bytes: int
    ranks: int
    stacks: int
    groups: int
    banks: int
    rows: int
    columns: int
    timing: Mapping[str, int]
    sources: Mapping[str, Source] = field(repr=False)
    channels: int = 1
    mapper: str = "RoBaRaCoCh"
    xor: bool = False
    interleave_bytes: int = 64
    """Bytes that stay in one channel where the mapper has channels lowest: a cache line, or more."""
    read_queue: int = 32
    write_queue: int = 32
    high_watermark: float = 0.8
    """Writes get their turn when more than this part of the write queue is in use..."""
    low_watermark: float = 0.2
    """... and keep it until less than this part is."""
    row_policy: str = "open"
    row_timeout: int = 100
    """Clocks without use after which the ``timeout`` policy closes a row that nobody waits for (``closed``: 0)."""
    refresh: str = "all_bank"
    clock_sync: bool = True
    """LPDDR5: the data clock stops after each burst and has to be started again; False: it always runs."""
    front_end: str = "per_channel"
    """``per_channel``: each channel takes its requests in their order. ``in_order``: one stream; a request whose queue
    is full holds up all behind it."""
    accept_per_cycle: int = 1
    """Requests that a front end hands over in one controller cycle."""
    log_commands: int = 0
    """How many commands to keep in the log."""

    @property
    def cycle_fs(self) -> int:
        """Femtoseconds of a controller cycle: a clock, or half of one in HBM3."""
        return self.clock_fs // self.standard.ticks_per_clock

    @property
    def banks_per_rank(self) -> int:
        return self.stacks * self.groups * self.banks

    @property
    def banks_per_channel(self) -> int:
        return self.ranks * self.banks_per_rank

    @property
    def capacity_bytes(self) -> int:
        """Of all channels."""
        return self.channels * self.banks_per_channel * self.rows * self.columns * self.transaction_bytes

    @property
    def peak_bytes_per_second(self) -> float:
        """Of all data pins: one transaction every BL clocks on each bus."""
        buses = self.channels * (self.ranks if self.standard.bus_level == "rank" else 1)
        return buses * self.transaction_bytes / (self.timing["BL"] * self.clock_fs * 1e-15)

    def cycles(self, timing: str) -> int:
        """A timing in controller cycles."""
        return self.timing[timing] * self.standard.ticks_per_clock

    def with_settings(self, settings: Mapping[str, str | int | float | bool]) -> DramConfig:
        """The same with some settings or timings changed; ``RCD``, ``tRCD`` and ``nRCD`` are one name.

        Raises:
            InputError: an unknown name, a value of the wrong type, or an impossible memory.
        """
        names = {f.name: f for f in fields(self)}
        fixed = {"name", "standard", "timing", "sources"}
        changed: dict[str, Any] = {}
        timing, sources = dict(self.timing), dict(self.sources)
        for key, value in settings.items():
            if key in names and key not in fixed:
                changed[key] = _typed(key, value, type(getattr(self, key)))
                continue
            given = _timing_names(key, timing)
            if not given:
                known = [n for n in names if n not in fixed] + sorted(timing)
                raise InputError(f"set {key} of {self.name}", "no setting or timing of that name", _nearest(key, known))
            for name in given:
                timing[name] = _typed(key, value, int)
                sources[name] = Source("set by the caller", "override")
        made = replace(self, timing=timing, sources=sources, **changed)
        made.check()
        return made

    def check(self) -> None:
        """Raise :class:`InputError` where no such memory can be."""
        asked = f"build {self.name}"
        for key in (
            *SHAPE,
            "channels",
            "clock_fs",
            "transaction_bytes",
            "read_queue",
            "write_queue",
            "accept_per_cycle",
        ):
            if getattr(self, key) < 1:
                raise InputError(asked, f"{key} is {getattr(self, key)}", f"{key} of at least 1")
        for name, value in self.timing.items():
            if value < 0:
                raise InputError(asked, f"the timing {name} is negative ({value})", "clock cycles of at least 0")
        for key, choices in (
            ("mapper", tuple(MAPPERS)), ("row_policy", ROW_POLICIES), ("refresh", REFRESHES), ("front_end", FRONT_ENDS)
        ):  # fmt: skip
            if getattr(self, key) not in choices:
                raise InputError(asked, f"{key} is {getattr(self, key)!r}", _nearest(getattr(self, key), choices))
        for key in (*SHAPE, "transaction_bytes"):
            if getattr(self, key) & (getattr(self, key) - 1):
                raise InputError(asked, f"{key} is {getattr(self, key)}, no power of two", "a power of two")
        for key in ("read_queue", "write_queue"):
            if getattr(self, key) > MAX_QUEUE:
                raise InputError(asked, f"{key} is {getattr(self, key)}", f"{key} of at most {MAX_QUEUE}")
        if self.banks_per_channel > MAX_BANKS:
            raise InputError(asked, f"{self.banks_per_channel} banks in a channel", f"at most {MAX_BANKS}")
        self._check_policies(asked)

    def _check_policies(self, asked: str) -> None:
        if not 0 <= self.low_watermark <= self.high_watermark <= 1:
            found = f"watermarks {self.low_watermark} and {self.high_watermark}"
            raise InputError(asked, found, "0 <= low_watermark <= high_watermark <= 1")
        if self.high_watermark * self.write_queue >= self.write_queue:
            raise InputError(asked, "a high watermark that no queue can pass", "high_watermark below 1")
        if self.row_timeout < 0 or self.log_commands < 0:
            raise InputError(asked, "a negative row_timeout or log_commands", "0 or more")
        step, row = self.interleave_bytes, self.columns * self.transaction_bytes
        if step < 1 or step % self.transaction_bytes or step & (step - 1) or step > row:
            found = f"interleave_bytes is {step}, with transactions of {self.transaction_bytes} bytes"
            raise InputError(asked, found, f"a power of two from {self.transaction_bytes} to {row}")
        if self.refresh == "per_bank" and not self.standard.per_bank_refresh:
            raise InputError(asked, f"{self.standard.name} has no refresh of single banks", "refresh=all_bank")
        interval, takes = ("REFIPB", "RREFD") if self.refresh == "per_bank" else ("REFI", "RFC")
        if self.refresh != "none" and self.timing[interval] <= self.timing[takes]:
            found = f"{interval} {self.timing[interval]} is no longer than {takes} {self.timing[takes]}"
            raise InputError(asked, found, "a longer interval, or refresh=none")


def presets() -> tuple[str, ...]:
    """The names of all presets."""
    files = resources.files("spcomp.sim.parts").joinpath("dram_presets").iterdir()
    return tuple(sorted(f.name.removesuffix(".yaml") for f in files if f.name.endswith(".yaml")))


def preset(name: str) -> DramConfig:
    """A preset by name; case and dashes do not matter.

    Raises:
        InputError: no such preset; the nearest name is suggested.
    """
    by_name = {_plain(known): known for known in presets()}
    if _plain(name) not in by_name:
        raise InputError(f"find the DRAM preset {name!r}", "no preset of that name", _nearest(name, presets()))
    return _load(by_name[_plain(name)])


@functools.cache
def _load(name: str) -> DramConfig:
    file = resources.files("spcomp.sim.parts").joinpath("dram_presets", f"{name}.yaml")
    data = yaml.safe_load(file.read_text(encoding="utf-8"))
    standard = STANDARDS[data["standard"]]
    timing: dict[str, int] = {}
    sources: dict[str, Source] = {}
    for part in data["timing"]:
        for key, value in part["values"].items():
            timing[key] = value
            sources[key] = Source(part["source"], part["kind"])
    full = complete(timing, standard)
    derived = {key: Source(f"{standard.defaults[key]} of the above", "derived") for key in full if key not in timing}
    made = DramConfig(
        name=name,
        standard=standard,
        clock_fs=data["clock_ps"] * 1000,
        transaction_bytes=data["transaction_bytes"],
        timing=full,
        sources={**sources, **derived},
        **data["shape"],
    )
    made.check()
    return made


def _timing_names(key: str, timing: Mapping[str, int]) -> tuple[str, ...]:
    for name in (key, key[1:] if key[:1] in "tn" else key):
        if name == "RCD":
            return tuple(n for n in ("RCD", "RCDRD", "RCDWR") if n in timing)
        if name in timing:
            return (name,)
    return ()


def _typed(key: str, value: str | int | float | bool, wanted: type) -> Any:
    try:
        if wanted is bool and isinstance(value, str):
            return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[value.lower()]
        if wanted is int and isinstance(value, float) and not value.is_integer():
            raise ValueError(value)
        return wanted(value)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"set {key} to {value!r}", f"it takes a value of type {wanted.__name__}", f"{key}=1"
        ) from error


def _plain(name: str) -> str:
    return name.upper().replace("-", "_")


def _nearest(name: str, known: Iterable[str]) -> str:
    known = list(known)
    folded = {k.upper(): k for k in known}
    close = difflib.get_close_matches(name.upper(), list(folded), 1, 0.4)
    others = ", ".join(k for k in known if not close or k != folded[close[0]])
    return f"{folded[close[0]]} (others: {others})" if close else ", ".join(known)
