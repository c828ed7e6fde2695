"""Threads for MLIR kernels, borrowed from the OpenMP pool that torch itself uses.

``GOMP_parallel`` of torch's own libgomp runs a small compiled trampoline on as many threads as
``torch.get_num_threads()`` says; each finds its calls in an array by ``omp_get_thread_num``. One pool means that our
kernels and Inductor's never oversubscribe the cores. Without libgomp everything runs on the calling thread.
"""

from __future__ import annotations

import ctypes
import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import numpy as np
import torch

from spcomp.codegen.mlir_cpu import jit
from spcomp.codegen.mlir_cpu.team import Team, openmp

MIN_PRODUCTS = 400_000
"""Multiplications (about 10 us of work) below which starting threads costs more than it brings."""
FEW = 8
"""Rows up to which weights take as long as with so many: they are read and put in place, hardly multiplied with."""

FEW_MOVED = 16
"""Arguments that are moved one by one: numpy's code for it is in no cache between calls, and takes 45 us."""

Weights = np.ndarray[tuple[int], np.dtype[np.int64]]
"""The work of each item."""
Stage = Sequence[Sequence["Step"]]
"""The calls of each thread."""
Range = tuple[int, int]
UNEVEN = 1.125
"""More work than an even share, of the thread that has most, up to which threads share tiles instead of rows of W."""


def threads_for(products: int, rows: int = FEW) -> int:
    """How many threads this many multiplications with so many rows of x deserve, at most torch's own number."""
    threads = torch.get_num_threads()
    worth = products * max(1, FEW // max(1, rows)) >= MIN_PRODUCTS
    return threads if threads > 1 and worth and openmp() is not None else 1


def even(count: int, parts: int) -> list[Range]:
    """``count`` items in ``parts`` ranges whose sizes differ by at most one; empty ones are left in."""
    cuts = [count * i // parts for i in range(parts + 1)]
    return list(pairwise(cuts))


@functools.lru_cache(maxsize=1024)
def shared_tiles(tiles: int, together: int, threads: int) -> tuple[Range, ...]:
    """Tiles of x in equal shares, as many as a divisor of the number of threads; one, where they do not come out even.

    ``together``: tiles that are multiplied at a time, which are not parted. A thread that has tiles of its own packs
    them, multiplies them, and reads nothing that another core wrote; by rows of W each reads all of x, of which the
    others packed most, and writes a part of each row of y. 768 x 768 to 768 x 3072 at 90 % zeros, 128 rows, sorted
    CSR, two threads over one: 1.87 to 1.91 by tiles, 1.39 to 1.73 by rows.
    """
    for shares in range(threads, 1, -1):
        if threads % shares == 0:
            units = even(-(-tiles // together), shares)
            found = tuple((lo * together, min(hi * together, tiles)) for lo, hi in units)
            if max(hi - lo for lo, hi in found) * shares <= UNEVEN * tiles:
                return found
    return ((0, tiles),)


def balance(weights: Weights, parts: int, multiple: int = 1) -> list[int]:
    """Cut points (parts + 1 of them) that split items into contiguous ranges of about equal total weight.

    Inner cuts are multiples of ``multiple``.
    """
    total = np.concatenate([[0], np.cumsum(weights + 1)])
    able = np.arange(0, len(weights) + 1, multiple)
    wanted = total[-1] * np.arange(1, parts) / parts
    nearest = np.abs(total[able] - wanted[:, None]).argmin(axis=1)
    return [0, *able[nearest].tolist(), len(weights)]


class Shares:
    """Items of such weights, cut for any number of threads once."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self._cuts: dict[int, list[int]] = {}

    def __len__(self) -> int:
        return len(self.weights)

    def cuts(self, threads: int) -> list[int]:
        """First and last item of the first thread, of the second, ..."""
        found = self._cuts.get(threads)
        if found is None:
            found = [at for pair in pairwise(balance(self.weights, threads)) for at in pair]
            self._cuts[threads] = found
        return found


Step = tuple[jit.Compiled, tuple[int, ...]]
"""A function and its arguments."""


class _Region:
    """Where the calls of one function by some threads are laid down, whose arguments differ in the last two only."""

    def __init__(self, known: int, threads: int, team: Team) -> None:
        """``known``: how many arguments all threads have."""
        self.cells = (ctypes.c_int64 * (known + 2 * threads))()
        base, each = ctypes.addressof(self.cells), known + 2
        own = [[*range(known), known + 2 * i, known + 2 * i + 1] for i in range(threads)]
        self._pointers = (ctypes.c_int64 * (threads * each))(*(base + 8 * at for row in own for at in row))
        first = ctypes.addressof(self._pointers)
        self.lists = (ctypes.c_int64 * (3 * threads))(
            *(value for i in range(threads) for value in (1, 0, first + 8 * i * each))
        )
        at = ctypes.addressof(self.lists)
        self._stage = (ctypes.c_int64 * (1 + threads))(threads, *(at + 24 * i for i in range(threads)))
        self._data = (ctypes.c_int64 * 5)(*team, 1, ctypes.addressof(self._stage))
        self.address = ctypes.addressof(self._data)


_own = threading.local()


def over(function: jit.Compiled, arguments: tuple[int, ...], work: int | Shares, threads: int) -> None:
    """``function(*arguments, lo, hi)`` over all of so many items, or of items of such weights, by ``threads``."""
    found = openmp() if threads > 1 else None
    if found is None:
        function.call(*arguments, 0, work if isinstance(work, int) else len(work))
        return
    launch, team, trampoline = found
    cuts = [at for pair in even(work, threads) for at in pair] if isinstance(work, int) else work.cuts(threads)
    regions: dict[tuple[int, int], _Region] = _own.__dict__.setdefault("regions", {})
    key = len(arguments), threads
    region = regions.get(key)
    if region is None:
        region = regions[key] = _Region(*key, team)
    region.cells[:] = [*arguments, *cuts]
    for i in range(threads):
        region.lists[3 * i + 1] = function.packed_address
    launch(trampoline.address, region.address, threads, 0)  # type: ignore[operator]


def run(parts: Sequence[Sequence[Step]]) -> None:
    """Make every part's calls in order, one thread a part, and wait for all."""
    found = openmp()
    if found is None or len(parts) < 2:
        for part in parts:
            for function, arguments in part:
                function.call(*arguments)
        return
    launch, team, trampoline = found
    keep: list[object] = []
    lists = []
    for part in parts:
        pairs: list[int] = []
        for function, arguments in part:
            cells = (ctypes.c_int64 * len(arguments))(*arguments)
            base = ctypes.addressof(cells)
            array = (ctypes.c_int64 * len(arguments))(*(base + 8 * i for i in range(len(arguments))))
            keep += [cells, array]
            pairs += [function.packed_address, ctypes.addressof(array)]
        listed = (ctypes.c_int64 * (1 + len(pairs)))(len(part), *pairs)
        keep.append(listed)
        lists.append(ctypes.addressof(listed))
    stage = (ctypes.c_int64 * (1 + len(lists)))(len(lists), *lists)
    data = (ctypes.c_int64 * 5)(*team, 1, ctypes.addressof(stage))
    launch(trampoline.address, ctypes.addressof(data), len(parts), 0)  # type: ignore[operator]


class Prepared:
    """The same calls time after time, of which only some base addresses differ: one entry for all of them.

    Calling a function through ``ctypes`` takes 2 to 5 us, and a layer is up to dozens of calls. Their arguments are
    laid down once (for each Python thread) as a base's number and an offset.
    """

    def __init__(self, stages: Callable[..., Sequence[Stage]], bases: int) -> None:
        """``stages(*addresses)``: for so many base addresses, of which arguments are sums with constants, the calls of
        each thread; all of a stage are done before the next begins."""
        found = stages(*[0] * bases)
        self.alone = all(len(stage) == 1 for stage in found)
        """One thread makes all calls."""
        functions = [[[function for function, _ in part] for part in stage] for stage in found]
        self.counts = [[[len(arguments) for _, arguments in part] for part in stage] for stage in found]
        self.threads = max(map(len, found), default=1)
        if self.alone:
            functions = [[[f for stage in functions for f in stage[0]]]]
            self.counts = [[[n for stage in self.counts for n in stage[0]]]]
        self.functions = functions
        self.template = self._cells(found)
        self.base = np.zeros(len(self.template), np.int64)
        for i in range(bases):
            moved = self._cells(stages(*(int(j == i) for j in range(bases)))) - self.template
            self.base[moved == 1] = i + 1
        self._users: dict[int, list[int]] = {}
        """Arguments that a base is part of."""
        self._local = threading.local()

    @staticmethod
    def _cells(stages: Sequence[Stage]) -> Weights:
        found = [a for stage in stages for part in stage for _, arguments in part for a in arguments]
        return np.array(found, np.int64)

    def __call__(self, *addresses: int) -> None:
        found = openmp()
        if found is None:
            self._one_by_one(self._filled(addresses).tolist())
            return
        launch, team, trampoline = found
        try:
            mine, address, latest, _ = self._local.held
        except AttributeError:
            mine, address, latest, _ = self._local.held = self._laid_down(team)
        if latest[0] != addresses:  # what was freed is often given again
            self._fill(mine, latest[0], addresses)
            latest[0] = addresses
        if self.alone:
            trampoline.call(address)
        else:
            launch(trampoline.address, address, self.threads, 0)  # type: ignore[operator]

    def _fill(self, cells: memoryview[int], before: tuple[int, ...] | None, addresses: tuple[int, ...]) -> None:
        """Write the arguments where they lie; most often a result alone moved since the call ``before``.

        A plain loop: between calls the caches hold other things, and each new kind of object costs 10 us.
        """
        moved = 0
        for i, address in enumerate(addresses if before is not None else ()):
            if address == before[i]:  # type: ignore[index]
                continue
            if i not in self._users:
                self._users[i] = np.flatnonzero(self.base == i + 1).tolist()
            moved += len(self._users[i])
            if moved > FEW_MOVED:
                break
            by = address - before[i]  # type: ignore[index]
            for at in self._users[i]:
                cells[at] += by
        if before is None or moved > FEW_MOVED:
            np.asarray(cells)[:] = self._filled(addresses)

    def _filled(self, addresses: tuple[int, ...]) -> Weights:
        cells: Weights = np.take(np.array((0, *addresses), np.int64), self.base)
        cells += self.template
        return cells

    def _one_by_one(self, cells: list[int]) -> None:
        at = 0
        for function, count in self._calls():
            function.call(*cells[at : at + count])
            at += count

    def _calls(self) -> Iterator[tuple[jit.Compiled, int]]:
        """Every function with its number of arguments."""
        for stage, counted in zip(self.functions, self.counts, strict=True):
            for functions, counts in zip(stage, counted, strict=True):
                yield from zip(functions, counts, strict=True)

    def _laid_down(self, team: Team) -> tuple[memoryview[int], int, list[tuple[int, ...] | None], object]:
        """(cells of all arguments, the address of the trampoline's data, for which addresses, what must stay alive)."""
        cells = np.empty(len(self.template), np.int64)
        pointers = cells.ctypes.data + 8 * np.arange(len(cells), dtype=np.int64)
        keep: list[object] = [pointers]
        stages, at = [], 0
        for stage, counted in zip(self.functions, self.counts, strict=True):
            lists = []
            for functions, counts in zip(stage, counted, strict=True):
                pairs = [len(functions)]
                for function, count in zip(functions, counts, strict=True):
                    pairs += [function.packed_address, pointers.ctypes.data + 8 * at]
                    at += count
                lists.append(np.array(pairs, np.int64))
            stage_data = np.array([len(lists), *(entry.ctypes.data for entry in lists)], np.int64)
            keep += [lists, stage_data]
            stages.append(stage_data.ctypes.data)
        data = np.array([*team, len(stages), *stages], np.int64)
        return cells.data, data.ctypes.data, [None], [*keep, data]
