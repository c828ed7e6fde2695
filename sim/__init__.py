"""The cycle-level simulator's room. It reads :mod:`spcomp.plan` and packed buffers, and imports no torch."""
