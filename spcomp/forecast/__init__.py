"""What zeros would bring, before anyone prunes: ``what_if``."""

from spcomp.forecast.run import what_if

__all__ = ["what_if"]
