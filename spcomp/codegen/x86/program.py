"""`Program`: straight code with labels, for prologues and driver loops of a few dozen instructions."""

from __future__ import annotations

from dataclasses import dataclass, field

from spcomp.codegen.x86 import encoder as x86
from spcomp.codegen.x86.encoder import Condition


@dataclass(eq=False)
class Program:
    """Instructions in order. Jumps name labels, which may come later; all have 32-bit distances."""

    code: bytearray = field(default_factory=bytearray)
    labels: dict[str, int] = field(default_factory=dict)
    jumps: list[tuple[int, str, Condition | None]] = field(default_factory=list)

    def add(self, *instructions: bytes) -> None:
        for instruction in instructions:
            self.code += instruction

    def label(self, name: str) -> None:
        """This place. Raises ValueError for a name that was given before."""
        if name in self.labels:
            raise ValueError(f"label {name} stands twice")
        self.labels[name] = len(self.code)

    def jump(self, label: str, condition: Condition | None = None) -> None:
        """Go to ``label``, always or on a condition."""
        self.jumps.append((len(self.code), label, condition))
        self.code += bytes(x86.JUMP_BYTES if condition is None else x86.BRANCH_BYTES)

    def assemble(self) -> bytes:
        """The bytes, jumps filled in. Raises KeyError for a label that stands nowhere."""
        out = bytearray(self.code)
        for at, label, condition in self.jumps:
            size = x86.JUMP_BYTES if condition is None else x86.BRANCH_BYTES
            distance = self.labels[label] - (at + size)
            out[at : at + size] = x86.jump(distance) if condition is None else x86.branch(condition, distance)
        return bytes(out)
