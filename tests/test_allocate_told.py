"""What `compile` prints of `allocate`: the choice, with what shows that it holds its bounds, and how sure that is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from compile_tools import HEAD, project

from qdsl.allocate.told import CHANCE, words
from qdsl.cli import main
from qdsl.spec.allocation import Held, Trial

OWN = HEAD.replace("quantize", 'data dev from npz "dev.npz"\nquantize', 1)
CHOICES = {
    "layers": "allocate layers from [int8, float32] {{ minimize macs under {} }}\n",
    "weights": "allocate weights from [int8, int4 storage_only] {{ minimize size under {} }}\n",
    "activations": "allocate activations from [8 bit, 6 bit] {{ minimize activation_bits under {} }}\n",
}


@pytest.mark.slow
@pytest.mark.parametrize("what", CHOICES)
def test_the_choice_is_printed_with_its_interval(what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Five samples that all agree say little of a bound of 60 %: from 57 % on."""
    recipe = project(tmp_path, CHOICES[what].format("agreement >= 60 % on dev"), head=OWN)
    draw = np.random.default_rng(4).standard_normal((5, 3, 8, 8))
    np.savez(tmp_path / "dev.npz", x=draw.astype(np.float32))
    for _ in ("measured", "from the lock"):
        assert main(["compile", str(recipe), "--out", str(tmp_path / "build"), "--no-measure"]) == 0
        (line,) = [each for each in capsys.readouterr().out.splitlines() if each.startswith("allocate ")]
        assert line.startswith("allocate   ort   ")
        assert f"agreement >= 60 % on dev: 1 [56.6, 100.0]{CHANCE}" in line


@pytest.mark.parametrize(
    ("holds", "least", "mark"),
    [
        (True, -0.1, CHANCE),
        (True, 0.1, ""),
        (True, None, ""),
        (False, -0.3, " (broken)"),
        (None, None, " (not measured)"),
    ],
)
def test_what_an_interval_reaches_over_may_be_chance(holds: bool | None, least: float | None, mark: str) -> None:
    held = Held("f1 drop <= 1 pp on dev", 0.9, 0.905, 0.2, holds, -0.01, 0.02, 0.15, least)
    assert words(Trial({}, held=(held,))).startswith(f"f1 drop <= 1 pp on dev: 0.9 of 0.905 [-1.0, 2.0]{mark}, ")
