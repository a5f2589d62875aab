"""What a `target tensorrt` asks is told at its line by every verb; the table holds for its version and device."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from compile_tools import HEAD, project

import qdsl
from qdsl.capability import WEIGHT, load
from qdsl.cli import main
from qdsl.diag import QdslError
from qdsl.lang import loads
from qdsl.lang.recipe import Target
from qdsl.spec import DTYPES, Granularity, Scheme
from qdsl.targets import target_of
from qdsl.targets.blocks import block_problems

SYMMETRIC = HEAD.replace("activations uint8 affine", "activations int8 symmetric")
BLOCKS = Scheme(DTYPES["int4"], True, Granularity.PER_BLOCK, 64)


def for_tensorrt(settings: str) -> str:
    return SYMMETRIC.replace("target ort", f"target tensorrt {{\n{settings}\n}}")


def block(settings: str) -> Target:
    return loads(for_tensorrt(settings), name="demo.q").recipe.targets[0]


WRONG = 'device "jetson-orin-nan"\nversion "9.3"\nthreads auto\ncpu any\nexact session'


@pytest.mark.parametrize("verb", ["check", "plan", "compile"])
def test_what_is_wrong_with_a_block_is_told_at_its_lines(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = project(tmp_path, head=for_tensorrt(WRONG))
    first = SYMMETRIC[: SYMMETRIC.index("target")].count("\n") + 2
    assert main([verb, str(recipe), "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    found = said["recipes"][str(recipe)] if verb == "check" else said["diagnostics"]
    told = [(each["code"], each["span"]["line"] - first) for each in found]
    words = [("tensorrt-device", 0), ("tensorrt-version", 1), *(("target-cannot", line) for line in (2, 3, 4))]
    assert told == words
    assert all(each["help"] for each in found)
    assert not (tmp_path / "build").exists()


def test_a_pair_that_does_not_exist_is_an_error_and_one_that_no_jetpack_brings_a_warning(tmp_path: Path) -> None:
    never = project(tmp_path / "never", head=for_tensorrt('version "11.1"; device "jetson-orin-nano"'))
    with pytest.raises(QdslError, match=r"there is no TensorRT 11\.1 for Jetson Orin Nano"):
        qdsl.plan(never)
    by_hand = project(tmp_path / "hand", head=for_tensorrt('version "10.9"; device "jetson-orin-nx"'))
    (found,) = [each for each in qdsl.plan(by_hand).diagnostics if each.code.startswith("tensorrt")]
    assert found.severity.value == "warning"


def test_an_audit_tells_it_of_a_file_that_nothing_is_planned_for(tmp_path: Path) -> None:
    head = 'recipe demo\nmodel onnx "demo.onnx"\nquantize none\ntarget tensorrt { version "1" }'
    recipe = project(tmp_path, head=head)
    found = qdsl.audit(tmp_path / "demo.onnx", recipe=recipe)
    assert "tensorrt-version" in [each.code for each in found.diagnostics]


def test_other_targets_find_nothing_wrong() -> None:
    assert block_problems(loads(HEAD.replace("target ort", 'target ort { version "9"; threads 2 }')).recipe) == ()


@pytest.mark.parametrize(
    ("settings", "because"),
    [
        ("", ""),
        ('version "10.0"', ""),
        ('version "8.6"', "TensorRT 8.6 has no int4: 10.0 was the first"),
        ('device "jetson-orin-nano"', ""),
        ('version "10.3"; device "t4"', "T4 has no int4: its compute capability is 7.5, and 8.0 was the first"),
    ],
)
def test_the_table_holds_for_version_and_device(settings: str, because: str) -> None:
    backend = target_of("tensorrt")
    table = backend.fitted(load(backend.table), block(settings))
    found = table.accepts(WEIGHT, BLOCKS)
    assert (found.runs == "no", found.because if because else "") == (bool(because), because)
    assert (table.row("matmul").weight_only is None) == bool(because)
    assert table.accepts(WEIGHT, Scheme(DTYPES["int8"], True)).executed


def test_a_block_that_is_wrong_leaves_the_table_as_it_is() -> None:
    backend = target_of("tensorrt")
    table = load(backend.table)
    assert backend.fitted(table, block('version "9.3"')) is table and backend.fitted(table, None) is table
