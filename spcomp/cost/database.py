"""`TuningDatabase`: what kernels took, here and elsewhere, and what they would take on sizes nobody timed.

It reads three kinds of files of JSON lines: those that come with the package, what was measured here (one file for each
device in the cache folder, appended to), and what the user imported. A line that is damaged is skipped and logged. Two
processes append whole lines at once. The exact times that the planner asks for first are the
:class:`~spcomp.cost.cache.TuneCache`'s; this is its sibling that can be searched, exported and imported.

*Nearest-shape reuse:* of the records of the same device, threads, dtype, op, encoding and backend, the nearest in log2
of M, N, K and density; ``seconds = measured there * model(asked) / model(there)``.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from spcomp.cost.cache import ENVIRONMENT
from spcomp.cost.records import Record, SearchRecord, TuningCase, TuningRecord, read_record
from spcomp.encodings.spec import Encoding
from spcomp.plan import KernelCall, Schedule

log = logging.getLogger("spcomp.cost")
SHIPPED = Path(__file__).parent / "tuned"
WITHIN = 1.0
"""Farthest that a time is reused: sizes, rows and density may differ by a factor of two in all."""
LEAST_DENSITY = 1e-6
HERE, IMPORTED, SHIPPED_NAME = "here", "imported", "shipped"
ORIGINS = (HERE, IMPORTED, SHIPPED_NAME)
"""Where a record comes from, the most trusted first."""
Same = Literal["kernel", "encoding", "kind"]
Predict = Callable[[KernelCall, int, int], float]
"""(call, rows, cold bytes) -> seconds, by the analytic model."""


@dataclass(frozen=True)
class Near:
    """The nearest record, how far it is (log2), and where it comes from."""

    record: TuningRecord
    distance: float
    origin: str

    def seconds(self, asked: TuningCase, predict: Predict) -> float:
        """Its time, scaled to what is asked by the ratio of the model's predictions; its own at distance 0."""
        near = self.record.case
        there, here = (predict(c.call, c.m, c.cold_bytes) for c in (near, asked))
        return self.record.seconds if here == there else self.record.seconds * here / there


@dataclass(frozen=True)
class Imported:
    """What came of a file: records by device, and lines that are none."""

    by_device: dict[str, int]
    damaged: int


_Form = tuple[Encoding, Schedule]
_Place = tuple[float, ...]
_Placed = tuple[TuningRecord, str, _Place]


@dataclass
class _Shelf:
    """The records of one device."""

    exact: dict[str, dict[str, tuple[float, str]]] = field(default_factory=dict)
    """{point: {kernel: (seconds, origin)}}."""
    kinds: dict[tuple[object, ...], dict[_Form, dict[tuple[str, str], _Placed]]] = field(default_factory=dict)
    """{kind: {form: {(point, kernel): record with its origin and place}}}."""
    searches: dict[tuple[str, str], tuple[int, ...]] = field(default_factory=dict)

    def put(self, record: Record, origin: str) -> None:
        """A later record replaces an earlier one of its origin; one that is trusted less replaces none."""
        if isinstance(record, SearchRecord):
            self.searches[record.versions, record.about] = record.found
            return
        point, kernel = record.case.point, record.case.kernel
        before = self.exact.setdefault(point, {}).get(kernel)
        if before is not None and ORIGINS.index(before[1]) < ORIGINS.index(origin):
            return
        self.exact[point][kernel] = (record.seconds, origin)
        forms = self.kinds.setdefault(_kind(record.case), {})
        form = (record.case.call.encoding, record.case.call.schedule)
        forms.setdefault(form, {})[point, kernel] = (record, origin, _place(record.case))


@dataclass
class TuningDatabase:
    """Records of any devices; ``folder`` is the cache's."""

    folder: Path
    shipped: Path = SHIPPED
    writable: bool = True
    _shelves: dict[str, _Shelf] = field(default_factory=dict, repr=False)

    # -- asking -------------------------------------------------------------------------------------------------

    def exact(self, device: str, point: str, kernels: Iterable[str]) -> dict[str, tuple[float, str]] | None:
        """{kernel: (seconds, origin)} at a :attr:`~spcomp.cost.records.TuningCase.point`, if all are known."""
        known = self._shelf(device).exact.get(point, {})
        wanted = list(kernels)
        return {name: known[name] for name in wanted} if all(name in known for name in wanted) else None

    def nearest(self, asked: TuningCase, *, within: float = WITHIN, same: Same = "kernel") -> Near | None:
        """The nearest record of the same device, threads, op, dtype, encoding and backend within a distance.

        ``same``: ``encoding``, also of the same parameters of the encoding; ``kernel``, of the same schedule too. At
        equal distance: of the same versions, measured here, the fastest.
        """
        forms = self._shelf(asked.device).kinds.get(_kind(asked), {})
        encoding, schedule = asked.call.encoding, asked.call.schedule
        if same == "kernel":
            alike = [forms.get((encoding, schedule), {})]
        else:
            alike = [found for form, found in forms.items() if same == "kind" or form[0] == encoding]
        here = _place(asked)
        best: tuple[tuple[float, bool, int, float], Near] | None = None
        for record, origin, place in (placed for form in alike for placed in form.values()):
            if (far := math.dist(here, place)) > within:
                continue
            rank = (far, record.case.versions != asked.versions, ORIGINS.index(origin), record.seconds)
            if best is None or rank < best[0]:
                best = rank, Near(record, far, origin)
        return None if best is None else best[1]

    def search(self, device: str, versions: str, about: str) -> tuple[int, ...] | None:
        """What a library's search found on this device with these versions, or None."""
        return self._shelf(device).searches.get((versions, about))

    def records(self, device: str | None = None) -> Iterator[tuple[Record, str]]:
        """(record, origin) of every record, of one device or of all, as they lie in the files."""
        for origin, path in self._files(device):
            for record in _read(path)[0]:
                if device is None or _device(record) == device:
                    yield record, origin

    # -- keeping ------------------------------------------------------------------------------------------------

    def own_file(self, device: str) -> Path:
        """Where what is measured on a device here is kept."""
        return self.folder / "records" / f"{hashlib.blake2b(device.encode(), digest_size=8).hexdigest()}.jsonl"

    def own_files(self) -> list[Path]:
        """What was measured here, a file a device."""
        return sorted((self.folder / "records").glob("*.jsonl"))

    def add(self, records: Sequence[Record]) -> None:
        """Keep what was measured here, in memory and on disk; a folder that cannot be written is logged once."""
        for record in records:
            self._shelf(_device(record)).put(record, HERE)
        for device in dict.fromkeys(map(_device, records)) if self.writable else ():
            lines = "".join(f"{r.to_line()}\n" for r in records if _device(r) == device)
            try:
                _append(self.own_file(device), lines)
            except OSError as error:
                self.writable = False
                log.info(  # the cache, which lies beside it, has warned
                    "cannot write tuning records in %s (%s). Set %s to a writable folder.",
                    self.folder, error, ENVIRONMENT,
                )  # fmt: skip

    def export(self, path: Path, device: str) -> int:
        """Write the records of one device that were measured here or imported, each once; returns how many."""
        last: dict[tuple[str, ...], Record] = {}
        for record, origin in self.records(device):
            if origin != SHIPPED_NAME:
                last.setdefault(_identity(record), record)
                if origin == HERE:  # the latest of ours
                    last[_identity(record)] = record
        _write(path, "".join(f"{r.to_line()}\n" for r in last.values()))
        return len(last)

    def take(self, records: Sequence[Record]) -> None:
        """Keep records from elsewhere; the same ones twice are one file. Raises OSError where that cannot be."""
        text = "".join(f"{r.to_line()}\n" for r in records)
        name = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
        _write(self.folder / "records" / "imported" / f"{name}.jsonl", text)
        self._shelves.clear()

    # -- files --------------------------------------------------------------------------------------------------

    def _files(self, device: str | None) -> Iterator[tuple[str, Path]]:
        yield from ((SHIPPED_NAME, path) for path in sorted(self.shipped.glob("*.jsonl")))
        yield from ((IMPORTED, path) for path in sorted((self.folder / "records" / "imported").glob("*.jsonl")))
        own = self.own_files() if device is None else [self.own_file(device)]
        yield from ((HERE, path) for path in own)

    def _shelf(self, device: str) -> _Shelf:
        if device not in self._shelves:
            shelf = self._shelves[device] = _Shelf()
            for record, origin in self.records(device):
                shelf.put(record, origin)
        return self._shelves[device]


def read_file(path: Path) -> tuple[list[Record], Imported]:
    """The records of a file of lines, and what came of it. Raises OSError where it cannot be read."""
    path.stat()
    found, damaged = _read(path)
    by_device: dict[str, int] = {}
    for record in found:
        by_device[_device(record)] = by_device.get(_device(record), 0) + 1
    return found, Imported(by_device, damaged)


def distance(a: TuningCase, b: TuningCase) -> float:
    """Between two cases of one kind: Euclid's, of log2 of M, N, K and density (which a dense kernel does not see)."""
    return math.dist(_place(a), _place(b))


def _place(case: TuningCase) -> _Place:
    sizes = (case.m, case.call.n, case.call.k, 1.0 if case.dense else max(case.density, LEAST_DENSITY))
    return tuple(map(math.log2, sizes))


def _kind(case: TuningCase) -> tuple[object, ...]:
    """Equal where a time on one size says something about another."""
    call = case.call
    window = None if call.conv is None else (call.conv.kernel, call.conv.stride, call.conv.dilation)
    ending = (call.epilogue.activation, call.epilogue.residual)
    inputs = round(call.zero_inputs, 1) if call.encoding.name == "transposed" else 0.0
    return (
        case.threads, case.hot, call.target, call.op, call.dtype, call.quantize, call.encoding.name, call.backend,
        ending, window, inputs,
    )  # fmt: skip


def _device(record: Record) -> str:
    return record.device if isinstance(record, SearchRecord) else record.case.device


def _identity(record: Record) -> tuple[str, ...]:
    if isinstance(record, SearchRecord):
        return record.device, record.versions, record.about
    return record.case.point, record.case.kernel


def _read(path: Path) -> tuple[list[Record], int]:
    """Every record of a file, and how many lines are none; a file that is not there has neither."""
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        log.log(logging.DEBUG if isinstance(error, FileNotFoundError) else logging.INFO, "no %s: %s", path, error)
        return [], 0
    found: list[Record] = []
    damaged = 0
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            found.append(read_record(line.decode()))
        except (ValueError, RecursionError) as error:  # of JSON, of UTF-8, or of what a field says
            damaged += 1
            log.info("skipping line %d of %s: %s", number, path, error)
    return found, damaged


def _append(path: Path, text: str) -> None:
    """Whole lines in one write, which mixes with no other process's; after a line that was cut off, on a new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        size = os.fstat(handle).st_size
        os.lseek(handle, max(0, size - 1), os.SEEK_SET)
        cut = os.read(handle, 1) not in (b"", b"\n")
        os.write(handle, (("\n" if cut else "") + text).encode())
    finally:
        os.close(handle)


def _write(path: Path, text: str) -> None:
    """Written whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    with os.fdopen(handle, "w") as file:
        file.write(text)
    os.replace(temporary, path)
