"""Topologies in SCALE-Sim's two formats, and errors by their words."""

from __future__ import annotations

from pathlib import Path

import pytest

from spcomp.errors import InputError
from spcomp.sim.topology import ConvShape, Layer, parse_topology, read_topology
from spcomp.sparsity.pattern import NM

CONV = "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,\n"
GEMM = "Layer, M, N, K,\n"
RESNET18 = Path(__file__).parents[1] / "examples" / "topologies" / "resnet18.csv"


def test_both_formats_are_read() -> None:
    (conv,) = parse_topology(CONV + "c, 9, 12, 3, 2, 5, 20, 1,\n")
    assert conv == Layer("c", 7 * 11, 3 * 2 * 5, 20, ConvShape(9, 12, 3, 2, 5, 20, 1))
    first, second = parse_topology(GEMM + "a, 7, 5, 9,\r\n\n b,1,2,3,2:4,\n")
    assert (first.m, first.n, first.k, first.macs, first.pattern) == (7, 5, 9, 315, None)
    assert (second.name, second.pattern) == ("b", NM(2, 4))
    (sparse,) = parse_topology(CONV + "c, 9, 9, 3, 3, 4, 8, 2, 1:4\n")
    assert (sparse.m, sparse.pattern) == (16, NM(1, 4))
    assert parse_topology(GEMM + "a, 7, 5, 9, 1:1,\n")[0].pattern is None


def test_resnet18_has_the_network_s_sizes() -> None:
    layers = read_topology(RESNET18)
    assert len(layers) == 21
    weights = sum(layer.k * layer.n for layer in layers)
    assert weights == 11_678_912  # torchvision: 11,689,512 parameters, less 9,600 of batch norm and 1,000 of fc's bias


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no line in it. Try: a header"),
        (GEMM, "a header and no layers"),
        ("a, 7, 5, 9,\n", "line 1 is no header: 'a, 7, 5, 9,'"),
        (GEMM + "a, 7, 5, 9,\nb, 7, 5,\n", r"line 3 has 3 fields, not 4 .*: 'b, 7, 5,'. Try: name, M, N, K"),
        (GEMM + "a, 7, x, 9,\n", "line 2 has a field that is no number from 1 up: 'a, 7, x, 9,'"),
        (GEMM + "a, 7, 0, 9,\n", "line 2 has a field that is no number from 1 up"),
        (GEMM + "a, 7, 5, 9, 2-4,\n", "line 2 has '2-4' where a pattern such as 2:4 would stand"),
        (GEMM + "a, 7, 5, 9, 5:4,\n", "line 2 has '5:4' where a pattern"),
        (GEMM + "a, 7, 5, 9, 2:4, 1,\n", "line 2 has 6 fields, not 4"),
        (CONV + "c, 9, 12, 3, 2, 5, 20,\n", "line 2 has 7 fields, not 8"),
        (CONV + "c, 2, 12, 3, 2, 5, 20, 1,\n", "line 2 has a filter that is larger than its image"),
    ],
)
def test_a_malformed_line_is_named(text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        parse_topology(text)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(InputError, match=r"read the topology nowhere\.csv: No such file"):
        read_topology(Path("nowhere.csv"))
