"""After an int8 convolution whose neighbours want pixels: sums scaled, added to, activated and stored as they lie.

Nothing is transposed, for the sums of a pixel are neighbours as its channels are in the result. On the way the largest
magnitude is found, so that who rounds the result reads it once.
"""

from __future__ import annotations

import functools

import numpy as np

from spcomp.codegen.mlir_cpu.epilogue import IVEC, activate
from spcomp.codegen.mlir_cpu.int8_rows import scaled
from spcomp.codegen.mlir_cpu.segments import Ints
from spcomp.codegen.mlir_cpu.text import LANES, MASK, VEC, Function
from spcomp.plan import Epilogue


def runs(pixel: Ints, panel: int) -> tuple[Ints, Ints]:
    """(runs [.., 3], number of each panel's first run and of all) of neighbouring sums that are neighbouring pixels.

    ``pixel``: the output pixel of every sum, -1 for none; a panel is so many sums. A run is its first sum, the sum
    behind its last, and what is added to a sum's number to have its pixel.
    """
    used = np.flatnonzero(pixel >= 0)
    added = pixel[used] - used
    starts = np.ones(len(used), np.bool_)
    starts[1:] = (np.diff(used) != 1) | (np.diff(added) != 0) | (np.diff(used // panel) != 0)
    begin = np.flatnonzero(starts)
    end = np.append(begin[1:], len(used)) - 1
    found = np.stack([used[begin], used[end] + 1, added[begin]], 1).astype(np.int64)
    first = np.searchsorted(found[:, 0] // panel, np.arange(-(-len(pixel) // panel) + 1))
    return np.ascontiguousarray(found), first.astype(np.int64)


@functools.lru_cache(maxsize=64)
def pixels8_text(rest: int, epilogue: Epilogue) -> str:
    """``pixels8(ys, shift, weight_scale, bias, x_scale, residual, y, runs, most, part, stride, channels, base, run_lo,
    run_hi, n_lo, n_hi)``: sums of some :func:`runs` to pixels of float32.

    ys [.., stride] i32, its first that of sum ``base``; shift i32, weight_scale and bias f32 [channels]; x_scale [1]:
    of the image; residual and y [pixels, channels]. most[part] becomes the bits of the largest magnitude, if those were
    less. n_lo is a multiple of 16, and so is n_hi, unless it is ``channels``, which is ``rest`` modulo 16.
    """
    f = Function(
        "pixels8",
        (
            ("ys", "i32"), ("shift", "i32"), ("weight_scale", "f32"), ("bias", "f32"), ("x_scale", "f32"),
            ("residual", "f32"), ("y", "f32"), ("runs", "i64"), ("most", "i32"),
        ),
        ("part", "stride", "channels", "base", "run_lo", "run_hi", "n_lo", "n_hi"),
    )  # fmt: skip
    lanes, none = f.idx(LANES), f.splat("0", IVEC)
    image = f.broadcast(f.load("%x_scale", f.idx(0)))
    whole = f.mul(f.val(f"arith.divui %n_hi, {lanes} : index", "i"), lanes)
    mask = f.mask(f.sub("%n_hi", whole)) if rest else None
    with f.loop("%run_lo", "%run_hi", carried=[(none, IVEC)], hint="run") as run:
        lo, hi, added = (
            f.load_index("%runs", f.add(f.mul(run.index, f.idx(3)), f.idx(i)), "i64") for i in range(3)
        )  # fmt: skip
        with f.loop(lo, hi, carried=[(run.carried[0], IVEC)], hint="sum") as one:
            from_ = f.mul(f.sub(one.index, "%base"), "%stride")
            to = f.mul(f.add(one.index, added), "%channels")
            with f.loop("%n_lo", whole, lanes, [(one.carried[0], IVEC)], hint="n") as n:
                f.yield_([_block(f, n.carried[0], from_, to, n.index, None, epilogue, image)], [IVEC])
            most = n.results[0]
            if mask is not None:
                most = _block(f, most, from_, to, whole, mask, epilogue, image)
            f.yield_([most], [IVEC])
        f.yield_([one.results[0]], [IVEC])
    top = f.val(f"vector.reduction <maxsi>, {run.results[0]} : {IVEC} into i32", "b")
    top = f.val(f"arith.maxsi {top}, {f.load('%most', '%part', 'i32')} : i32", "b")
    f.do(f"memref.store {top}, %most[%part] : memref<?xi32>")
    return f.text()


def _block(
    f: Function, most: str, from_: str, to: str, n: str, mask: str | None, epilogue: Epilogue, image: str
) -> str:
    """Sixteen channels from ``n`` on of a pixel, or those in ``mask``; the larger of ``most`` and their magnitudes."""
    sums = f.vload("%ys", f.add(from_, n), IVEC, "i32")
    sums = f.val(f"arith.addi {sums}, {f.vload('%shift', n, IVEC, 'i32', mask)} : {IVEC}", "s")
    value = f.val(f"arith.sitofp {sums} : {IVEC} to {VEC}", "y")
    bias = f.vload("%bias", n, mask=mask) if epilogue.bias else None
    value = scaled(f, value, f.vload("%weight_scale", n, mask=mask), image, bias)
    at = f.add(to, n)
    if epilogue.residual:
        value = f.val(f"arith.addf {value}, {f.vload('%residual', at, mask=mask, hint='r')} : {VEC}", "y")
    value = activate(f, value, epilogue.activation)
    bits = f.val(f"arith.bitcast {value} : {VEC} to {IVEC}", "b")
    bits = f.val(f"arith.andi {bits}, {f.splat(str(0x7FFFFFFF), IVEC)} : {IVEC}", "b")
    if mask is None:
        f.vstore(value, "%y", at)
    else:
        f.do(f"vector.maskedstore %y[{at}], {mask}, {value} : memref<?xf32>, {MASK}, {VEC}")
        bits = f.val(f"arith.select {mask}, {bits}, {f.splat('0', IVEC)} : {MASK}, {IVEC}", "b")
    return f.val(f"arith.maxsi {most}, {bits} : {IVEC}", "b")
