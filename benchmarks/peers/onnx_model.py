"""Chains of linear layers as ONNX models, and ONNX Runtime on them. Both packages are optional (extra ``bench``)."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

OPSET = 13


def unavailable() -> str | None:
    """Why ONNX Runtime cannot take part, or None."""
    missing = [name for name in ("onnx", "onnxruntime") if importlib.util.find_spec(name) is None]
    return f"{' and '.join(missing)} absent (pip install -e '.[bench]')" if missing else None


def linear_model(weights: Sequence[torch.Tensor], rows: int, *, relu: bool = True) -> bytes:
    """A serialised ONNX model: x [rows, k] -> products with each weight [n, k] in turn, ReLU between them."""
    from onnx import TensorProto, helper, numpy_helper

    nodes, stored, at = [], [], "x"
    for i, weight in enumerate(weights):
        last = i + 1 == len(weights)
        stored.append(numpy_helper.from_array(np.ascontiguousarray(weight.detach().t().numpy()), f"w{i}"))
        name = "y" if last else f"y{i}"
        nodes.append(helper.make_node("MatMul", [at, f"w{i}"], [name]))
        if relu and not last:
            nodes.append(helper.make_node("Relu", [name], [f"z{i}"]))
        at = f"z{i}"
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [rows, weights[0].shape[1]])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [rows, weights[-1].shape[0]])
    graph = helper.make_graph(nodes, "chain", [x], [y], stored)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    made.ir_version = 8  # older readers take it too
    found: bytes = made.SerializeToString()
    return found


def runtime(model: bytes | Path, x: torch.Tensor, threads: int) -> Callable[[], object]:
    """ONNX Runtime on the model, as a callable."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    source = str(model) if isinstance(model, Path) else model
    session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    feed = {"x": x.numpy()}
    return lambda: session.run(None, feed)
