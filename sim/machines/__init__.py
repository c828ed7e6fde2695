"""Machines as data: a YAML file each (``presets/``), a schema, and ``MACHINES``, the table of them."""

from spcomp.sim.machines.load import MACHINES, load_machine, override, parse_machine
from spcomp.sim.machines.schema import Machine

__all__ = ["MACHINES", "Machine", "load_machine", "override", "parse_machine"]
