"""`cached_cpu`: streams against slow Python, time against arithmetic, whole steps, errors."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from spcomp.encodings.bitmap import Bitmap
from spcomp.encodings.block import Block
from spcomp.encodings.csr import Csr
from spcomp.encodings.dense import Dense
from spcomp.encodings.nm import Nm
from spcomp.encodings.sorted_csr import SortedCsr
from spcomp.encodings.spec import Encoding
from spcomp.encodings.split import Split
from spcomp.encodings.window import Window
from spcomp.errors import InputError, PlanError
from spcomp.plan import Epilogue, KernelCall, RowRange, Schedule
from spcomp.sim import cpu_calls, cpu_time
from spcomp.sim import cpu_streams as st
from spcomp.sim.cpu import CpuState, CpuStep, costs, run_call, run_cores
from spcomp.sim.cpu_calls import Walk, walk_call
from spcomp.sim.machines.load import load_machine, override
from spcomp.sim.machines.measured import measured_machine
from spcomp.sim.workload import Operand, Step, Workload, layer_step
from spcomp.targets.host import HostCpu
from spcomp.targets.peaks import Peaks
from tests import cpu_slow as slow

CPU = load_machine("cached_cpu")
PLACES = {"x": 1 << 20, "y": 1 << 22, "bias": 1 << 23, "scratch": 1 << 24}
NAMES = ["values", "columns", "counts", "block_start", "order", "row_start", "control", "masks", "first"]
NAMES += ["group_start", "lengths", "rest_rows", "start", "rest_start"]
AT = PLACES | {name: (i + 1) << 26 for i, name in enumerate(NAMES)}
HOST = HostCpu("a host", (), 2, 48 << 10, 2 << 20, 256 << 20)


def weights(n: int, k: int, share: float, seed: int) -> np.ndarray[Any, np.dtype[np.uint32]]:
    """float32 bits."""
    g = np.random.default_rng(seed)
    found = np.where(g.random((n, k)) < share, g.standard_normal((n, k)), 0.0)
    return found.astype(np.float32).view(np.uint32)


def call_of(
    encoding: Encoding, bits: Any, schedule: Schedule, backend: str = "mlir_cpu", bias: bool = False
) -> tuple[KernelCall, dict[str, Any]]:
    n, k = bits.shape
    packed = {} if encoding == Dense() else encoding.pack_bits(bits)
    stored = packed["values"].size if packed else n * k
    nbytes = sum(a.nbytes for a in packed.values()) if packed else 4 * n * k
    call = KernelCall(
        "fc", 0, RowRange(1, None), n, k, "float32", encoding, int((bits != 0).sum()), stored, nbytes, "w",
        Epilogue(bias=bias), backend, "cpu-avx512", schedule,
    )  # fmt: skip
    return call, packed


def lines_of(
    call: KernelCall, m: int, packed: dict[str, Any], least: int = 1 << 12
) -> tuple[list[tuple[int, int]], int]:
    """(line, kind) of all accesses, and the ticks of work; blocks are small, so that streams stop and go on."""
    walk = Walk(costs(next(iter(CPU.cores.values()))))
    walk._room(least)
    found: list[tuple[int, int]] = []
    work = 0

    def take(n: int) -> None:
        nonlocal work
        found.extend(zip((walk.address[:n] // 64).tolist(), walk.kind[:n].tolist(), strict=True))
        work += int(walk.gap[:n].sum())

    for n in walk_call(walk, call, m, packed, AT):
        take(n)
    for n in walk.flush():
        take(n)
    return found, work


sizes = some.tuples(some.integers(1, 40), some.integers(1, 90), some.sampled_from([1, 15, 16, 40, 130]))
shares = some.sampled_from([0.0, 0.1, 0.5, 1.0])


@settings(max_examples=50, deadline=None)
@given(
    sizes,
    shares,
    some.sampled_from([(16, 0), (128, 0), (16, 8), (32, 128), (64, 7)]),
    some.sampled_from([1, 2, 4]),
    some.booleans(),
)
def test_csr_streams_are_those_of_the_loops(
    size: tuple[int, int, int], share: float, kind: tuple[int, int], tiles: int, bias: bool
) -> None:
    n, k, m = size
    width, window = kind
    bits = weights(n, k, share, n * k)
    encoding = SortedCsr(width, window) if window else Csr(width)
    call, packed = call_of(encoding, bits, (("tiles", tiles),), bias=bias)
    items = packed["columns"].itemsize, packed["counts"].itemsize
    body = slow.csr_body(bits, width, window, items, AT)
    wanted = slow.tiled(bits, m, tiles, k, window or 1, AT, bias, body)
    assert lines_of(call, m, packed)[0] == wanted.found


@settings(max_examples=25, deadline=None)
@given(sizes, shares, some.sampled_from([(8, 1), (4, 4), (16, 16), (3, 5)]), some.sampled_from([1, 2]))
def test_block_streams_are_those_of_the_loops(
    size: tuple[int, int, int], share: float, shape: tuple[int, int], tiles: int
) -> None:
    n, k, m = size
    rows, cols = shape
    bits = weights(n, k, share * share, n + k)
    call, packed = call_of(Block(rows, cols), bits, (("tiles", tiles),))
    body = slow.block_body(bits, rows, cols, AT)
    wanted = slow.tiled(bits, m, tiles, -(-k // cols) * cols, rows, AT, False, body)
    assert lines_of(call, m, packed)[0] == wanted.found


@settings(max_examples=15, deadline=None)
@given(sizes, some.sampled_from([(2, 4), (1, 4), (4, 8)]), some.sampled_from([1, 2, 8]))
def test_nm_streams_are_those_of_the_loops(size: tuple[int, int, int], kind: tuple[int, int], tiles: int) -> None:
    n, k, m = size
    few, many = kind
    bits = weights(n, k, 1.0, n + 3 * k)
    bits[:, np.arange(k) % many >= few] = 0
    call, packed = call_of(Nm(few, many), bits, (("tiles", tiles),))
    width = {(2, 4): 32, (1, 4): 64, (4, 8): 16}[kind]
    body = slow.nm_body(packed["control"], n, few, many, AT)
    wanted = slow.tiled(bits, m, tiles, -(-k // width) * width, 16, AT, False, body)
    assert lines_of(call, m, packed)[0] == wanted.found


@settings(max_examples=20, deadline=None)
@given(some.integers(1, 40), some.integers(1, 90), some.integers(1, 15), some.sampled_from(["nm", "window", "bitmap"]))
def test_few_tokens_read_each_line_of_the_weight_once_a_portion(n: int, k: int, m: int, name: str) -> None:
    bits = weights(n, k, 0.5, n * k)
    if name == "nm":
        bits[:, np.arange(k) % 4 >= 2] = 0
    encoding = {"nm": Nm(2, 4), "window": Window(32), "bitmap": Bitmap()}[name]
    call, packed = call_of(encoding, bits, (("tokens", 8),))
    found, _ = lines_of(call, m, packed)
    portions = bin(m).count("1") if m < 8 else 1 + bin(m - 8).count("1")
    first, size = AT["values"], packed["values"].nbytes
    reads = [line for line, kind in found if kind == st.READ and first // 64 <= line < -(-(first + size) // 64)]
    assert set(reads) == set(range(first // 64, -(-(first + size) // 64))) if size else not reads
    if name != "bitmap":  # there, lines lie across rows
        assert len(reads) == portions * -(-size // 64)
    written = {line for line, kind in found if kind == st.WRITE}
    assert written == set(range(AT["y"] // 64, -(-(AT["y"] + 4 * m * n) // 64)))


@pytest.mark.parametrize(("m", "n", "k"), [(1, 64, 96), (13, 128, 64), (64, 192, 48)])
def test_dense_products_are_counted(m: int, n: int, k: int) -> None:
    call, _ = call_of(Dense(), weights(n, k, 1.0, 0), (), "dense.onednn")
    found, work = lines_of(call, m, {})
    rows = -(-m // 6)
    first = AT["values"] // 64
    assert sum(first <= line < first + n * k // 16 for line, _ in found) == rows * n * k // 16
    assert sum(kind == st.WRITE for _, kind in found) == m * n // 16
    assert work >= m * n * k // 16 * st.TICKS // 2, "two multiply-adds of sixteen a cycle"
    call, _ = call_of(Dense(), weights(n, k, 1.0, 0), (), "dense.gemv")
    found, _ = lines_of(call, 1, {})
    assert sum(first <= line < first + n * k // 16 for line, _ in found) == n * k // 16


def test_work_of_csr_is_at_least_its_loads() -> None:
    bits = weights(64, 128, 0.5, 1)
    call, packed = call_of(Csr(128), bits, (("tiles", 4),))
    _, work = lines_of(call, 128, packed)
    loads = packed["values"].size * 6 * 2  # a column, a weight and four of x, twice for eight tiles
    assert work >= loads * st.TICKS // 2


def test_constants_are_those_of_the_generated_code() -> None:
    from spcomp.codegen.mlir_cpu import bitmap, bodies, csr, tokens

    assert cpu_calls.CHUNK_BYTES == tokens.CHUNK_BYTES
    assert cpu_calls.PANEL_TILES == tokens.PANEL_TILES
    assert cpu_calls.WORDS == bodies.WORDS
    assert st.AHEAD_ELEMENTS == csr.AHEAD
    assert [bitmap.ROWS[t] for t in (1, 2, 4, 8)] == list(cpu_calls.BITMAP_ROWS)
    for k in (8, 64, 768, 1000, 1024):
        assert cpu_calls.padded_columns(k) == tokens.padded_columns(k)


def timed(levels: list[list[int]], had: list[int], kinds: list[int], gaps: list[int], window: int = 1 << 40) -> int:
    """Ticks of a stream by hand: levels of (latency, line, written line, registers), the first unused."""
    n, depth = len(had), len(levels)
    regs = np.zeros(cpu_time.REGISTERS, np.int64)
    regs[cpu_time.T_BUFFER] = 4
    reads = np.zeros((cpu_time.READS, 3), np.int64)
    cpu_time.advance(
        n, np.array(kinds, np.uint8), np.array(gaps), np.array(had, np.uint8), np.zeros(n, np.bool_), window,
        np.array(levels), regs, reads, np.zeros((depth, cpu_time.MOST_REGISTERS), np.int64), np.zeros(depth, np.int64),
        np.zeros(depth, np.int64), np.zeros(4, np.int64), np.zeros(depth, np.int64), np.zeros(depth, np.int64),
        np.zeros(depth, np.int64), np.zeros(n, np.int64),
    )  # fmt: skip
    cpu_time.drain(regs, reads)
    return int(regs[cpu_time.T_NOW])


@pytest.mark.parametrize(("registers", "wanted"), [(0, 100 + 9), (1, 10 * 100), (2, 5 * 100 + 1)])
def test_misses_overlap_up_to_the_registers(registers: int, wanted: int) -> None:
    levels = [[0, 0, 0, registers], [100, 1, 1, 0]]
    assert timed(levels, [1] * 10, [st.READ] * 10, [0] * 10) == wanted


def test_a_way_passes_a_line_at_a_time_and_latency_shows_once() -> None:
    levels = [[0, 0, 0, 0], [100, 30, 30, 0]]
    assert timed(levels, [1] * 10, [st.READ] * 10, [0] * 10) == 9 * 30 + 100


def test_a_window_of_nothing_waits_for_every_read() -> None:
    levels = [[0, 0, 0, 0], [100, 1, 1, 0]]
    assert timed(levels, [1] * 10, [st.READ] * 10, [1] * 10, window=0) == 1 + 10 * 100, (
        "the next work is done meanwhile"
    )
    assert timed(levels, [1] * 10, [st.AHEAD] * 10, [1] * 10, window=0) == 10, "nothing waits for accesses ahead"


def test_stores_wait_for_room_in_their_buffer() -> None:
    levels = [[0, 0, 0, 0], [100, 1, 50, 0]]
    assert timed(levels, [1] * 20, [st.WRITE] * 20, [0] * 20) == 19 * 50 + 100


def test_loops_of_one_length_are_foreseen_and_random_ones_are_not() -> None:
    table = np.zeros((st.DEEPEST, st.DEEPEST), np.int64)
    same = sum(st.ends(table, 5, 5) for _ in range(1000))
    lengths = np.random.default_rng(0).integers(1, 9, 4000)
    table[:] = 0
    mixed = sum(st.ends(table, a, b) for a, b in itertools.pairwise(lengths))
    assert same <= 4
    assert 0.75 * 4000 < mixed < 1.6 * 4000


def step_of(encoding: Encoding, m: int, schedule: Schedule, shape: tuple[int, int] = (256, 256)) -> Step:
    call, packed = call_of(encoding, weights(*shape, 0.2, 3), schedule)
    return layer_step(call, m, "x", "y", packed)


def both(step: Step, machine: Any = CPU) -> tuple[CpuStep, CpuStep]:
    """The first run and the second."""
    places, state = Workload((step,), "").places(), CpuState(machine)
    return run_call(step, machine, places, state), run_call(step, machine, places, state)


def test_caches_persist_and_memory_gives_each_byte_once() -> None:
    step = step_of(Csr(64), 64, (("tiles", 4),))
    cold, warm = both(step)
    assert cold.dram_bytes >= step.weight_nbytes + step.read_nbytes
    assert warm.dram_bytes == 0
    assert warm.cycles < cold.cycles
    assert warm.compute_cycles <= warm.cycles
    for run in (cold, warm):
        assert run.cycles <= run.compute_cycles + sum(run.stalls.values()) + run.memory_cycles + 1000
        assert run.accesses == sum(run.hits.values())


def test_more_of_everything_never_costs() -> None:
    step = step_of(Csr(128), 64, (("tiles", 4),), (512, 512))
    base = both(step)[1].cycles
    for key, value in (
        ("cache.levels[1].bytes_per_cycle", 96), ("cores.core[0].mispredict_cycles", 1),
        ("cache.levels[1].latency_cycles", 5),
        ("cores.core[0].window_instructions", 4096), ("cache.levels[0].mshrs", 64),
    ):  # fmt: skip
        assert both(step, override(CPU, {key: value}))[1].cycles <= base, key
    assert both(step, override(CPU, {"cores.core[0].fma_units": 1}))[1].cycles > base


def test_runs_are_equal_and_workloads_run_step_by_step() -> None:
    first = step_of(Csr(64), 40, (("tiles", 2),))
    h, s = (Operand(name, (40, 256), "float32", 4 * 40 * 256) for name in ("y", "z"))
    heads = tuple(Operand(name, (2, 40, 64), "float32", 4 * 2 * 40 * 64) for name in "qkvo")
    steps = (
        first,
        Step("norm", "norm", (h,), (s,)),
        Step("gelu", "elementwise", (s,), (h,)),
        Step("attention", "attention", heads[:3], heads[3:], batch=2, m=40, n=40, k=64, value_features=64),
        Step("product", "matmul", heads[:2], heads[3:], batch=2, m=40, n=64, k=40),
    )
    work = Workload(steps, "")
    seen: list[tuple[int, int]] = []
    runs = [list(run_cores(work, CPU, progress=lambda a, b: seen.append((a, b)))) for _ in range(2)]
    assert runs[0] == runs[1]
    assert [s.name for s in runs[0]] == ["fc", "norm", "gelu", "attention", "product"]
    assert seen == [(i, 5) for i in range(1, 6)] * 2
    assert all(s.cycles > 0 and s.accesses > 0 for s in runs[0])
    macs = 2 * 40 * 40 * 128
    assert runs[0][3].compute_cycles >= macs // 32


def test_a_host_makes_a_machine_of_its_measurements() -> None:
    peaks = Peaks(
        192.0, 12.0, 24.0, l1_gb_s=300.0, l2_gb_s=120.0, mispredict_ns=6.0, l2_latency_ns=7.0, l3_latency_ns=40.0,
        l2_write_gb_s=48.0, mixed_loads_gb_s=240.0, call_us=1.5,
    )  # fmt: skip
    machine = measured_machine(peaks, HOST)
    assert machine.cache is not None
    l1, l2, l3 = machine.cache.levels
    assert machine.clock_mhz == 3000
    assert (l1.latency_cycles + l2.latency_cycles, l2.bytes_per_cycle, l2.written_bytes_per_cycle) == (21, 40, 16)
    assert (l1.latency_cycles + l2.latency_cycles + l3.latency_cycles, l3.bytes_per_cycle) == (120, 8.0)
    core = machine.cores["core[0]"]
    assert (core.load_bytes_per_cycle, core.mispredict_cycles, core.call_ns) == (100, 18, 1500)
    newer = measured_machine(replace(peaks, surprise_ns=5.0, learned_ends=5000.4, permuted_loads_gb_s=280.0), HOST)
    measured = newer.cores["core[0]"]
    assert (measured.mispredict_cycles, measured.learned_ends, core.learned_ends) == (15, 5000, 8192)
    taken = 8**measured.permute_overlap + (17 / (100 / 64)) ** measured.permute_overlap
    assert taken ** (1 / measured.permute_overlap) == pytest.approx(64 * 17 * 3 / 280, rel=0.01)
    for key in ("clock_mhz", "cache.levels[2].latency_cycles", "cores.core[1].call_ns"):
        source = machine.source(key)
        assert source is not None
        assert source.kind == "measured"
    taken = 4**core.port_overlap + (9 / (100 / 64)) ** core.port_overlap
    assert taken ** (1 / core.port_overlap) == pytest.approx(64 * 9 * 3 / 240, rel=0.01), "the mixed loop's cycles"
    assert not [source for source in machine.sources if source.kind == "fitted"]
    with pytest.raises(InputError, match="its latencies were not measured"):
        measured_machine(Peaks(100.0, 10.0, 20.0), HOST)


def test_what_cannot_be_simulated_says_so() -> None:
    step = step_of(Split(4, 4, 50), 32, (("tiles", 2),))
    with pytest.raises(PlanError, match="split of mlir_cpu, whose accesses are not modelled"):
        both(step)
    call, _ = call_of(Csr(64), weights(32, 32, 0.5, 0), (("tiles", 1),))
    with pytest.raises(PlanError, match="a weight without its packed bytes"):
        both(layer_step(call, 16, "x", "y"))
    with pytest.raises(InputError, match="it has no cores or no cache"):
        CpuState(load_machine("systolic_ws"))


def test_streams_do_not_depend_on_the_size_of_blocks() -> None:
    bits = weights(96, 200, 0.4, 7)
    for encoding, schedule in (
        (Csr(64), (("tiles", 4),)),
        (Window(256), (("tokens", 8),)),
        (Block(4, 4), (("tiles", 2),)),
    ):
        call, packed = call_of(encoding, bits, schedule)
        assert lines_of(call, 15, packed) == lines_of(call, 15, packed, 1 << 18)
