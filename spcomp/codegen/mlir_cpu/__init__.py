"""CPU kernels written as MLIR text and compiled by torch-mlir."""
