"""`TuningRecord`: what one kernel took on one device, as a line of JSON; `SearchRecord`: what a search found.

Statistics are rounded in keys (:func:`coarse`): two weights whose statistics round alike are the same case.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from spcomp.conv_shape import ConvShape
from spcomp.errors import PlanError
from spcomp.plan import Epilogue, KernelCall, RowRange

RECORD_VERSION = 1
HOT_BYTES = 1 << 16
"""A model with fewer bytes of other weights finds its caches as its own last run left them."""
LONGEST_SECONDS = 1e6


def coarse(share: float) -> float:
    """Rounded to steps of five percent: enough for a cost."""
    return 0.0 if share <= 0 else round(1.05 ** round(math.log(share) / math.log(1.05)), 4)


def key_of(
    n: int,
    k: int,
    m: int,
    dtype: str,
    epilogue: Epilogue,
    conv: ConvShape | None,
    density: float,
    zero_inputs: float,
    spread: float,
    cold_bytes: int,
) -> dict[str, Any]:
    """What can change a measurement on one device: sizes, and the pattern's statistics to about five percent.

    What a kernel stores is part of the name under which its time is filed.
    """
    return {
        "n": n,
        "k": k,
        "m": m,
        "dtype": dtype,
        "epilogue": [epilogue.bias, epilogue.activation, epilogue.residual],
        "conv": None if conv is None else conv.to_dict(),
        "density": coarse(density),
        "zero_inputs": round(zero_inputs, 1),
        "spread": round(spread, 1),
        "cold": coarse(cold_bytes),
    }


def filed(name: str, stored: int, elements: int) -> str:
    """The name under which a sparse kernel's time is filed: with the share of the elements that it stores."""
    return f"{name} stores {coarse(stored / elements)}"


@dataclass(frozen=True)
class TuningCase:
    """What is to be timed, and on what. ``call`` has no layer and no slot: those of other models are like it."""

    device: str
    """As the target names it: a CPU's model with the digest of its features, a GPU's name."""
    versions: str
    """Of everything that generates code."""
    threads: int
    """Of the CPU; 0 where the device is a GPU."""
    m: int
    call: KernelCall
    density: float
    """Nonzeros of the weight over its elements."""
    spread: float
    """Standard deviation over mean of the nonzeros a row."""
    cold_bytes: int
    """Of other weights, read between two runs."""

    @classmethod
    def of(
        cls, device: tuple[str, str, int], m: int, call: KernelCall, density: float, spread: float, cold_bytes: int
    ) -> Self:
        """``device``: its name, the versions and the threads."""
        bare = replace(call, layer="", slot=0, packed="", rows=RowRange(m, m))
        return cls(*device, m, bare, density, spread, cold_bytes)

    @property
    def dense(self) -> bool:
        return self.call.encoding.name == "dense"

    @property
    def hot(self) -> bool:
        return self.cold_bytes < HOT_BYTES

    @property
    def kernel(self) -> str:
        """The name under which its time is filed beside those of other kernels."""
        call = self.call
        if self.dense:
            return call.backend
        form = f"int8 {call.encoding}" if call.quantize else str(call.encoding)
        return filed(f"{call.backend} {form} {dict(call.schedule)}", call.stored, call.n * call.k)

    @property
    def point(self) -> str:
        """Equal for kernels that can serve the same layer at the same rows on the same device."""
        call = self.call
        key = key_of(
            call.n, call.k, self.m, call.dtype, call.epilogue, call.conv, self.density, call.zero_inputs, self.spread,
            self.cold_bytes,
        )  # fmt: skip
        return point_of(self.device, self.versions, self.threads, key)

    @property
    def pattern_digest(self) -> str:
        """Of the statistics of the zeros, rounded: BLAKE2b-64 of density, spread of the rows and stored share."""
        stored = self.call.stored / max(1, self.call.n * self.call.k)
        text = json.dumps([coarse(self.density), round(self.spread, 1), coarse(stored)])
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    def __str__(self) -> str:
        """``768 x 3072, 10% nonzeros, 16 rows``."""
        zeros = "" if self.dense else f", {self.density:.0%} nonzeros"
        return f"{self.call.n} x {self.call.k}{zeros}, {self.m} row{'s' * (self.m != 1)}"


def point_of(device: str, versions: str, threads: int, key: Mapping[str, Any]) -> str:
    """The text of a key with the device, versions and threads."""
    return json.dumps([device, versions, threads, dict(key)], sort_keys=True)


@dataclass(frozen=True)
class TuningRecord:
    """One measured time."""

    case: TuningCase
    seconds: float

    def to_line(self) -> str:
        """One line of JSON, without its end."""
        data = {"version": RECORD_VERSION, "kind": "kernel", **_flat(self.case), "seconds": self.seconds}
        return json.dumps(data, sort_keys=True)


@dataclass(frozen=True)
class SearchRecord:
    """What the search of a library found fastest, such as cuSPARSELt's algorithm for sizes."""

    device: str
    versions: str
    about: str
    """Library, sizes and dtypes."""
    found: tuple[int, ...]

    def to_line(self) -> str:
        return json.dumps({"version": RECORD_VERSION, "kind": "search", **asdict(self)}, sort_keys=True)


Record = TuningRecord | SearchRecord


def _flat(case: TuningCase) -> dict[str, Any]:
    named = {name: getattr(case, name) for name in _FIELDS}
    call = {name: value for name, value in case.call.to_dict().items() if name not in _OF_A_MODEL}
    return {**named, "call": call, "pattern_digest": case.pattern_digest}


_FIELDS = ("device", "versions", "threads", "m", "density", "spread", "cold_bytes")
_OF_A_MODEL = ("layer", "slot", "packed", "rows")


def read_record(line: str) -> Record:
    """The record of a line. Raises ValueError, with what is wrong, for anything that nobody would have measured."""
    return record_of(json.loads(line))


def record_of(data: object) -> Record:
    """As :func:`read_record`, of a JSON value."""
    if not isinstance(data, dict) or data.get("version") != RECORD_VERSION:
        raise ValueError(f"no record of version {RECORD_VERSION}")
    try:
        return _search(data) if data["kind"] == "search" else _kernel(data)
    except KeyError as error:
        raise ValueError(f"no field {error}") from error
    except PlanError as error:
        raise ValueError(error.found) from error
    except (TypeError, AttributeError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _search(data: Mapping[str, Any]) -> SearchRecord:
    texts = [_text(data, name) for name in ("device", "versions", "about")]
    found = data["found"]
    if not isinstance(found, list) or not all(type(v) is int for v in found):
        raise ValueError(f"found is {found!r}, not whole numbers")
    return SearchRecord(texts[0], texts[1], texts[2], tuple(found))


def _kernel(data: Mapping[str, Any]) -> TuningRecord:
    if data["kind"] != "kernel":
        raise ValueError(f"a record of the kind {data['kind']!r}")
    m, seconds = _count(data, "m", 1), data["seconds"]
    if type(seconds) not in (int, float) or not 0 < seconds < LONGEST_SECONDS:
        raise ValueError(f"seconds is {seconds!r}")
    density, spread = data["density"], data["spread"]
    if type(density) not in (int, float) or not 0 <= density <= 1:
        raise ValueError(f"density is {density!r}")
    if type(spread) not in (int, float) or not 0 <= spread < math.inf:
        raise ValueError(f"spread is {spread!r}")
    whole = {**data["call"], "layer": "", "slot": 0, "packed": "", "rows": {"lo": m, "hi": m}}
    call = KernelCall.from_dict(whole)
    if min(call.n, call.k) < 1:
        raise ValueError(f"a weight of {call.n} x {call.k}")
    device = (_text(data, "device"), _text(data, "versions"), _count(data, "threads", 0))
    case = TuningCase(*device, m, call, float(density), float(spread), _count(data, "cold_bytes", 0))
    return TuningRecord(case, float(seconds))


def _text(data: Mapping[str, Any], name: str) -> str:
    if not isinstance(data[name], str):
        raise ValueError(f"{name} is {data[name]!r}, not a text")
    return str(data[name])


def _count(data: Mapping[str, Any], name: str, least: int) -> int:
    value = data[name]
    if type(value) is not int or value < least:
        raise ValueError(f"{name} is {value!r}")
    return value
