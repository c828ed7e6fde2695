"""Run a compiled model with every layer computed by a simulated machine, and hold each against the reference.

The graph runs as it is; where it calls a layer, :func:`spcomp.sim.functional.execute` multiplies with the packed bytes
that the machine's workload has for that layer, and the epilogue is the reference's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from spcomp import ops
from spcomp.check import relative_error
from spcomp.codegen.reference.backend import activate, linear
from spcomp.codegen.reference.conv import conv as reference_conv
from spcomp.codegen.reference.conv import finish, patches
from spcomp.encodings.pack import TORCH_DTYPES
from spcomp.errors import PlanError
from spcomp.parts import Parts
from spcomp.plan import KernelCall
from spcomp.record import SlotRecord
from spcomp.report.functional import Functional, FunctionalLayer
from spcomp.sim.functional import execute
from spcomp.sim.machines.schema import Machine
from spcomp.sim.workload import Step, Workload
from spcomp.workload import program_for


@dataclass(eq=False)
class _MachineKernel:
    """A layer's kernel: the machine's product and the reference's epilogue, checked against the reference."""

    step: Step
    record: SlotRecord
    machine: Machine
    layers: list[FunctionalLayer]
    source: str = "spcomp.sim.functional.execute"
    extra_nbytes: int = 0

    @property
    def call(self) -> KernelCall:
        assert self.step.call is not None
        return self.step.call

    def __call__(self, x: torch.Tensor, *residual: torch.Tensor) -> torch.Tensor:
        call, record, conv = self.call, self.record, self.call.conv
        rows = (x.double() if conv is None else patches(x.double(), conv)).reshape(-1, call.k)
        done = execute(self.machine, self.step, rows.numpy())
        product = torch.from_numpy(np.ascontiguousarray(done.output))
        weight, activation = record.dense_weight(), call.epilogue.activation
        if conv is None:
            y = product if record.bias is None else product + record.bias.double()
            y = activate(y, activation).reshape(*x.shape[:-1], call.n)
            wanted = linear(x, weight, record.bias, activation)
        else:
            planes = product.reshape(x.shape[0], -1, call.n).movedim(-1, 1).reshape(x.shape[0], *conv.size(call.n))
            rest = residual[0].double() if residual else None
            y = finish(planes, record.bias, activation, record.scale, rest)
            wanted = reference_conv(x, weight, conv, record.bias, activation, record.scale, rest)
        made = FunctionalLayer(
            self.step.name, str(call.encoding), len(rows), done.macs, call.nonzeros * len(rows),
            relative_error(y, wanted),
        )  # fmt: skip
        self.layers.append(made)
        return y.to(TORCH_DTYPES[call.dtype])


def run_functional(parts: Parts, flat: Sequence[Any], workload: Workload, machine: Machine) -> Functional:
    """The outputs of the model with its layers on ``machine``, and each layer's error and multiplications.

    Args:
        flat: the program's inputs, with the numbers that count.
        workload: of these parts; each layer is computed in the encoding that it has there.

    Raises:
        PlanError: a layer in int8, whose scales belong to its kernel.
    """
    program = program_for(parts, flat)
    steps = {step.call.slot: step for step in workload.layers if step.call is not None}
    layers: list[FunctionalLayer] = []
    table = []
    for slot, (kernels, record) in enumerate(zip(parts.table, parts.slots, strict=True)):
        step = steps.get(slot)
        if step is None:
            table.append(kernels)
            continue
        assert step.call is not None
        if step.call.quantize:
            raise PlanError(f"compute {step.name} on {machine.name}", "a layer in int8", "a model without quantize")
        kernel: Any = _MachineKernel(step, record, machine, layers)
        table.append(ops.SlotKernels((0,), (kernel,), kernels.k, kernels.rows, kernels.gather))
    tensors = [parts.tensors[name].clone() for name in program.lifted]
    with torch.no_grad(), ops.active(table):
        outputs = program.gm(*tensors, *flat)
    return Functional(tuple(outputs) if isinstance(outputs, tuple | list) else (outputs,), tuple(layers))
