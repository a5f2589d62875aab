"""The script that fills the tables of the documentation: from measurements alone, and what is not there says so."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest
from compile_tools import HEAD, ROOT, project
from test_evaluate import coloured, mean_colour, write

import qdsl
from qdsl.spec.emulated import Emulated
from qdsl.targets.results import Verification
from qdsl.targets.stm32 import verify

SCRIPT = ROOT / "examples" / "studies.py"


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compiled")
    coloured(folder)
    path = write(
        folder,
        mean_colour(),
        "classification on val { profile latency, memory { runs 3; warmup 1 } }",
        'folder "photos"',
    )
    return qdsl.compile(path, out=folder / "made", lock=False).directory


@pytest.fixture
def builds(compiled: Path, tmp_path: Path) -> Path:
    """A build under the names of two of the recipes that the tables speak of."""
    for name in ("cracks_v1_static", "yolov8n_static"):
        shutil.copytree(compiled, tmp_path / "builds" / name)
    return tmp_path / "builds"


def run(builds: Path, *words: object, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--builds", str(builds), *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(SCRIPT.parents[1])},
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def page(folder: Path) -> Path:
    path = folder / "page.md"
    path.write_text(
        "before\n<!-- table: cracks -->\nold\n<!-- end -->\nbetween\n<!-- table: machine -->\n<!-- end -->\n"
    )
    return path


def cells(path: Path) -> dict[str, list[str]]:
    """The cells of each row, by its name."""
    rows = [line.strip("| ").split(" | ") for line in path.read_text().splitlines() if line.startswith("| V")]
    return {row[0]: row[1:] for row in rows}


@pytest.mark.slow
def test_cells_come_from_measurements(builds: Path) -> None:
    path = page(builds)
    run(builds, path)
    found = cells(path)
    floats, static = found["V1, float"], found["V1, static"]
    assert re.fullmatch(r"\d\.\d{3}", floats[0]) and re.fullmatch(r"\d\.\d{3}", static[0])
    assert static[2].endswith(" M") and static[4].endswith(" ms") and static[5].endswith(" MiB")
    assert set(found["V2, static"]) == {"not measured"}
    text = path.read_text()
    assert text.startswith("before\n") and "\nbetween\n" in text and "old" not in text and "onnxruntime 1" in text


@pytest.mark.slow
def test_what_became_of_a_budget_is_a_cell(tmp_path: Path) -> None:
    """Of the target that the row is of."""
    block = 'target tensorrt { device "jetson-orin-nano"; require latency <= 14 ms; require memory <= 180 MB }'
    recipe = project(tmp_path, head=HEAD.replace("target ort", block).replace("uint8 affine", "int8 symmetric"))
    found = qdsl.compile(recipe, out=tmp_path / "made", lock=False).directory
    shutil.copytree(found, tmp_path / "builds" / "steel_orin")
    path = tmp_path / "page.md"
    path.write_text("<!-- table: steel-orin -->\n<!-- end -->\n")
    run(tmp_path / "builds", path)
    rows = [line.strip("| ").split(" | ") for line in path.read_text().splitlines() if "`steel_orin.q`" in line]
    assert rows[0][-2:] == ["undecided", "undecided"]


@pytest.mark.slow
def test_a_measurement_that_is_gone_reads_not_measured(builds: Path) -> None:
    path = page(builds)
    path.write_text(path.read_text().replace("old", "| V1, float | 0.969 |"))
    (builds / "cracks_v1_static" / "measurements.json").unlink()
    run(builds, path)
    assert {cell for row in cells(path).values() for cell in row} == {"not measured"}


@pytest.mark.slow
def test_a_damaged_measurement_changes_nothing(builds: Path) -> None:
    path = page(builds)
    file = builds / "cracks_v1_static" / "measurements.json"
    file.write_text(file.read_text()[:-40])
    before = path.read_text()
    assert "measurements-file" in run(builds, path, code=1)
    assert path.read_text() == before


@pytest.mark.slow
def test_figures_are_images(builds: Path) -> None:
    run(builds, "--figures", builds / "figures")
    names = {file.name for file in (builds / "figures").iterdir()}
    assert {"latency.svg", "memory.svg"} <= names
    for name in names:
        root = ET.parse(builds / "figures" / name).getroot()
        assert root.tag.endswith("svg") and len([e for e in root.iter() if e.get("class", "").startswith("line")]) >= 2


def test_every_table_of_the_documentation_is_known() -> None:
    named = {
        name
        for file in (ROOT / "docs" / "studies.md", ROOT / "README.md")
        for name in re.findall(r"<!-- table: ([a-z-]+) -->", file.read_text())
    }
    code = SCRIPT.read_text()
    assert named and all(f'"{name}"' in code for name in named)


FIGURES = Emulated(
    label="emulated Cortex-M7 (QEMU mps2-an500), instructions, not cycles",
    compiler="arm-none-eabi-gcc 12.2.1, QEMU 7.2.22",
    flash=240_328,
    ram=151_920,
    stack=468,
    instructions=55_356_529,
    macs=40_774_784,
    samples=4,
    outputs=8,
    exact=8,
)


@pytest.mark.slow
def test_what_c_did_on_an_emulated_core_are_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what is too large for the board has no latency there."""
    honest = verify.verify
    monkeypatch.setattr(verify, "verify", lambda *given, **named: replace(honest(*given, **named), emulated=FIGURES))
    monkeypatch.setattr(verify.host, "compiler", lambda: None)
    head = HEAD.replace("target ort", "target stm32 { require flash <= 300 KB }").replace("uint8", "int8")
    found = qdsl.compile(project(tmp_path, head=head), out=tmp_path / "made", lock=False)
    verified = found.targets[0].verification
    assert isinstance(verified, Verification) and verified.macc
    for name, ram in (("cracks_v1_stm32", "151920"), ("cracks_v2_stm32", "1048577")):
        shutil.copytree(found.directory, tmp_path / "builds" / name)
        file = tmp_path / "builds" / name / "measurements.json"
        file.write_text(file.read_text().replace("151920", ram))
    path = tmp_path / "page.md"
    path.write_text("<!-- table: cracks-device -->\n<!-- end -->\n")
    run(tmp_path / "builds", path)
    rows = [line.strip("| ").split(" | ")[2:] for line in path.read_text().splitlines() if ", static" in line]
    end = ["55.4 M (1.36)", "131 to 291 ms", "flash <= 300 KB holds"]
    assert rows[0] == [f"{verified.macc:,}", "240,328", "151,920 + 468", *end]
    assert rows[1][2] == "1,048,577 + 468" and rows[1][4] == "does not fit"
