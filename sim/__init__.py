"""The cycle-level simulator's room. It reads :mod:`spcomp.plan` and packed buffers, and imports no torch."""

if __name__ == "sim":
    raise ImportError("sim is no package of its own: import spcomp.sim")
