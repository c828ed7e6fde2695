"""The lowered program as data: every kernel call with its shapes, encoding, schedule and epilogue.

Imports neither torch nor simpy: code generators and the simulator both read it. FLOPs and bytes are derived from
shapes, encodings and counts; nobody types them in.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from spcomp.conv_shape import ConvShape
from spcomp.encodings.spec import ITEM_BYTES, Encoding
from spcomp.encodings.table import encoding_from_dict, encoding_to_dict
from spcomp.errors import EncodingError, PlanError

PLAN_VERSION = 1
QUANTIZATIONS = ("", "int8")
ACTIVATIONS = ("none", "relu", "gelu", "gelu_tanh", "silu")
Schedule = tuple[tuple[str, int], ...]
"""Backend-defined options of one kernel, sorted by name, such as ``(("tiles", 8),)``."""


@dataclass(frozen=True)
class TensorSpec:
    """Shape and dtype of a tensor. A dimension is an int, or an integer expression over symbols (``"2*s0"``)."""

    shape: tuple[int | str, ...]
    dtype: str


@dataclass(frozen=True)
class RowRange:
    """Row counts M that a call serves: ``lo <= M <= hi``; ``hi`` None means any larger M."""

    lo: int
    hi: int | None

    def __post_init__(self) -> None:
        if self.lo < 0 or (self.hi is not None and self.hi < self.lo):
            raise PlanError("make a row range", f"lo={self.lo}, hi={self.hi}", "0 <= lo <= hi, or hi=None")

    def __contains__(self, m: int) -> bool:
        return self.lo <= m and (self.hi is None or m <= self.hi)

    def __str__(self) -> str:
        if self.hi == self.lo:
            return str(self.lo)
        return f"{self.lo}+" if self.hi is None else f"{self.lo}-{self.hi}"


@dataclass(frozen=True)
class Epilogue:
    """What happens to a row of the product before it is stored: ``activation(product * scale + bias + residual)``.

    Scale and bias have one number for each output feature; the residual is a tensor like the result.
    """

    bias: bool = False
    activation: str = "none"
    scale: bool = False
    residual: bool = False

    def __post_init__(self) -> None:
        if self.activation not in ACTIVATIONS:
            raise PlanError("make an epilogue", f"activation {self.activation!r}", f"one of {', '.join(ACTIVATIONS)}")


@dataclass(frozen=True)
class KernelKey:
    """What a backend can do: an op on an encoding in a dtype on a target."""

    op: str
    encoding: str
    dtype: str
    target: str


@dataclass(frozen=True)
class KernelCall:
    """One op of the program for one range of row counts: ``y[M, n] = epilogue(x[M, k] @ W[n, k].T)``."""

    layer: str
    """Module path of the weight's owner, e.g. ``encoder.layer.0.mlp.fc1``."""
    slot: int
    """Position of the op in the program's kernel table; calls of one slot differ in ``rows``."""
    rows: RowRange
    n: int
    k: int
    dtype: str
    encoding: Encoding
    nonzeros: int
    stored: int
    """Weights that the kernel multiplies for each row, padding included."""
    weight_nbytes: int
    """Bytes of the packed weight, metadata included."""
    packed: str
    """Digest of the packed weight."""
    epilogue: Epilogue
    backend: str
    target: str
    schedule: Schedule = ()
    op: str = "linear"
    conv: ConvShape | None = None
    """The geometry, where ``op`` is ``"conv"``; then a row is an output pixel and k = R * S * C."""
    zero_inputs: float = 0.0
    """Share of zeros among the inputs that was measured on examples."""
    quantize: str = ""
    """``"int8"``: the weight is stored so, with a scale a row, and x is rounded so, with a scale a token."""

    experts: int = 0
    """Of how many matrices W is, one below the other, where ``op`` is ``"experts"``; each row of x meets one."""

    @property
    def outputs(self) -> int:
        """Features of a row of y: ``n``, or those of one expert."""
        return self.n // max(1, self.experts)

    @property
    def weight_dtype(self) -> str:
        """What the packed weight's values are."""
        return self.quantize or self.dtype

    @property
    def key(self) -> KernelKey:
        return KernelKey(self.op, self.encoding.name, self.weight_dtype, self.target)

    def dense_flops(self, m: int) -> int:
        """As if W had no zeros: a multiply and an add each."""
        return 2 * m * self.outputs * self.k

    def effective_w_flops(self, m: int) -> int:
        """Only the products with nonzero weights."""
        return 2 * m * self.nonzeros // max(1, self.experts)

    def effective_wa_flops(self, m: int) -> float:
        """Only the products of nonzero weights with nonzero inputs, those taken to be spread evenly."""
        return self.effective_w_flops(m) * (1.0 - self.zero_inputs)

    def executed_flops(self, m: int) -> int:
        """What the kernel does, padding inside the encoding included."""
        return 2 * m * self.stored // max(1, self.experts)

    def activation_nbytes(self, m: int) -> int:
        """x read once and y written once (and a residual read once)."""
        inputs = m * self.k if self.conv is None else -(-m // self.conv.pixels) * self.conv.inputs
        return (inputs + m * self.outputs * (1 + self.epilogue.residual)) * ITEM_BYTES[self.dtype]

    def dense_weight_nbytes(self) -> int:
        return self.n * self.k * ITEM_BYTES[self.dtype]

    def to_dict(self) -> dict[str, Any]:
        data = asdict(self)
        epilogue = data["epilogue"]
        later = [(data, name) for name in ("conv", "zero_inputs", "quantize", "experts")]
        for parent, name in (*later, (epilogue, "scale"), (epilogue, "residual")):
            if not parent[name]:
                del parent[name]  # as plans were before there were such things: their digests stand
        data["encoding"] = encoding_to_dict(self.encoding)
        data["schedule"] = dict(self.schedule)
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        try:
            fields = dict(data)
            fields["rows"] = RowRange(**fields["rows"])
            fields["epilogue"] = Epilogue(**fields["epilogue"])
            fields["encoding"] = encoding_from_dict(fields["encoding"])
            fields["conv"] = None if fields.get("conv") is None else ConvShape.from_dict(fields["conv"])
            fields["schedule"] = tuple(sorted(fields["schedule"].items()))
            call = cls(**fields)
        except (KeyError, TypeError, AttributeError, EncodingError) as error:
            found = str(error) if isinstance(error, EncodingError) else f"{type(error).__name__}: {error}"
            raise PlanError("read a kernel call", found, "a plan written by to_json()") from error
        if wrong := call._wrong():
            raise PlanError("read a kernel call", wrong, "a plan written by to_json()")
        return call

    def _wrong(self) -> str | None:
        """The first field whose value no planner would have written, or None."""
        for name in ("slot", "n", "k", "nonzeros", "stored", "weight_nbytes"):
            value = getattr(self, name)
            if type(value) is not int or value < 0:
                return f"{name} is {value!r}, not a count"
        for name in ("layer", "packed", "backend", "target", "op"):
            if not isinstance(getattr(self, name), str):
                return f"{name} is {getattr(self, name)!r}, not a text"
        if self.dtype not in ITEM_BYTES:
            return f"dtype is {self.dtype!r}, not one of {', '.join(ITEM_BYTES)}"
        if (self.op == "conv") != (self.conv is not None) or (self.conv is not None and self.conv.k != self.k):
            return f"op is {self.op!r} with the geometry {self.conv}"
        if type(self.experts) is not int or self.experts < 0 or (self.op == "experts") != (self.experts > 0):
            return f"op is {self.op!r} with experts {self.experts!r}"
        if self.experts and self.n % self.experts:
            return f"{self.n} rows of {self.experts} experts"
        if type(self.zero_inputs) not in (int, float) or not 0 <= self.zero_inputs <= 1:
            return f"zero_inputs is {self.zero_inputs!r}, not a share"
        if self.quantize not in QUANTIZATIONS:
            return f"quantize is {self.quantize!r}, not one of {QUANTIZATIONS}"
        if any(type(value) is not int for _, value in self.schedule):
            return f"schedule {dict(self.schedule)} has a value that is no whole number"
        return None


@dataclass(frozen=True)
class KernelPlan:
    """All kernel calls of a compiled model, in program order, dense ones too."""

    calls: tuple[KernelCall, ...]
    threads: int = 1
    version: int = field(default=PLAN_VERSION)

    @property
    def digest(self) -> str:
        """BLAKE2b-64 of the JSON text; printed by every report about this plan."""
        return hashlib.blake2b(self.to_json().encode(), digest_size=8).hexdigest()

    def slots(self) -> dict[int, tuple[KernelCall, ...]]:
        """The calls of each slot, by ascending rows."""
        found: dict[int, list[KernelCall]] = {}
        for call in self.calls:
            found.setdefault(call.slot, []).append(call)
        return {slot: tuple(sorted(calls, key=lambda c: c.rows.lo)) for slot, calls in found.items()}

    def to_json(self) -> str:
        data = {"version": self.version, "threads": self.threads, "calls": [c.to_dict() for c in self.calls]}
        return json.dumps(data, sort_keys=True, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Raises :class:`PlanError` for text that is not a plan of this version."""
        try:
            data = json.loads(text)
            version = data["version"]
            calls = list(data["calls"])
            threads = int(data["threads"])
        except (ValueError, KeyError, TypeError) as error:
            raise PlanError("read a plan", f"{type(error).__name__}: {error}", "a text written by to_json()") from error
        if version != PLAN_VERSION:
            raise PlanError("read a plan", f"version {version}", f"a plan of version {PLAN_VERSION}")
        return cls(tuple(KernelCall.from_dict(c) for c in calls), threads)
