"""A model that is replaced while it is compiled: the hash is that of the bytes that were read, or it is an error."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from compile_tools import project, residual_net

import qdsl
import qdsl.graph
from qdsl.api import compiling
from qdsl.diag import QdslError
from qdsl.measure.measuring import model_files
from qdsl.work import prepared as prepare


def other_net() -> bytes:
    proto = residual_net()
    proto.graph.initializer[0].raw_data = bytes(len(proto.graph.initializer[0].raw_data))
    return proto.SerializeToString()


def replaced(path: Path) -> None:
    """As an exporter does that writes aside and renames."""
    aside = path.with_name("aside")
    aside.write_bytes(other_net())
    aside.replace(path)


# Up to `judge`, which looks for the last time.
STEPS = [step.__name__ for step in compiling.STEPS]
AFTER_READING = STEPS[STEPS.index("prepare") + 1 : STEPS.index("judge") + 1]


# Without a lock, before every third step.
@pytest.mark.parametrize(
    "at, lock",
    [(at, True) for at in ("canonicalise", *AFTER_READING)]
    + [(at, False) for at in ("canonicalise", *AFTER_READING[2::3])],
)
def test_a_model_replaced_while_it_is_compiled_is_an_error(
    at: str, lock: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = project(tmp_path)

    def first(step: Callable[..., object]) -> Callable[..., object]:
        def with_another_model(*words: object) -> object:
            replaced(tmp_path / "demo.onnx")
            return step(*words)

        return with_another_model

    if at == "canonicalise":
        monkeypatch.setattr(prepare, at, first(prepare.canonicalise))
    else:
        monkeypatch.setattr(compiling, "STEPS", [first(s) if s.__name__ == at else s for s in compiling.STEPS])
    with pytest.raises(QdslError, match=r"lock-moved.*`demo.onnx` changed while it was being compiled"):
        qdsl.compile(recipe, out=tmp_path / "build", measure=False, lock=lock)
    assert not (tmp_path / "build/demo/measurements.json").exists()


def test_the_hash_is_that_of_the_bytes_that_were_read(tmp_path: Path) -> None:
    recipe = project(tmp_path)
    given = (tmp_path / "demo.onnx").read_bytes()
    made = prepare.prepare(prepare.read(recipe, {}))
    assert model_files(made) == {"demo.onnx": hashlib.sha256(given).hexdigest()}
    qdsl.compile(recipe, out=tmp_path / "build", measure=False, lock=False)
    said = json.loads((tmp_path / "build/demo/measurements.json").read_text())
    assert said["model"]["files"] == model_files(made)
    replaced(tmp_path / "demo.onnx")
    assert made.model.source is not None and made.model.source.sha256 == hashlib.sha256(given).hexdigest()
    with pytest.raises(QdslError, match="lock-moved"):
        model_files(made)


def test_external_data_belongs_to_the_model(tmp_path: Path) -> None:
    recipe = project(tmp_path)
    proto = residual_net()
    path = tmp_path / "demo.onnx"
    onnx.save_model(proto, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    made = prepare.prepare(prepare.read(recipe, {}))
    assert sorted(model_files(made)) == ["demo.onnx", "w.bin"]
    data = (tmp_path / "w.bin").read_bytes()
    (tmp_path / "aside").write_bytes(bytes(len(data)))
    (tmp_path / "aside").replace(tmp_path / "w.bin")
    with pytest.raises(QdslError, match=r"lock-moved.*`w.bin` changed"):
        model_files(made)
