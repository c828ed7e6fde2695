"""Input specs: ``1x128x768`` or ``1x128:int64``, several inputs parted by commas."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from spcomp.errors import InputError

if TYPE_CHECKING:
    import torch

SPEC = re.compile(r"(\d+(?:x\d+)*)(?::(\w+))?")
DTYPES = ("float32", "float64", "bfloat16", "float16", "int64", "int32", "bool")
HINT = "sizes parted by x, such as 1x128x768 or 1x128:int64, inputs parted by commas"


def parse_example(text: str) -> tuple[torch.Tensor, ...]:
    """Tensors of these shapes: normal numbers for floats, 0 and 1 for integers, True for bool.

    Raises:
        InputError: the text is no spec, or names a dtype that is none of :data:`DTYPES`.
    """
    import torch

    generator = torch.Generator().manual_seed(0)
    found = []
    for part in text.split(","):
        match = SPEC.fullmatch(part.strip())
        if match is None:
            raise InputError("read an example input", f"{part.strip()!r} is no list of sizes", HINT)
        shape = [int(size) for size in match[1].split("x")]
        name = match[2] or "float32"
        if name not in DTYPES:
            raise InputError("read an example input", f"the dtype {name!r}", f"one of {', '.join(DTYPES)}")
        dtype = getattr(torch, name)
        if dtype.is_floating_point:
            found.append(torch.randn(shape, generator=generator).to(dtype))
        elif dtype == torch.bool:
            found.append(torch.ones(shape, dtype=dtype))
        else:
            found.append(torch.randint(0, 2, shape, generator=generator, dtype=dtype))
    return tuple(found)


def with_batch(example: tuple[torch.Tensor, ...], batch: int) -> tuple[torch.Tensor, ...]:
    """The example with its leading size, where all inputs share it, repeated or cut to ``batch``.

    Raises:
        InputError: the inputs have no common leading size.
    """
    import torch

    sizes = {tuple(x.shape)[:1] for x in example}
    if len(sizes) != 1 or sizes == {()}:
        raise InputError(
            "change the batch size", f"inputs that lead with {sorted(sizes)}", "inputs with one batch size"
        )
    return tuple(x[torch.arange(batch) % len(x)].contiguous() for x in example)
