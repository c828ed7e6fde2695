"""What the host can do, probed, as data."""
