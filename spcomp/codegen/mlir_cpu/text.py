"""A small writer of MLIR text: fresh SSA names, hoisted constants, structured loops.

The kernels of this folder are written with it so that what they emit stays readable: one function, flat one-dimensional
memrefs, index arithmetic in the open. It checks nothing; MLIR's own verifier does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

LANES = 16
"""Lanes of a vector register as the kernels see it: 16 x float32 (narrower hardware splits it)."""
VEC = f"vector<{LANES}xf32>"
MASK = f"vector<{LANES}xi1>"


def vector(element: str) -> str:
    """The type of sixteen lanes."""
    return f"vector<{LANES}x{element}>"


@dataclass
class Loop:
    """An open ``scf.for``: its induction variable, its carried values, and after the block its results."""

    index: str
    carried: list[str]
    results: list[str] = field(default_factory=list)


@dataclass
class Function:
    """One function being written. ``arguments`` are (name, MLIR type); memref element types become bare pointers."""

    name: str
    pointers: Sequence[tuple[str, str]]
    """(name, element type) of each buffer argument."""
    scalars: Sequence[str]
    """Names of the index arguments, after the buffers."""
    lines: list[str] = field(default_factory=list)
    constants: dict[tuple[str, str], str] = field(default_factory=dict)
    count: int = 0
    depth: int = 1

    def fresh(self, hint: str) -> str:
        self.count += 1
        return f"%{hint}{self.count}"

    def do(self, statement: str) -> None:
        self.lines.append("  " * self.depth + statement)

    def val(self, expression: str, hint: str = "v") -> str:
        name = self.fresh(hint)
        self.do(f"{name} = {expression}")
        return name

    def const(self, literal: str, type_: str) -> str:
        """A constant at the top of the function, one per (literal, type)."""
        key = (literal, type_)
        if key not in self.constants:
            self.constants[key] = f"%const_{len(self.constants)}"
        return self.constants[key]

    def idx(self, value: int) -> str:
        return self.const(str(value), "index")

    def splat(self, value: float | str, type_: str = VEC) -> str:
        """``value`` in all lanes; integers and zero are given as text."""
        literal = value if isinstance(value, str) else f"{value:.9e}" if value else "0.0"
        return self.const(f"dense<{literal}>", type_)

    def add(self, a: str, b: str) -> str:
        return self.val(f"arith.addi {a}, {b} : index", "i")

    def mul(self, a: str, b: str) -> str:
        return self.val(f"arith.muli {a}, {b} : index", "i")

    def sub(self, a: str, b: str) -> str:
        return self.val(f"arith.subi {a}, {b} : index", "i")

    def smaller(self, a: str, b: str) -> str:
        return self.val(f"arith.minsi {a}, {b} : index", "i")

    def mask(self, count: str) -> str:
        """The first ``count`` lanes."""
        return self.val(f"vector.create_mask {count} : {MASK}", "m")

    def load(self, buffer: str, index: str, element: str = "f32") -> str:
        return self.val(f"memref.load {buffer}[{index}] : memref<?x{element}>", "s")

    def load_index(self, buffer: str, index: str, element: str) -> str:
        """Load an unsigned integer (i64: signed) and make it an index."""
        raw = self.load(buffer, index, element)
        cast = "index_cast" if element == "i64" else "index_castui"
        return self.val(f"arith.{cast} {raw} : {element} to index", "i")

    def vload(
        self,
        buffer: str,
        index: str,
        type_: str = VEC,
        element: str = "f32",
        mask: str | None = None,
        fill: str | None = None,
        hint: str = "x",
    ) -> str:
        """All lanes, or those in ``mask`` (named by ``hint``) with ``fill`` or zero in the others."""
        if mask is None:
            return self.val(f"vector.load {buffer}[{index}] : memref<?x{element}>, {type_}", "x")
        fill = fill or ("0" if element.startswith("i") else "0.0")
        head = f"vector.maskedload {buffer}[{index}], {mask}, {self.splat(fill, type_)}"
        return self.val(f"{head} : memref<?x{element}>, {MASK}, {type_} into {type_}", hint)

    def load_wide(self, buffer: str, index: str, element: str, mask: str | None = None, hint: str = "x") -> str:
        """Sixteen numbers as f32, zeros outside ``mask``."""
        return self.widen(self.vload(buffer, index, vector(element), element, mask), element, hint)

    def widen(self, value: str, element: str, hint: str) -> str:
        """Sixteen lanes of ``element`` as f32."""
        return value if element == "f32" else self.val(f"arith.extf {value} : {vector(element)} to {VEC}", hint)

    def narrow(self, value: str, element: str) -> str:
        """Sixteen lanes of f32, rounded to ``element``."""
        return value if element == "f32" else self.val(f"arith.truncf {value} : {VEC} to {vector(element)}", "y")

    def vstore(self, value: str, buffer: str, index: str, type_: str = VEC, element: str = "f32") -> None:
        self.do(f"vector.store {value}, {buffer}[{index}] : memref<?x{element}>, {type_}")

    def broadcast(self, scalar: str, type_: str = VEC, element: str = "f32") -> str:
        return self.val(f"vector.broadcast {scalar} : {element} to {type_}", "w")

    def fma(self, a: str, b: str, c: str, type_: str = VEC) -> str:
        return self.val(f"vector.fma {a}, {b}, {c} : {type_}", "f")

    def yield_(self, values: Sequence[str], types: Sequence[str]) -> None:
        self.do(f"scf.yield {', '.join(values)} : {', '.join(types)}" if values else "scf.yield")

    @contextmanager
    def loop(
        self, lo: str, hi: str, step: str | None = None, carried: Sequence[tuple[str, str]] = (), hint: str = "k"
    ) -> Iterator[Loop]:
        """``scf.for`` from ``lo`` to ``hi``; ``carried`` are (initial value, type).

        With carried values the body must end with :meth:`yield_`.
        """
        step = step or self.idx(1)
        index = self.fresh(hint)
        names = [self.fresh("a") for _ in carried]
        head = f"scf.for {index} = {lo} to {hi} step {step}"
        opened = Loop(index, names)
        if carried:
            result = self.fresh("r")
            inits = ", ".join(f"{n} = {init}" for n, (init, _) in zip(names, carried, strict=True))
            types = ", ".join(t for _, t in carried)
            head = f"{result}:{len(carried)} = {head} iter_args({inits}) -> ({types})"
            opened.results = [f"{result}#{i}" for i in range(len(carried))]
        self.do(head + " {")
        self.depth += 1
        yield opened
        self.depth -= 1
        self.do("}")

    def portions(self, end: str, sizes: Sequence[int], hint: str) -> Iterator[tuple[str, int]]:
        """Loops one after the other from 0 to ``end``, ``sizes`` at a time, largest first: (index, size) of each."""
        at = self.idx(0)
        for i, size in enumerate(sizes):
            stop = end
            if i + 1 < len(sizes) or size > 1:
                whole = self.val(f"arith.divui {self.sub(end, at)}, {self.idx(size)} : index", "i")
                stop = self.add(at, self.mul(whole, self.idx(size)))
            with self.loop(at, stop, self.idx(size), hint=hint) as opened:
                yield opened.index, size
            at = stop

    @contextmanager
    def when(self, condition: str) -> Iterator[None]:
        """``scf.if`` without results."""
        self.do(f"scf.if {condition} {{")
        self.depth += 1
        yield
        self.depth -= 1
        self.do("}")

    def text(self) -> str:
        """The function. The ``_mlir_`` prefix makes the execution engine hand out its plain C entry point."""
        arguments = [f"%{n}_ptr: memref<1x{t}>" for n, t in self.pointers] + [f"%{n}: index" for n in self.scalars]
        out = [f"func.func @_mlir_{self.name}({', '.join(arguments)}) {{"]
        big = self.idx(1 << 40)
        out += [f"  {name} = arith.constant {lit} : {type_}" for (lit, type_), name in self.constants.items()]
        for n, t in self.pointers:
            cast = f"memref.reinterpret_cast %{n}_ptr to offset: [0], sizes: [{big}], strides: [1]"
            out.append(f"  %{n} = {cast} : memref<1x{t}> to memref<?x{t}>")
        return "\n".join([*out, *self.lines, "  return", "}", ""])
