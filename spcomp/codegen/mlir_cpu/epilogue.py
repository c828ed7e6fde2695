"""Activations on one register, as MLIR text: ReLU, GELU (erf and tanh), SiLU.

``exp`` is 2**i * e**r with |r| <= ln(2)/2 and the Taylor polynomial of e**r (relative error below 2e-7). ``erf(z)`` is
``z P(z^2) / Q(z^2)`` on |z| <= 3.95 (beyond, float32 rounds it to 1), a rational least-squares fit of ours, relative
error 2.1e-8 before rounding. Both stay below 5e-7 in float32; ``tests/test_epilogue.py`` holds them to it.
"""

from __future__ import annotations

import math

from spcomp.codegen.mlir_cpu.text import LANES, VEC, Function

IVEC = f"vector<{LANES}xi32>"
BITS = f"vector<{LANES}xi1>"
ERF_LIMIT = 3.95
ERF_P = (
    1.1283791440338238, 0.19150824993471569, 0.05286977455153397,
    0.003806348577788933, 0.0002846458094578085, 2.0262041330567574e-06,
)  # fmt: skip
ERF_Q = (
    1.0, 0.5030524498984972, 0.11454214535666019,
    0.015051432848185668, 0.0011702856070085804, 3.783270187067672e-05,
)  # fmt: skip


def activate(f: Function, x: str, kind: str) -> str:
    """``kind(x)`` lane by lane; NaN stays NaN."""
    match kind:
        case "none":
            return x
        case "relu":
            return _clamp(f, x, "ogt", 0.0)
        case "gelu":
            half_x = _op(f, "mulf", x, f.splat(0.5))
            return f.fma(half_x, _erf(f, _op(f, "mulf", x, f.splat(1 / math.sqrt(2)))), half_x)
        case "gelu_tanh":
            # 0.5 x (1 + tanh u) = x * sigmoid(2 u), u = sqrt(2/pi) (x + 0.044715 x^3)
            c = 2 * math.sqrt(2 / math.pi)
            inner = f.fma(_op(f, "mulf", x, x), f.splat(c * 0.044715), f.splat(c))
            return _sigmoid_times(f, x, _op(f, "mulf", x, inner))
        case "silu":
            return _sigmoid_times(f, x, x)
        case _:
            raise ValueError(f"no such activation: {kind}")


def _op(f: Function, op: str, a: str, b: str) -> str:
    return f.val(f"arith.{op} {a}, {b} : {VEC}", "e")


def exp(f: Function, x: str) -> str:
    """e**x; normal down to -87, below that as at -87; infinite from 127.5 ln 2 = 88.4 on: x / (1 + e**-x) ends in 0.

    Clamped to 89, the power of two is at most 2**128, whose bits are those of infinity.
    """
    x = _clamp(f, _clamp(f, x, "ogt", -87.0), "olt", 89.0)
    scaled = _op(f, "mulf", x, f.splat(math.log2(math.e)))
    whole = f.val(f"math.roundeven {scaled} : {VEC}", "e")
    # x - whole * ln 2 in two pieces (Cody and Waite), so that the fraction keeps its last bits
    high = 0.693145751953125
    rest = f.fma(whole, f.splat(-high), x)
    rest = f.fma(whole, f.splat(-(math.log(2) - high)), rest)
    poly = _polynomial(f, rest, tuple(1 / math.factorial(degree) for degree in range(8)))
    power = f.val(f"arith.fptosi {whole} : {VEC} to {IVEC}", "e")
    biased = f.val(f"arith.addi {power}, {f.splat('127', IVEC)} : {IVEC}", "e")
    bits = f.val(f"arith.shli {biased}, {f.splat('23', IVEC)} : {IVEC}", "e")
    return _op(f, "mulf", poly, f.val(f"arith.bitcast {bits} : {IVEC} to {VEC}", "e"))


def _sigmoid_times(f: Function, x: str, u: str) -> str:
    """x / (1 + e**-u)."""
    grown = exp(f, f.val(f"arith.negf {u} : {VEC}", "e"))
    return _op(f, "divf", x, _op(f, "addf", grown, f.splat(1.0)))


def _erf(f: Function, z: str) -> str:
    z = _clamp(f, _clamp(f, z, "ogt", -ERF_LIMIT), "olt", ERF_LIMIT)
    t = _op(f, "mulf", z, z)
    p, q = _polynomial(f, t, ERF_P), _polynomial(f, t, ERF_Q)
    return _op(f, "divf", _op(f, "mulf", z, p), q)


def _polynomial(f: Function, t: str, coefficients: tuple[float, ...]) -> str:
    """Horner's rule."""
    value = f.splat(coefficients[-1])
    for c in reversed(coefficients[:-1]):
        value = f.fma(value, t, f.splat(c))
    return value


def _clamp(f: Function, x: str, compare: str, bound: float) -> str:
    """``bound`` where ``bound <compare> x``, else x: one vmaxps or vminps, and NaN stays NaN."""
    limit = f.splat(bound)
    beyond = f.val(f"arith.cmpf {compare}, {limit}, {x} : {VEC}", "m")
    return f.val(f"arith.select {beyond}, {limit}, {x} : {BITS}, {VEC}", "e")
