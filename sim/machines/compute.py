"""Sections of a machine that compute or connect: vector units, systolic and MAC arrays, GPUs, networks."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from spcomp.encodings.spec import ITEM_BYTES
from spcomp.errors import InputError
from spcomp.sim.nearest import nearest

Positive = Annotated[int, Field(ge=1)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(gt=0, le=1)]


class Section(BaseModel):
    """Frozen, and strict about its keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Vector(Section):
    """A core's vector unit."""

    vector_bytes: Positive
    fma_units: Positive = 1
    """Multiply-adds of whole vectors that can start in a cycle."""
    load_bytes_per_cycle: Positive
    store_bytes_per_cycle: Positive
    fma_latency_cycles: Positive = 4


class Core(Vector):
    """A core that runs ahead of its misses."""

    issue_per_cycle: Positive = 6
    """Instructions."""
    permutes_per_cycle: Positive = 1
    """Whole vectors whose elements change places."""
    window_instructions: Positive = 512
    """Instructions in flight, from the oldest that has not ended."""
    store_buffer: Positive = 112
    """Stores that have not reached the cache."""
    mispredict_cycles: Positive = 17
    """Lost to an end of a loop that was not foreseen."""
    learned_ends: Positive = 8192
    """Ends of loops, in an order that comes again, that are foreseen because they were seen before."""
    port_overlap: Annotated[float, Field(ge=1, le=16)] = 2.0
    """Exponent of the norm that says how long units take that work side by side: 1, one after the other; 16, as long as
    the busiest alone."""
    permute_overlap: Annotated[float, Field(ge=1, le=16)] = 5.0
    """The same of work with permutes."""
    call_ns: NotNegative = 0
    """Entering one compiled function."""


class VectorUnit(Section):
    """What runs beside an array: norms, softmax, activations. Of a GPU, what each SM has."""

    lanes: Positive
    """Additions or multiplications a cycle."""
    special_lanes: Positive
    """Special functions (exp, tanh, square roots, divisions) a cycle."""


class Noc(Section):
    """A network on chip, ``columns`` x ``rows`` nodes (a ring or crossbar has one row)."""

    topology: Literal["mesh", "torus", "ring", "crossbar"]
    columns: Positive
    rows: Positive = 1
    link_bytes_per_cycle: Positive
    hop_cycles: Positive = 1
    buffer_packets: Positive = 4


class Systolic(Section):
    """A systolic array with double-buffered scratchpads."""

    rows: Positive
    columns: Positive
    dataflow: Literal["ws", "os", "is"]
    ifmap_bytes: Positive
    filter_bytes: Positive
    ofmap_bytes: Positive
    word_bytes: Positive = 1
    mode: Literal["exact", "scalesim"] = "exact"


class MacArray(Section):
    """MACs behind a sparse front end, fed by one buffer; see :mod:`spcomp.sim.parts.mac_array`."""

    front_end: Literal["dense", "structured", "flexible", "dual_compressed", "dual_side"]
    output_partitions: Positive
    token_partitions: Positive = 1
    """Partitions side by side along the outputs and along the tokens; each has ``rows`` x ``lanes`` MACs."""
    rows: Positive
    """Outputs side by side in a partition."""
    lanes: Positive
    """Products that a row adds up in a cycle; in a dual-side array, tokens side by side."""
    output_tile: Positive
    """Outputs of a partition whose sums it holds."""
    token_tile: Positive
    """Tokens whose sums it holds."""
    window_columns: Positive
    """Inputs among which the lanes of a row can choose in a step."""
    word_bytes: Positive = 1
    buffer_bytes: Positive
    buffer_word_bytes: Positive
    buffer_metadata_word_bytes: Positive = 8
    buffer_read_bytes_per_cycle: Positive
    register_word_bytes: Positive = 1
    register_metadata_bits: Positive = 8

    @property
    def macs(self) -> int:
        """Per cycle."""
        return self.output_partitions * self.token_partitions * self.rows * self.lanes

    @model_validator(mode="after")
    def _possible(self) -> MacArray:
        asked = f"build a {self.front_end} MAC array"
        if self.output_tile % self.rows:
            found = f"output_tile is {self.output_tile}, with {self.rows} rows"
            raise InputError(asked, found, f"output_tile={self.rows * max(1, round(self.output_tile / self.rows))}")
        if self.front_end == "dual_side" and self.token_tile % self.lanes:
            found = f"token_tile is {self.token_tile}, with {self.lanes} lanes"
            raise InputError(asked, found, f"token_tile={self.lanes * max(1, round(self.token_tile / self.lanes))}")
        if self.front_end != "dual_side" and self.output_tile != self.rows:
            raise InputError(asked, f"output_tile is {self.output_tile}", f"output_tile={self.rows}, one weight a row")
        if self.buffer_read_bytes_per_cycle > self.buffer_word_bytes * 64:
            found = f"{self.buffer_read_bytes_per_cycle} bytes a cycle from words of {self.buffer_word_bytes}"
            raise InputError(asked, found, "at most 64 words a cycle")
        return self


class Gpu(Section):
    """A GPU; see :mod:`spcomp.sim.parts.gpu`."""

    sms: Positive
    tensor_flops_per_sm_cycle: dict[str, Positive]
    """Dense, by dtype; a multiply-add is two."""
    sparse_rate: Annotated[float, Field(ge=1)] = 1.0
    """How much faster ``mma.sp`` is than the dense instruction."""
    l2_bytes: Positive
    l2_read_bytes_per_cycle: Positive
    """Of the whole chip."""
    shared_bytes_per_sm: Positive
    tiles: Annotated[list[tuple[Positive, Positive]], Field(min_length=1)]
    """Sizes of a CTA's output, rows x columns, that the library has kernels for."""
    split_k: Annotated[list[Positive], Field(min_length=1)] = [1]
    """In how many parts the sum may be cut so that more CTAs run."""
    launch_ns: NotNegative
    """From the call to the first instruction, and back."""
    tensor_efficiency: Share
    """Of the peak rate, what a long main loop keeps up."""

    @model_validator(mode="after")
    def _dtypes(self) -> Gpu:
        for dtype in self.tensor_flops_per_sm_cycle:
            if dtype not in ITEM_BYTES:
                asked = f"set tensor_flops_per_sm_cycle of {dtype}"
                raise InputError(asked, "no dtype of that name", nearest(dtype, ITEM_BYTES))
        return self
