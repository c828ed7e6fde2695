"""Stands alone, for an environment with DeepSparse: serves timed runs of an ONNX model over its standard streams.

python deepsparse_mlp.py MODEL INPUT.f32 ROWS COLUMNS THREADS

A line of JSON with the version, once the model is ready; then, for each line with a number N on standard input, one
untimed run, N timed ones, and a line with their seconds a run. Ends with its input.
"""

from __future__ import annotations

import json
import sys
import time

import deepsparse
import numpy as np

model, raw, rows, columns, threads = sys.argv[1:]
x = np.fromfile(raw, np.float32).reshape(int(rows), int(columns))
engine = deepsparse.Engine(model=model, batch_size=int(rows), num_cores=int(threads))
for _ in range(5):
    engine.run([x])
print(json.dumps({"version": deepsparse.__version__}), flush=True)
for line in sys.stdin:
    count = int(line)
    engine.run([x])
    start = time.perf_counter()
    for _ in range(count):
        engine.run([x])
    print((time.perf_counter() - start) / count, flush=True)
