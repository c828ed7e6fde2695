"""What the demo found: one `Row` for every pruned network, with latencies at every batch size, and the goals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from spcomp.report.explain import Explanation

ACCURACY_LOSS = 0.01
"""A network with 90 % zeros may be this much less accurate than the dense one."""
NOT_SLOWER = 0.97
"""At no batch size may the lower bound of the ratio be under this, unless the A/A control is."""
MLP_SPEEDUPS = {"unstructured 90%": 3.0, "block 8x1 90%": 4.0, "nm 2:4": 1.25}
"""Times faster than the best dense program, DigitsMLP at batch 256."""
GOAL_BATCH = 256


@dataclass(frozen=True)
class Latency:
    """One network at one batch size: the compiled program raced against the best dense one."""

    batch: int
    compiled_ms: float
    dense_ms: float
    dense_program: str
    """Which dense program was the fastest."""
    speedup: float
    """Median of neighbouring runs' ratios."""
    lower: float
    """Its lower 95 % bound."""
    control: float
    """The compiled program against itself: what the noise is."""
    spread: float
    """Interquartile range of the compiled program's times over their median."""
    rounds: int
    encodings: str
    """What serves the linear layers at this batch size, such as ``2 csr, 2 dense``."""
    others_ms: Mapping[str, float] = field(default_factory=dict)
    """Every dense program that was timed."""


@dataclass(frozen=True)
class Row:
    """One pruned network."""

    model: str
    pruning: str
    zeros: float
    """Share of zeros in the pruned layers."""
    dense_accuracy: float
    accuracy: float
    """Of the compiled model on the test split, in [0, 1]."""
    eager_accuracy: float
    """Of the same weights, run eagerly."""
    error: float
    """max|compiled - eager| / max|eager| over the logits of the test split."""
    dense_nbytes: int
    nbytes: int
    """Resident in the compiled model."""
    saved_nbytes: int
    """Of the saved file."""
    latencies: tuple[Latency, ...]
    train_seconds: float
    compile_seconds: float
    explanation: Explanation

    def at(self, batch: int) -> Latency | None:
        return next((latency for latency in self.latencies if latency.batch == batch), None)

    def to_dict(self) -> dict[str, Any]:
        data = asdict(self)
        data["explanation"] = self.explanation.to_dict()
        return data


@dataclass(frozen=True)
class Goal:
    """A figure, what it should reach, and whether it did."""

    name: str
    value: float
    target: float
    sense: Literal[">=", "<="]
    note: str = ""

    @property
    def met(self) -> bool:
        return self.value >= self.target if self.sense == ">=" else self.value <= self.target


@dataclass(frozen=True)
class DemoResult:
    """All of it, and how it was measured."""

    rows: tuple[Row, ...]
    device: str
    versions: Mapping[str, str]
    threads: int
    quick: bool
    seed: int
    seconds: float

    def goals(self) -> list[Goal]:
        """Every goal that this run can tell about."""
        found = []
        for row in self.rows:
            what = f"{row.model}, {row.pruning}"
            if row.zeros > 0.85:
                lost = row.dense_accuracy - row.accuracy
                found.append(Goal(f"{what}: accuracy lost", lost, ACCURACY_LOSS, "<="))
            wanted = MLP_SPEEDUPS.get(row.pruning) if row.model == "DigitsMLP" else None
            large = row.at(GOAL_BATCH)
            if wanted is not None and large is not None:
                found.append(Goal(f"{what}: times best dense at batch {GOAL_BATCH}", large.speedup, wanted, ">="))
            slowest = min(row.latencies, key=lambda latency: latency.lower, default=None)
            if slowest is not None:
                note = f"at batch {slowest.batch}; A/A control {slowest.control:.3f}"
                found.append(
                    Goal(f"{what}: never slower (lower bound, worst batch)", slowest.lower, NOT_SLOWER, ">=", note)
                )
        return found

    def to_dict(self) -> dict[str, Any]:
        return {
            "device": self.device,
            "versions": dict(self.versions),
            "threads": self.threads,
            "quick": self.quick,
            "seed": self.seed,
            "seconds": self.seconds,
            "rows": [row.to_dict() for row in self.rows],
            "goals": [{**asdict(goal), "met": goal.met} for goal in self.goals()],
        }

    def heading(self) -> str:
        found = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        quick = "QUICK run (the MLP only, shorter races; the full one is `spcomp demo`). " if self.quick else ""
        return (
            f"{quick}{self.device}; latency on {self.threads} thread{'s' * (self.threads > 1)}, float32, interleaved "
            f"with the best dense program in one process; {found}; seed {self.seed}; {self.seconds:.0f} s in all"
        )


COLUMNS = (
    "model", "pruning", "accuracy", "bytes", "saved", "batch", "compiled ms", "best dense ms", "speed-up",
    "lower bound", "A/A", "encodings",
)  # fmt: skip


def cells(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """The table as text: a line for every row and batch size, in the order of :data:`COLUMNS`."""
    found = []
    for row in rows:
        head: tuple[str, ...] = (
            row.model, row.pruning, f"{row.dense_accuracy:.1%} -> {row.accuracy:.1%}",
            f"{megabytes(row.dense_nbytes)} -> {megabytes(row.nbytes)}", megabytes(row.saved_nbytes),
        )  # fmt: skip
        for latency in row.latencies:
            found.append(
                (*head, str(latency.batch), f"{latency.compiled_ms:.2f}",
                 f"{latency.dense_ms:.2f} ({latency.dense_program})", f"{latency.speedup:.2f}x",
                 f"{latency.lower:.2f}x", f"{latency.control:.3f}", latency.encodings)
            )  # fmt: skip
            head = ("",) * len(head)
    return found


def megabytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB"
