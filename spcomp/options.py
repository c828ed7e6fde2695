"""The options of a compilation, checked once."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal, Self

from spcomp.encodings.table import ENCODINGS
from spcomp.encodings.wanted import Wanted, parse_wanted
from spcomp.errors import InputError
from spcomp.targets.cuda import cuda_missing
from spcomp.targets.device import Devices

JOIN = " + "
"""Between the names of layers that became one."""
Policy = Literal["auto", "force", "off"]
Engine = Literal["auto", "inductor", "eager"]
Target = Literal["auto", "cpu", "cuda"]
Tune = Literal["measure", "reuse", "off"]


@dataclass(frozen=True)
class Options:
    """How to compile.

    ``policy``: ``auto`` keeps a layer dense where sparse does not pay and says why, ``force`` raises instead, ``off``
    is all dense. ``memory_budget``: bytes that the kernels of a layer may keep, as a multiple of its dense bytes
    (up to 1.0, also of 64 KiB for pages and tables); above 1.0 only speed decides among what fits.
    ``include``/``exclude``: globs over module names. ``encodings``: names to consider, None is all. ``engine``: what
    runs the rest of the graph. ``guard``: time the whole model against the whole dense program before handing it out.
    ``shrink``: take out what is constant or unread. ``quantize``: ``int8`` lets linear layers and convolutions
    compute in int8 where that is faster; None is never lossy.
    ``layers``: pairs of a glob over module names and the only encoding that such a layer may have beside dense; the
    first glob that matches counts, and goes before include, exclude and encodings.
    ``target``: the kind of device that the compiled model runs on; ``auto`` is where its weights are. ``devices``: what
    each weight is planned for instead of the device that it is on; it is not saved.
    ``tune``: ``measure`` times candidates that were not timed before; ``reuse`` takes the times of near sizes where
    there are some; ``off`` those of the cost model.
    """

    policy: Policy = "auto"
    memory_budget: float = 1.0
    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    encodings: frozenset[str] | None = None
    engine: Engine = "auto"
    guard: bool = True
    cache_dir: Path | None = None
    debug_dir: Path | None = None
    quantize: str | None = None
    shrink: bool = True
    layers: tuple[tuple[str, str], ...] = ()
    target: Target = "auto"
    tune: Tune = "measure"
    devices: Devices | None = None

    def __post_init__(self) -> None:
        if self.policy not in ("auto", "force", "off"):
            raise InputError("choose a policy", f"{self.policy!r}", "'auto', 'force' or 'off'")
        if self.engine not in ("auto", "inductor", "eager"):
            raise InputError("choose an engine", f"{self.engine!r}", "'auto', 'inductor' or 'eager'")
        if self.target not in ("auto", "cpu", "cuda"):
            raise InputError("choose a target", f"{self.target!r}", "'auto', 'cpu' or 'cuda'")
        if self.target == "cuda" and self.devices is None and (missing := cuda_missing()) is not None:
            raise InputError("compile for target='cuda'", missing, "target='auto' or 'cpu'")
        if self.tune not in ("measure", "reuse", "off"):
            raise InputError("choose how to tune", f"{self.tune!r}", "'measure', 'reuse' or 'off'")
        if self.quantize not in (None, "int8"):
            raise InputError("quantise", f"quantize={self.quantize!r}", "quantize='int8', or None for none at all")
        if not isinstance(self.memory_budget, int | float) or not self.memory_budget > 0:
            raise InputError("set memory_budget", f"{self.memory_budget!r}", "a positive multiple of the dense bytes")
        odd = [g for g in (*self.include, *self.exclude) if not isinstance(g, str)]
        if odd:
            raise InputError("choose layers by include and exclude", f"{odd[0]!r}", "globs over module names")
        unknown = sorted((self.encodings or frozenset()) - set(ENCODINGS))
        if unknown:
            raise InputError("restrict the encodings", f"{', '.join(unknown)}", ", ".join(sorted(ENCODINGS)))
        for pair in self.layers:
            if not isinstance(pair, tuple) or len(pair) != 2 or not all(isinstance(text, str) for text in pair):
                raise InputError("choose encodings by layers", f"{pair!r}", "layers={'encoder.*': 'block 8x8'}")
            parse_wanted(pair[1])

    def selects(self, layer: str) -> bool:
        """Whether a layer may become sparse; one that was merged of several, if all of them may."""
        if JOIN in layer:
            return all(self.selects(name) for name in layer.split(JOIN))
        return any(fnmatchcase(layer, g) for g in self.include) and not any(fnmatchcase(layer, g) for g in self.exclude)

    def wanted(self, layer: str) -> Wanted | None:
        """The encoding that ``layers`` asks for, by the first glob that matches; None where none does."""
        return next((parse_wanted(text) for glob, text in self.layers if fnmatchcase(layer, glob)), None)

    def check_layers(self, names: Sequence[str]) -> None:
        """Raise :class:`InputError` for a glob of ``layers`` that matches none of the model's layers."""
        for glob, text in self.layers:
            if not any(fnmatchcase(name, glob) for name in names):
                near = difflib.get_close_matches(glob, names, n=3, cutoff=0.3) or list(names[:5])
                found = f"it matches none of the {len(names)} layers that can be compiled"
                raise InputError(f"use {text!r} for the layers {glob!r}", found, ", ".join(near) or "no layers at all")

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; folders are left out, they belong to the machine."""
        return {
            "policy": self.policy,
            "memory_budget": self.memory_budget,
            "include": list(self.include),
            "exclude": list(self.exclude),
            "encodings": sorted(self.encodings) if self.encodings is not None else None,
            "engine": self.engine,
            "guard": self.guard,
            "quantize": self.quantize,
            "shrink": self.shrink,
            "layers": [list(pair) for pair in self.layers],
            "target": self.target,
            "tune": self.tune,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        encodings = data.get("encodings")
        return cls(
            policy=data["policy"],
            memory_budget=float(data["memory_budget"]),
            include=tuple(data["include"]),
            exclude=tuple(data["exclude"]),
            encodings=None if encodings is None else frozenset(encodings),
            engine=data["engine"],
            guard=bool(data["guard"]),
            quantize=data.get("quantize"),
            shrink=bool(data.get("shrink", False)),
            layers=tuple((glob, text) for glob, text in data.get("layers", ())),
            target=data.get("target", "auto"),
            tune=data.get("tune", "measure"),
        )
