"""Threads for MLIR kernels, borrowed from the OpenMP pool that torch itself uses.

``GOMP_parallel`` of torch's own libgomp runs a small compiled trampoline on as many threads as
``torch.get_num_threads()`` says; each finds its calls in an array by ``omp_get_thread_num``. One pool means that our
kernels and Inductor's never oversubscribe the cores. Without libgomp everything runs on the calling thread.
"""

from __future__ import annotations

import ctypes
import functools
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from spcomp.codegen.mlir_cpu import jit

log = logging.getLogger("spcomp.parallel")

MIN_PRODUCTS = 400_000
"""Multiplications (about 10 us of work) below which starting threads costs more than it brings."""
FEW = 8
"""Rows up to which weights take as long as with so many: they are read and put in place, hardly multiplied with."""

Weights = np.ndarray[tuple[int], np.dtype[np.int64]]
"""The work of each item."""
Stage = Sequence[Sequence["Step"]]
"""The calls of each thread."""
Range = tuple[int, int]
UNEVEN = 1.125
"""More work than an even share, of the thread that has most, up to which threads share tiles instead of rows of W."""

# data: [omp_get_thread_num, omp_get_num_threads, GOMP_barrier, how many stages, the address of each: {how many lists,
# the address of each: {count, (packed entry, argument array)...}}]. A team may be smaller than it was asked to be: then
# a thread makes the calls of several lists. All stages are one region: threads wait for each other between them, but
# are not sent for again.
_TRAMPOLINE = """
llvm.func @_mlir_trampoline(%data: !llvm.ptr) {
  %zero = llvm.mlir.constant(0 : i64) : i64
  %one = llvm.mlir.constant(1 : i64) : i64
  %two = llvm.mlir.constant(2 : i64) : i64
  %p1 = llvm.getelementptr %data[1] : (!llvm.ptr) -> !llvm.ptr, i64
  %p2 = llvm.getelementptr %data[2] : (!llvm.ptr) -> !llvm.ptr, i64
  %p3 = llvm.getelementptr %data[3] : (!llvm.ptr) -> !llvm.ptr, i64
  %p4 = llvm.getelementptr %data[4] : (!llvm.ptr) -> !llvm.ptr, i64
  %number = llvm.load %data : !llvm.ptr -> !llvm.ptr
  %team = llvm.load %p1 : !llvm.ptr -> !llvm.ptr
  %wait = llvm.load %p2 : !llvm.ptr -> !llvm.ptr
  %stages = llvm.load %p3 : !llvm.ptr -> i64
  %tid32 = llvm.call %number() : !llvm.ptr, () -> i32
  %tid = llvm.zext %tid32 : i32 to i64
  %size32 = llvm.call %team() : !llvm.ptr, () -> i32
  %size = llvm.zext %size32 : i32 to i64
  %some = llvm.icmp "slt" %zero, %stages : i64
  llvm.cond_br %some, ^stage(%zero : i64), ^exit
^stage(%s: i64):
  %stage_at = llvm.getelementptr %p4[%s] : (!llvm.ptr, i64) -> !llvm.ptr, i64
  %stage = llvm.load %stage_at : !llvm.ptr -> !llvm.ptr
  %lists = llvm.load %stage : !llvm.ptr -> i64
  llvm.br ^thread(%tid : i64)
^thread(%t: i64):
  %any = llvm.icmp "slt" %t, %lists : i64
  llvm.cond_br %any, ^mine, ^done
^mine:
  %behind = llvm.add %t, %one : i64
  %at = llvm.getelementptr %stage[%behind] : (!llvm.ptr, i64) -> !llvm.ptr, i64
  %list = llvm.load %at : !llvm.ptr -> !llvm.ptr
  %count = llvm.load %list : !llvm.ptr -> i64
  llvm.br ^head(%zero : i64)
^head(%i: i64):
  %more = llvm.icmp "slt" %i, %count : i64
  llvm.cond_br %more, ^body, ^after
^body:
  %twice = llvm.mul %i, %two : i64
  %first = llvm.add %twice, %one : i64
  %second = llvm.add %twice, %two : i64
  %at0 = llvm.getelementptr %list[%first] : (!llvm.ptr, i64) -> !llvm.ptr, i64
  %at1 = llvm.getelementptr %list[%second] : (!llvm.ptr, i64) -> !llvm.ptr, i64
  %entry = llvm.load %at0 : !llvm.ptr -> !llvm.ptr
  %arguments = llvm.load %at1 : !llvm.ptr -> !llvm.ptr
  llvm.call %entry(%arguments) : !llvm.ptr, (!llvm.ptr) -> ()
  %next = llvm.add %i, %one : i64
  llvm.br ^head(%next : i64)
^after:
  %later = llvm.add %t, %size : i64
  llvm.br ^thread(%later : i64)
^done:
  %following = llvm.add %s, %one : i64
  %left = llvm.icmp "slt" %following, %stages : i64
  llvm.cond_br %left, ^together, ^exit
^together:
  llvm.call %wait() : !llvm.ptr, () -> ()
  llvm.br ^stage(%following : i64)
^exit:
  llvm.return
}
"""
_Team = tuple[int, int, int]
"""Addresses of omp_get_thread_num, omp_get_num_threads and GOMP_barrier."""


@functools.cache
def _pool() -> tuple[object, _Team, jit.Compiled] | None:
    """(GOMP_parallel, what the trampoline calls of OpenMP, the trampoline), or None where there is no libgomp."""
    folder = Path(torch.__file__).parent / "lib"
    for name in [*map(str, sorted(folder.glob("libgomp*.so*"))), "libgomp.so.1"]:
        try:
            library = ctypes.CDLL(name)
            run = library.GOMP_parallel
            asked = library.omp_get_thread_num, library.omp_get_num_threads, library.GOMP_barrier
        except (OSError, AttributeError) as error:
            log.debug("no OpenMP pool in %s: %s", name, error)
            continue
        run.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
        run.restype = None
        number, team, barrier = (ctypes.cast(f, ctypes.c_void_p).value or 0 for f in asked)
        return run, (number, team, barrier), jit.compile_text("trampoline", _TRAMPOLINE, 1, 0)
    return None


def ready() -> None:
    """Compile what calls go through, so that it is not compiled when a model runs."""
    _pool()


def threads_for(products: int, rows: int = FEW) -> int:
    """How many threads this many multiplications with so many rows of x deserve, at most torch's own number."""
    threads = torch.get_num_threads()
    worth = products * max(1, FEW // max(1, rows)) >= MIN_PRODUCTS
    return threads if threads > 1 and worth and _pool() is not None else 1


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

    def __init__(self, known: int, threads: int, team: _Team) -> None:
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
    pool = _pool() if threads > 1 else None
    if pool is None:
        function.call(*arguments, 0, work if isinstance(work, int) else len(work))
        return
    launch, team, trampoline = pool
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
    pool = _pool()
    if pool is None or len(parts) < 2:
        for part in parts:
            for function, arguments in part:
                function.call(*arguments)
        return
    launch, team, trampoline = pool
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
        self._local = threading.local()

    @staticmethod
    def _cells(stages: Sequence[Stage]) -> Weights:
        found = [a for stage in stages for part in stage for _, arguments in part for a in arguments]
        return np.array(found, np.int64)

    def __call__(self, *addresses: int) -> None:
        pool = _pool()
        if pool is None:
            self._one_by_one(self._filled(addresses).tolist())
            return
        launch, team, trampoline = pool
        if not hasattr(self._local, "held"):
            self._local.held = self._laid_down(team)
        mine, address, latest, _ = self._local.held
        if latest[0] != addresses:  # what was freed is often given again
            mine[:] = self._filled(addresses)
            latest[0] = addresses
        if self.alone:
            trampoline.call(address)
        else:
            launch(trampoline.address, address, self.threads, 0)  # type: ignore[operator]

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

    def _laid_down(self, team: _Team) -> tuple[Weights, int, list[tuple[int, ...] | None], object]:
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
        return cells, data.ctypes.data, [None], [*keep, data]
