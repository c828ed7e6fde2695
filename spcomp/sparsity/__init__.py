"""What is known about zeros: patterns (promises), facts (measurements), and the annotation on graph nodes."""
