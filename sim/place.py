"""Where the operands of steps lie, in the words of a machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from spcomp.encodings.spec import ITEM_BYTES
from spcomp.errors import InputError
from spcomp.sim.step_cost import Span
from spcomp.sim.workload import Operand, Step, Workload, weight_name

WORD_DTYPES = {1: "int8", 2: "float16", 4: "float32"}
"""Bytes of a machine's word -> the dtype that its values are taken to be in."""
VALUES = "values"


def word_dtype(word_bytes: int, machine: str) -> str:
    """Raises :class:`InputError` for a word that no dtype has."""
    if word_bytes not in WORD_DTYPES:
        raise InputError(f"simulate words of {word_bytes} bytes on {machine}", "no dtype of that size", "1, 2 or 4")
    return WORD_DTYPES[word_bytes]


@dataclass(frozen=True, eq=False)
class Places:
    """Addresses of operands and packed weights.

    A machine of words of ``word_bytes`` keeps values in such words, whatever the plan has; what says where values stand
    (metadata) is as it was packed. None: values as the plan has them.
    """

    at: Mapping[str, int]
    word_bytes: int | None

    @classmethod
    def of(cls, workload: Workload, word_bytes: int | None) -> Places:
        """Of the addresses that the workload gives; narrower words leave room at the ends of its pages.

        Raises :class:`InputError` for words that are wider than the plan's, as they would not fit.
        """
        if word_bytes is not None:
            for step in workload.steps:
                if (dtype := _narrowest(step)) and ITEM_BYTES[dtype] < word_bytes:
                    asked = f"simulate {step.name} in words of {word_bytes} bytes"
                    raise InputError(asked, f"its operands are {dtype}", f"word_bytes={ITEM_BYTES[dtype]}")
        return cls(workload.places(), word_bytes)

    def item_bytes(self, operand: Operand) -> int:
        """Of an element; integers that are no values, such as tokens, keep their size."""
        own = operand.nbytes // max(1, operand.elements)
        if self.word_bytes is None or operand.dtype not in ITEM_BYTES:
            return own
        return min(own, self.word_bytes)

    def nbytes(self, operand: Operand) -> int:
        return operand.elements * self.item_bytes(operand)

    def operands(self, step: Step) -> list[int]:
        """Start of each of ``step.reads``; several views of one tensor lie one behind the other."""
        used: dict[str, int] = {}
        found = []
        for operand in step.reads:
            found.append(self.at.get(operand.name, 0) + used.get(operand.name, 0))
            used[operand.name] = used.get(operand.name, 0) + self.nbytes(operand)
        return found

    def read_spans(self, step: Step) -> tuple[Span, ...]:
        return tuple(
            Span(at, self.nbytes(o)) for at, o in zip(self.operands(step), step.reads, strict=True) if o.elements
        )

    def write_spans(self, step: Step) -> tuple[Span, ...]:
        return tuple(Span(self.at.get(o.name, 0), self.nbytes(o)) for o in step.writes if o.elements)

    def weight_bytes(self, step: Step) -> dict[str, int]:
        """Of each packed buffer, once. Of a plan alone all of it counts as values."""
        if step.call is None:
            return {}
        if not step.packed:
            own = ITEM_BYTES[step.call.weight_dtype]
            return {VALUES: step.call.weight_nbytes * min(own, self.word_bytes or own) // own}
        width = self.word_bytes or ITEM_BYTES[step.call.weight_dtype]
        return {k: v.size * width if k == VALUES else v.nbytes for k, v in step.packed.items()}

    def metadata_bytes(self, step: Step) -> int:
        return sum(n for name, n in self.weight_bytes(step).items() if name != VALUES)

    def weight_spans(self, step: Step) -> tuple[Span, ...]:
        assert step.call is not None
        return tuple(
            Span(self.at.get(weight_name(step.call, name), 0), nbytes)
            for name, nbytes in self.weight_bytes(step).items()
            if nbytes
        )


def _narrowest(step: Step) -> str:
    """The narrowest dtype of values in a product; empty for other steps."""
    if step.kind not in ("layer", "matmul", "attention"):
        return ""
    dtypes = [o.dtype for o in (*step.reads, *step.writes) if o.dtype in ITEM_BYTES]
    dtypes += [step.call.weight_dtype] if step.call is not None else []
    return min(dtypes, key=ITEM_BYTES.__getitem__, default="")


def streamed(
    name: str, reads: tuple[Span, ...], writes: tuple[Span, ...], pieces: int
) -> list[tuple[str, tuple[Span, ...], tuple[Span, ...]]]:
    """Transfers in ``pieces`` of about equal size, each with its share of every span, in order."""
    return [(name, _cut(reads, i, pieces), _cut(writes, i, pieces)) for i in range(pieces)]


def _cut(spans: tuple[Span, ...], i: int, pieces: int) -> tuple[Span, ...]:
    found = []
    for s in spans:
        first, last = s.nbytes * i // pieces, s.nbytes * (i + 1) // pieces
        if last > first:
            found.append(Span(s.start + first, last - first))
    return tuple(found)
