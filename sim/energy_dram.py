"""What a simulated memory did, as counts that an energy table such as ``hbm2_dram`` knows."""

from __future__ import annotations

from spcomp.errors import InputError
from spcomp.sim.energy import Count
from spcomp.sim.nearest import nearest
from spcomp.sim.parts.dram import DramConfig, DramResult

PATH = ("dram_cell", "dram_column", "dram_bank_group_io", "dram_tsv", "dram_interposer")
"""Stages that a bit passes between its cell and the host."""
DESTINATIONS = {"bank": 1, "bank_group": 2, "buffer_die": 4, "host": 5}
"""How many of them, by who computes: beside the bank, at the bank group, under the stack, or outside."""


def dram_counts(result: DramResult, config: DramConfig, destination: str = "host") -> tuple[Count, ...]:
    """Activations, bits moved, refreshes and time of all channels.

    Reads that were answered from the write queue and writes that were merged moved no bits. An activation opens a row
    of ``config.columns`` transactions.

    Raises:
        InputError: a destination that is none of ``bank``, ``bank_group``, ``buffer_die``, ``host``.
    """
    if destination not in DESTINATIONS:
        hint = nearest(destination, DESTINATIONS)
        raise InputError(f"count the energy of {config.name}", f"bits go to {destination!r}", hint)
    bursts = result.reads + result.writes - result.forwarded_reads - result.merged_writes
    refresh = "dram_refresh_bank" if config.refresh == "per_bank" else "dram_refresh_all"
    return (
        Count("dram_activate", result.activates * config.columns * config.transaction_bytes, "byte"),
        *(Count(s, bursts * config.transaction_bytes, "byte") for s in PATH[: DESTINATIONS[destination]]),
        Count(refresh, result.refreshes),
        Count("dram_background", config.channels * result.time_fs, "fs"),
    )
