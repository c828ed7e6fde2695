"""Activations on one register, as MLIR text: ReLU, GELU (erf and tanh), SiLU.

``exp`` is 2**i * 2**f with f in [-1/2, 1/2] and the Taylor polynomial of 2**f (relative error below 2e-7);
``erf`` is formula 7.1.26 of Abramowitz and Stegun, Handbook of Mathematical Functions (absolute error below 1.5e-7).
"""

from __future__ import annotations

import math

from spcomp.codegen.mlir_cpu.text import LANES, VEC, Function

IVEC = f"vector<{LANES}xi32>"
ACTIVATIONS = ("none", "relu", "gelu", "gelu_tanh", "silu")


def activate(f: Function, x: str, kind: str) -> str:
    """``kind(x)`` lane by lane; NaN stays NaN."""
    match kind:
        case "none":
            return x
        case "relu":
            return f.val(f"arith.maximumf {x}, {f.splat('0.0')} : {VEC}", "y")
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
    """e**x; arguments are clamped to [-87, 88], where float32 stays normal."""
    x = _op(f, "minimumf", _op(f, "maximumf", x, f.splat(-87.0)), f.splat(88.0))
    scaled = _op(f, "mulf", x, f.splat(math.log2(math.e)))
    whole = f.val(f"math.roundeven {scaled} : {VEC}", "e")
    # x - whole * ln 2 in two pieces (Cody and Waite), so that the fraction keeps its last bits
    high = 0.693145751953125
    rest = f.fma(whole, f.splat(-high), x)
    rest = f.fma(whole, f.splat(-(math.log(2) - high)), rest)
    poly = f.splat(1 / math.factorial(7))
    for degree in range(6, -1, -1):
        poly = f.fma(poly, rest, f.splat(1 / math.factorial(degree)))
    power = f.val(f"arith.fptosi {whole} : {VEC} to {IVEC}", "e")
    biased = f.val(f"arith.addi {power}, {f.splat('127', IVEC)} : {IVEC}", "e")
    bits = f.val(f"arith.shli {biased}, {f.splat('23', IVEC)} : {IVEC}", "e")
    return _op(f, "mulf", poly, f.val(f"arith.bitcast {bits} : {IVEC} to {VEC}", "e"))


def _sigmoid_times(f: Function, x: str, u: str) -> str:
    """x / (1 + e**-u)."""
    grown = exp(f, f.val(f"arith.negf {u} : {VEC}", "e"))
    return _op(f, "divf", x, _op(f, "addf", grown, f.splat(1.0)))


def _erf(f: Function, z: str) -> str:
    size = f.val(f"math.absf {z} : {VEC}", "e")
    t = _op(f, "divf", f.splat(1.0), f.fma(size, f.splat(0.3275911), f.splat(1.0)))
    poly = f.splat(1.061405429)
    for coefficient in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        poly = f.fma(poly, t, f.splat(coefficient))
    decay = exp(f, f.val(f"arith.negf {_op(f, 'mulf', size, size)} : {VEC}", "e"))
    positive = _op(f, "subf", f.splat(1.0), _op(f, "mulf", _op(f, "mulf", poly, t), decay))
    return f.val(f"math.copysign {positive}, {z} : {VEC}", "e")
