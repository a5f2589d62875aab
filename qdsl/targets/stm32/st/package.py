"""`stedgeai/` beside the C: a file that ST Edge AI Core imports, and how to call it on that."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import ModelProto

from qdsl.graph import from_proto
from qdsl.spec.words import count
from qdsl.stedgeai.limits import Limit, limits
from qdsl.targets.stm32.asked import Asked
from qdsl.targets.stm32.st.opset import OpsetError, restated, write_axes
from qdsl.targets.stm32.st.options import MODEL, OUT, SCRIPT, WORKSPACE, script
from qdsl.targets.stm32.st.samples import Arrays, write_samples

FOLDER, README = "stedgeai", "README.md"
_AXIS_OPSET = 13  # from which a Softmax without an axis is one along the last
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Package:
    """What was written. `opset` is the file's, `restated` "" where that is the wanted one, else why it is not;
    `found` is what ST's documentation speaks against: with something grave among it there is no file."""

    opset: int
    restated: str
    found: tuple[Limit, ...]

    @property
    def refused(self) -> tuple[Limit, ...]:
        return tuple(each for each in self.found if each.grave)


def write_package(folder: Path, proto: ModelProto, wanted: Asked) -> Package:
    """Write what ST's tool is given of an emitted model (with its weights; it stays as it is) into `folder`, anew; of
    one that it does not import, why. Raises OSError."""
    made, why = _for_st(proto)
    judged = ModelProto()
    judged.CopyFrom(made)
    view = from_proto(judged).view()  # takes the tensors of what it is given
    package = Package(view.opset, why, tuple(limits(view)))
    if folder.is_dir():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    if not package.refused:
        onnx.save(made, folder / MODEL)
        _write(folder / SCRIPT, script(wanted))
    _write(folder / README, readme(package))
    return package


def add_samples(folder: Path, wanted: Asked, samples: Sequence[Arrays], answers: Sequence[Arrays]) -> None:
    """Put samples and what the artifact's integer graph answers to them beside a package, for its `validate`. Raises
    OSError."""
    if not (folder / MODEL).is_file():
        return
    graph = onnx.load(folder / MODEL, load_external_data=False).graph
    constants = {tensor.name for tensor in graph.initializer}
    inputs = [value.name for value in graph.input if value.name not in constants]
    given = write_samples(folder, inputs, samples, "inputs")
    expected = write_samples(folder, [value.name for value in graph.output], answers, "outputs") if given else ()
    if expected:
        _write(folder / SCRIPT, script(wanted, given, expected))


def publish(made: Path, folder: Path) -> None:
    """Move a package to `folder`, on the same disk, in the place of what is there. What the tool wrote there stays
    where the model is the same. Raises OSError."""
    if _same(made / MODEL, folder / MODEL):
        for name in (OUT, WORKSPACE):
            if (folder / name).is_dir() and not (folder / name).is_symlink():
                (folder / name).replace(made / name)
    if folder.is_dir():
        shutil.rmtree(folder)
    made.replace(folder)


def _for_st(proto: ModelProto) -> tuple[ModelProto, str]:
    """A copy that says the same as far as the tool asks for it, and why it is not at the wanted opset."""
    why = ""
    try:
        made = restated(proto)
    except OpsetError as error:
        made, why = ModelProto(), str(error)
        made.CopyFrom(proto)
    if all(entry.version >= _AXIS_OPSET for entry in made.opset_import if entry.domain in ("", "ai.onnx")):
        write_axes(made)
    return made, why


def _same(one: Path, other: Path) -> bool:
    return one.is_file() and other.is_file() and one.read_bytes() == other.read_bytes()


def readme(package: Package) -> str:
    """What is in the folder, or why it is empty."""
    if package.refused:
        told = "".join(f"- {each.message}: {each.why}\n" for each in package.refused[:_SHOWN])
        rest = len(package.refused) - _SHOWN
        more = f"- and {rest} more\n" if rest > 0 else ""
        return _NONE.format(count=count(len(package.refused), "limit"), told=told, more=more)
    odd = "".join(f"- {each.message}: {each.why}\n" for each in package.found)
    return _README.format(
        opset=package.opset,
        why=f" ({package.restated})" if package.restated else "",
        odd=f"\nWhat its documentation speaks against, without refusing it:\n\n{odd}" if odd else "",
    )


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")


_NONE = """# No file for ST Edge AI Core

ST's tool does not import this model; the C in `../c` does not need it. By its documentation it breaks {count}:

{told}{more}
`qdsl audit ../model.onnx --target stm32` says so, too.
"""
_README = """# For ST Edge AI Core

ST's own tool makes C of `model.onnx`: the artifact's model at opset {opset}{why}, with static sizes.
That tool is ST's, under ST's licence. It was not run when this was written.

- `model.onnx` is what it imports.
- `run.sh` calls it: `sh run.sh analyze`, `generate`, `validate` (on this machine) or `target` (on a board), with the
  options that its version takes: 7 and 8 (`stm32ai`), 9, 10 and from 1 on (`stedgeai`).
- `inputs_N.npy` and `outputs_N.npy` are samples of the recipe, and what the integer C in `../c` answers to them, for
  `validate`. They are there once a build was verified.

It writes into `out/`. `qdsl report BUILD --add BUILD/stm32/stedgeai/out` takes its reports in: flash, RAM and
multiplications by its own count, what it runs in integers, and what its `validate` measured, beside those of the C.
{odd}"""
