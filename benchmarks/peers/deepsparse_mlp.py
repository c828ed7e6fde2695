"""Stands alone, for an environment with DeepSparse: times it on an ONNX model and prints one JSON line.

python deepsparse_mlp.py MODEL INPUT.f32 ROWS COLUMNS THREADS SECONDS
"""

from __future__ import annotations

import json
import sys
import time

import deepsparse
import numpy as np

model, raw, rows, columns, threads, seconds = sys.argv[1:]
x = np.fromfile(raw, np.float32).reshape(int(rows), int(columns))
engine = deepsparse.Engine(model=model, batch_size=int(rows), num_cores=int(threads))
end = time.perf_counter() + float(seconds)
times: list[float] = []
for _ in range(5):
    engine.run([x])
while len(times) < 5 or (time.perf_counter() < end and len(times) < 2000):
    start = time.perf_counter()
    engine.run([x])
    times.append(time.perf_counter() - start)
print(json.dumps({"version": deepsparse.__version__, "seconds": times}))
