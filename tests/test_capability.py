"""The table of a target: what it says, how strictly it is read, and that reading and predicting need no runtime."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from importlib import resources

import pytest
from random_graphs import random_model
from structure_graphs import Net

from qdsl.capability import ACTIVATION, WEIGHT, TableError, load, loads, names
from qdsl.graph import from_proto
from qdsl.spec import DTYPES, Granularity, Scheme

TABLE = load("ort_cpu")
TEXT = (resources.files("qdsl.capability") / "ort_cpu.toml").read_text(encoding="utf-8")


def test_tables_by_name() -> None:
    assert "ort_cpu" in names()
    assert load() == load("ort_cpu") == TABLE
    with pytest.raises(TableError, match=r"no capability table nothing; there are: .*ort_cpu"):
        load("nothing")


@pytest.mark.parametrize(
    ("bits", "activation", "weight"),
    [
        (8, "uint8 affine per_tensor", "int8 symmetric per_channel"),
        (16, "uint16 affine per_tensor", "int16 symmetric per_channel"),
        (4, "uint4 affine per_tensor", "int4 symmetric per_channel"),
        (5, "None", "None"),
    ],
)
def test_a_width_leaves_the_rest_to_the_table(bits: int, activation: str, weight: str) -> None:
    for role, told in (("activation", activation), ("weight", weight)):
        dtype = TABLE.widths[role].get(bits)
        assert str(dtype and TABLE.complete(role, dtype)) == told


def test_a_type_alone_takes_the_rest_from_its_row() -> None:
    uint8, int8 = DTYPES["uint8"], DTYPES["int8"]
    assert str(TABLE.complete(WEIGHT, uint8)) == "uint8 affine per_channel"
    assert str(TABLE.complete(WEIGHT, uint8, symmetric=True)) == "uint8 symmetric per_channel"
    assert str(TABLE.complete(ACTIVATION, int8, granularity=Granularity.PER_TENSOR)) == "int8 affine per_tensor"
    assert str(TABLE.complete(WEIGHT, int8, block=32)) == "int8 symmetric per_block 32"


@pytest.mark.parametrize(
    ("role", "scheme", "runs"),
    [
        (ACTIVATION, Scheme(DTYPES["uint8"], False), "integer"),
        (ACTIVATION, Scheme(DTYPES["uint16"], False), "stored"),
        (ACTIVATION, Scheme(DTYPES["int4"], True), "no"),
        (ACTIVATION, Scheme(DTYPES["uint8"], False, Granularity.PER_CHANNEL), "no"),
        (WEIGHT, Scheme(DTYPES["int8"], True, Granularity.PER_CHANNEL), "integer"),
        (WEIGHT, Scheme(DTYPES["int4"], True, Granularity.PER_BLOCK, 32), "stored"),
        (WEIGHT, Scheme(DTYPES["int2"], True), "stored"),
    ],
)
def test_what_runs_and_what_is_only_stored(role: str, scheme: Scheme, runs: str) -> None:
    verdict = TABLE.accepts(role, scheme)
    assert verdict.runs == runs
    assert verdict.executed == (runs == "integer")
    assert verdict.storable == (runs != "no")
    assert verdict.because


def test_ports_of_a_node() -> None:
    net = Net()
    x = net.conv(net.input("x", 1, 3, 8, 8), 4, name="conv")
    y = net.op("Mul", x, net.constant(1), name="mul")
    view = net.view(net.op("Resize", y, "", net.constant(4), name="resize", mode="linear"))
    conv, mul, resize = (view.node(name) for name in ("conv", "mul", "resize"))
    row = TABLE.row_for(conv, view)
    assert (row.name, row.kernel_for(conv)) == ("conv", "QLinearConv")
    assert row.activation_ports(conv, view) == (0,)
    assert row.weight_ports(conv, view) == (1,)
    assert row.channel_axis is not None and row.channel_axis.of(conv) == 0
    row = TABLE.row_for(mul, view)
    assert (row.activation_ports(mul, view), row.constant_ports(mul, view)) == ((0,), (1,))
    assert row.kernel_for(mul) == "QLinearMul"
    assert TABLE.row_for(resize, view).name == "resize_other"


def test_a_transposed_gemm_counts_channels_on_its_first_axis() -> None:
    view = from_proto(random_model(7)).view()
    row = TABLE.row("gemm")
    node = view.nodes[0]
    assert row.channel_axis is not None
    by_attr = {value: row.channel_axis.of(replace(node, attrs={"transB": value})) for value in (0, 1)}
    assert by_attr == {0: 1, 1: 0}
    assert row.channel_axis.of(node) == 1


def test_every_node_has_a_row() -> None:
    for seed in range(40):
        view = from_proto(random_model(seed)).view()
        for node in view.nodes:
            assert TABLE.row_for(node, view).because


def test_each_row_says_why_and_how_it_is_known() -> None:
    for row in (*TABLE.rows, *TABLE.types.values()):
        assert row.because and row.evidence


CONV = 'name = "conv"\nops = ["Conv"]\nkind = "compute"'


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("format = 1", "format = 2", "of format 2, this program reads format 1"),
        (CONV, CONV + "\ncolour = 3", r"row\[conv\]: unknown key `colour`"),
        (
            CONV,
            CONV.replace("compute", "fast"),
            r"row\[conv\].kind: expected one of compute, moves, float, absorbed, found 'fast'",
        ),
        (CONV, CONV.replace('["Conv"]', "[]"), r"row\[conv\].ops: expected at least 1, found 0"),
        (CONV, CONV.replace('["Conv"]', '"Conv"'), r"row\[conv\].ops: expected a list, found 'Conv'"),
        (CONV, CONV.replace('"conv"', '"gemm"'), "row: two rows are called gemm"),
        ('kernel = "QLinearConv"\n', "", r"row\[conv\]: a `compute` row needs `kernel`"),
        ("bias = 2", "bias = true", r"row\[conv\].bias: expected a whole number from 0, found True"),
        (
            'weight_types = ["int8", "uint8"]',
            'weight_types = ["int9"]',
            r"row\[conv\].weight_types\[0\]: expected one of int2, .*, found 'int9'",
        ),
        ("channel_axis = { axis = 0 }\n", "", r"row\[conv\]: `weights`, .* go together"),
        (
            'requires = ["unsigned", "bias_scale"]',
            'requires = ["luck"]',
            r"row conv requires `luck`, which \[reasons\] does not",
        ),
        (
            'because = "QLinearConv needs',
            'because = ""\n# "',
            r"row\[conv\].because: expected a text that is not empty",
        ),
        ('ops = ["*"]', 'ops = ["Other"]', r'the last row must have ops = \["\*"\]'),
        ('check = "adds_vector"\n', "", r"merge\[0\]: the key `check` is missing"),
        ('stays = "first"', 'stays = "third"', r"merge\[0\].stays: expected one of first, second, both, found 'third'"),
        ('8 = "uint8", 16', '8 = "uint16", 16', "widths.activation: `8` names uint16, which is not a 8 bit type"),
        ("[widths]", "[widths", "ort_cpu.toml: it is not TOML: .* line"),
    ],
)
def test_a_broken_table_is_refused_by_row_and_key(old: str, new: str, message: str) -> None:
    assert old in TEXT
    with pytest.raises(TableError, match=message):
        loads(TEXT.replace(old, new, 1), "ort_cpu")


def test_reading_and_predicting_load_no_runtime() -> None:
    code = (
        "import sys, qdsl.capability, qdsl.targets.ort.predict as p; qdsl.capability.load();"
        "print([m for m in ('onnxruntime', 'numpy', 'onnx', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
