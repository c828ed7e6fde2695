"""What a kernel call costs: an analytic model that ranks, a tuner that measures, a cache that remembers."""
