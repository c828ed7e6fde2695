"""The schedules worth trying for a call at M rows, the likeliest first. No Triton here.

Likeliest by arithmetic (bytes in flight, registers, programs for every multiprocessor), not by measurement: no figure
here was taken on a GPU yet.
"""

from __future__ import annotations

from spcomp.encodings.bitmap import Bitmap
from spcomp.encodings.block import Block
from spcomp.encodings.csr import Csr
from spcomp.encodings.nm import Nm
from spcomp.encodings.vnm import TILE, Vnm
from spcomp.plan import KernelCall, Schedule

SIDES = (16, 32, 64, 128)
"""Sides of blocks that tensor cores take."""
FEW_ROWS = 16
"""Up to here W is streamed once, by split programs."""
MEDIUM_ROWS = 64
"""Up to here sparse tensor cores are tried first for V:2:M."""
MOST_SPLITS = 8
DEEP = 6
"""Stages of the pipeline of many rows: x is read where a loaded index says, and Triton gives each of the two loads half
of what is left beside the product, so that six stages are three tiles in flight."""
AMD_STAGES = 2
"""64 KB of local memory hold no more, and AMD's compiler keeps what is in flight in registers."""


def schedule(**options: int) -> Schedule:
    """Options by name, sorted."""
    return tuple(sorted(options.items()))


def for_amd(found: Schedule) -> Schedule:
    """The same with no more stages than AMD's memory holds; half of the warps where W or a tile of x is cut for 32
    lanes each of which loads 16 bytes."""
    options = dict(found)
    options["stages"] = min(options["stages"], AMD_STAGES)
    few = ("lanes" in options and options["block_m"] == 1) or ("block_s" in options and options["block_m"] <= FEW_ROWS)
    if "block_t" in options or few:
        options["warps"] //= 2
    return schedule(**options)


def nvidia_alone(found: Schedule) -> bool:
    """Whether it is one for an instruction that AMD's GPUs do not have."""
    return "row_tiles" in dict(found)


def schedules_of(call: KernelCall, m: int, multiprocessors: int) -> list[Schedule]:
    """Empty where the call is none for these kernels."""
    if call.op in ("conv", "experts") and not isinstance(call.encoding, Block):
        return []
    match call.encoding:
        case Block(rows=rows, cols=cols):
            if rows not in SIDES or cols not in SIDES:
                return []
            if call.op == "conv":
                return _conv(call)
            if call.op == "experts":
                return _experts(call, rows, m)
            if m > FEW_ROWS:
                return _blocks_many(call, rows)
            return _blocks_few(call, rows, m, multiprocessors)
        case Bitmap():
            return _bitmap(call, m, multiprocessors)
        case Csr(block_columns=columns):
            return _csr(m) if columns >= min(call.k, 1 << 14) else []
        case Nm(n=n):
            return _nm(call, m, multiprocessors) if n <= 8 else []
        case Vnm():
            return _vnm(call, m, multiprocessors)
        case _:
            return []


def splits_for(programs: int, wanted: int, most: int = MOST_SPLITS) -> int:
    """Parts of K, a power of two, for about ``wanted`` programs in all."""
    parts = 1
    while parts < most and programs * parts * 2 <= wanted:
        parts *= 2
    return parts


def bitmap_share(k: int, found: Schedule) -> tuple[int, int, int]:
    """(columns of a step, mask bytes in a part, parts that are not empty) of rows of ``k`` columns."""
    options = dict(found)
    step, mask_bytes = options.get("step", 64), 8 * -(-k // 64)
    steps = -(-8 * mask_bytes // step)
    share = max(1, -(-steps // options.get("splits", 1))) * (step // 8)
    return step, share, max(1, -(-mask_bytes // share))


def _blocks_many(call: KernelCall, rows: int) -> list[Schedule]:
    if call.dtype == "float32":
        return [schedule(block_m=32, block_k=32, group=8, per_unit=2, warps=4, stages=2)]
    common = {"block_k": 64, "group": 8, "stages": DEEP}
    usual = schedule(block_m=128, warps=8, per_unit=2, **common)
    small = schedule(block_m=64, warps=4, per_unit=2, **common)
    if rows == 128:
        return [usual, small]
    return [usual, schedule(block_m=256, warps=8, per_unit=1, **common), small]


def _blocks_few(call: KernelCall, rows: int, m: int, multiprocessors: int) -> list[Schedule]:
    block_m = 1 if m <= 1 else 16
    wide = call.dtype == "float32"
    found = []
    for block_n in sorted({min(rows, 16), min(rows, 32)}):
        programs = -(-call.n // rows) * (rows // block_n)
        splits = splits_for(programs, 6 * multiprocessors)
        block_k = 64 if wide or block_n == 32 else 128
        found.append(schedule(block_m=block_m, block_n=block_n, block_k=block_k, splits=splits, warps=4, stages=4))
    return found[::-1]


def _conv(call: KernelCall) -> list[Schedule]:
    if call.dtype == "float32":
        return [schedule(block_m=32, block_k=32, warps=4, stages=2)]
    return [schedule(block_m=128, block_k=64, warps=8, stages=4), schedule(block_m=64, block_k=32, warps=4, stages=4)]


def _experts(call: KernelCall, rows: int, m: int) -> list[Schedule]:
    """Tiles of 16 tokens, and where experts get more than that on average, of 64."""
    if call.outputs % rows:
        return []  # a block would lie in two experts
    wide = call.dtype == "float32"
    common = {"block_k": 32 if wide else 64, "stages": 3, "warps": 4, "experts": call.experts}
    found = [schedule(block_m=16, **common)]
    return [*found, schedule(block_m=32 if wide else 64, **common)] if m > 16 * call.experts else found


def _bitmap(call: KernelCall, m: int, multiprocessors: int) -> list[Schedule]:
    """Eight columns a lane: (rows, columns of a step) for one token, few, many."""
    found = []
    many = (64, 32 if call.dtype == "float32" else 64)
    for block_n, step in ((16, 256), (8, 256)) if m <= 1 else ((32, 128),) if m <= FEW_ROWS else (many,):
        block_m = 1 if m <= 1 else 16 if m <= FEW_ROWS else 64
        programs = -(-call.n // block_n) * -(-max(m, 1) // block_m)
        splits = splits_for(programs, 8 * multiprocessors)
        found.append(schedule(block_m=block_m, block_n=block_n, step=step, splits=splits, warps=4, stages=1))
    return found


def _csr(m: int) -> list[Schedule]:
    """One token: eight nonzeros a lane, which are 16 bytes."""
    if m <= 1:
        return [schedule(block_m=1, block_n=8, lanes=128, warps=4, stages=1),
                schedule(block_m=1, block_n=16, lanes=64, warps=4, stages=1)]  # fmt: skip
    block_m = 16 if m <= FEW_ROWS else 64
    return [schedule(block_m=block_m, block_n=2048 // block_m, lanes=4, warps=4, stages=1)]


def _nm(call: KernelCall, m: int, multiprocessors: int) -> list[Schedule]:
    block_m = 1 if m <= 1 else 16 if m <= FEW_ROWS else 64
    block_n = 32 if m <= FEW_ROWS or call.dtype == "float32" else 64
    programs = -(-call.n // block_n) * -(-max(m, 1) // block_m)
    splits = splits_for(programs, 6 * multiprocessors)
    block_k = 64 if m <= 1 else 32
    return [
        schedule(block_m=block_m, block_n=block_n, block_k=block_k, splits=splits, warps=4, stages=3 if m <= 1 else 1)
    ]


def _vnm(call: KernelCall, m: int, multiprocessors: int) -> list[Schedule]:
    """With ``row_tiles`` through sparse tensor cores, otherwise gathered."""
    assert isinstance(call.encoding, Vnm)
    found = [] if call.dtype == "float32" else _vnm_sparse(call, call.encoding, m, multiprocessors)
    if m <= 1:
        block_t = 2 if call.dtype == "float32" else 4
        splits = splits_for(-(-call.n // (block_t * TILE)), 4 * multiprocessors, 2 * MOST_SPLITS)
        return [*found, schedule(block_m=1, block_t=block_t, splits=splits, warps=4, stages=3)]
    block_m = 16 if m <= FEW_ROWS else 64 if m <= 256 or call.dtype == "float32" else 128
    block_n = min(call.encoding.v, 32 if call.dtype == "float32" else 64)
    splits = splits_for(-(-call.n // block_n) * -(-m // block_m), 2 * multiprocessors)
    gathered = schedule(
        block_m=block_m, block_n=block_n, block_s=1 if call.dtype == "float32" else 2, splits=splits, warps=4, stages=3
    )
    return [*found, gathered] if m <= MEDIUM_ROWS else [gathered, *found]


def _vnm_sparse(call: KernelCall, encoding: Vnm, m: int, multiprocessors: int) -> list[Schedule]:
    """Tokens of a warp are 8, 16, 32 or 64; sums take 4 * row_tiles * tokens / 8 registers of every lane."""
    tokens = 1 if m <= 8 else 2 if m <= 16 else 4 if m <= 32 else 8
    options = {1: (2, 4), 2: (2, 4), 4: (2,), 8: (1, 2)}[tokens]
    found = []
    for row_tiles in sorted({min(tiles, encoding.v // TILE) for tiles in options}):
        programs = -(-call.n // (4 * row_tiles * TILE)) * -(-max(m, 1) // (8 * tokens))
        splits = splits_for(programs, 4 * multiprocessors, 2 * MOST_SPLITS)
        unroll = 4 // row_tiles if tokens == 1 else 1
        found.append(
            schedule(row_tiles=row_tiles, tokens=tokens, splits=splits, unroll=max(1, unroll), warps=4, stages=1)
        )
    return found
