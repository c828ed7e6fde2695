"""CPU kernels written as MLIR text and compiled in process by torch-mlir."""
