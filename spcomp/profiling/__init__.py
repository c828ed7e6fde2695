"""Measuring: interleaved timing, ratios with bounds, and the dense programs that a compiled model is raced against."""
