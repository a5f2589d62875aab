"""A file taken to TensorRT-RTX: parsed, built, and what came of it, by the names that the graph has for its nodes."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from onnx import AttributeProto, ModelProto

from qdsl.engines.rtx import running
from qdsl.engines.rtx.capabilities import DEFAULT
from qdsl.engines.rtx.layers import layers
from qdsl.engines.rtx.names import is_ambiguous, with_names
from qdsl.engines.rtx.parts import parts
from qdsl.engines.rtx.places import VERSION, Place, require
from qdsl.engines.rtx.running import SECONDS, Built, Refused, UndecidedError
from qdsl.engines.rtx.twins import with_twins
from qdsl.engines.rtx.verdicts import MULTIPLYING, verdicts
from qdsl.graph.functions import inline_functions
from qdsl.graph.limits import DEFAULT_LIMITS
from qdsl.spec.bounds import UnfitError
from qdsl.spec.engine import BUILD, BUILT, PARSE, UNDECIDED, EngineRefusal, EngineSeen, EngineVerdict
from qdsl.spec.words import plain

_CONSTANT = re.compile(r"Failed to import initializer: (.+)")
_ALWAYS = (
    "nothing was run: neither speed nor output values nor the choice of kernels is shown",
    "another TensorRT has the same parser from 10.11 on, and a builder of its own",
    "it is no result of a Jetson, nor of Hopper: TensorRT-RTX builds for neither",
    "whether layers write int8 is not shown: here each of them writes floats",
)
_MOST_SIZES = 3
_DEPTHWISE = "what depthwise layers cost is not shown: here each of their groups is padded to four channels"
_TRANSPOSED = "each ConvTranspose computes in floats here, whatever its pairs are"


@dataclass(frozen=True, slots=True)
class Examined:
    """What was seen; and of a file that the parser took, the type of what each QuantizeLinear writes, by tensor, as it
    read it ("INT8")."""

    seen: EngineSeen
    stored: Mapping[str, str] = field(default_factory=dict)


def examine(
    model: ModelProto,
    *,
    path: Path | None = None,
    capability: str = DEFAULT,
    seconds: float = SECONDS,
    at: Place | None = None,
) -> Examined:
    """Parse and build `model` for a GPU of a compute capability; `path` is the file it was read from, beside which
    external data lies. Where the parser refuses it, every node that it would refuse is asked about, one by one. A
    process that dies, takes more than `seconds` or answers what cannot be read leaves it undecided, with the reason.
    Raises QdslError rtx-absent."""
    found = at or require()
    named, known = with_names(inline_functions(model, DEFAULT_LIMITS)[0])
    work = _Work(found, named, known, "" if path is None else str(path.resolve()), capability, seconds)
    if is_ambiguous(named):
        reason = "names of the file cannot be told apart from the text of an engine"
        return Examined(EngineSeen(source(capability), UNDECIDED, notes=work.notes(), reason=reason))
    try:
        return work.examined()
    except UndecidedError as error:
        return Examined(EngineSeen(source(capability), UNDECIDED, notes=work.notes(), reason=str(error)))


def source(capability: str, version: str = VERSION) -> str:
    """What a result is labelled with."""
    return f"TensorRT-RTX {version}, {capability}, built without a GPU"


@dataclass(frozen=True, slots=True)
class _Work:
    """One file under examination: `known` is what each node of `model` is called in the graph."""

    at: Place
    model: ModelProto
    known: Mapping[str, str]
    beside: str
    capability: str
    seconds: float

    def examined(self) -> Examined:
        with tempfile.TemporaryDirectory(prefix="qdsl-rtx-") as aside:
            path = Path(aside, "model.onnx")
            path.write_bytes(self.model.SerializeToString())
            built = running.build(self.at, path, self.capability, self.beside, self.seconds)
        label = source(self.capability, built.version)
        if built.stage == PARSE:
            refused, reason = self._refused(built)
            seen = EngineSeen(label, PARSE, refused=refused, notes=self.notes(), reason=reason, warnings=built.warnings)
            return Examined(seen)
        if built.stage == BUILD and built.guessed:
            said = f": {built.failed[0]}" if built.failed else ""
            raise UndecidedError(f"no engine is built at the sizes that were taken ({built.guessed[0]}){said}")
        if built.stage == BUILD:
            failed = tuple(EngineRefusal("", text) for text in built.failed) or (EngineRefusal("", "it says nothing"),)
            seen = EngineSeen(label, BUILD, refused=failed, notes=self.notes(), warnings=built.warnings)
            return Examined(seen, built.quantized)
        notes = self.notes(built.guessed)
        seen = EngineSeen(label, BUILT, self._verdicts(built), notes=notes, warnings=built.warnings)
        return Examined(seen, built.quantized)

    def _verdicts(self, built: Built) -> dict[str, EngineVerdict]:
        nodes = [(node.name, node.op_type) for node in self.model.graph.node if node.op_type in MULTIPLYING]
        try:
            told = layers(built.layers)
        except UnfitError as error:
            raise UndecidedError(f"an engine was built, and its text cannot be read: {error}") from None
        found = with_twins(self.model, verdicts(nodes, told), told)
        return {self.known[name]: verdict for name, verdict in found.items()}

    def _refused(self, built: Built) -> tuple[tuple[EngineRefusal, ...], str]:
        """All nodes that the parser refuses, and why they are perhaps not all."""
        first = [self._named(each) for each in built.refused]
        try:
            others = self.refusals()
        except UndecidedError as error:
            return tuple(first), f"nodes behind the first were not asked about: {error}"
        found = {each.node or each.text: each for each in (*others, *first)}  # in the file it says more than alone
        return tuple(found.values()), ""

    def refusals(self) -> list[EngineRefusal]:
        """What the parser refuses of the model's parts. Raises UndecidedError."""
        with tempfile.TemporaryDirectory(prefix="qdsl-rtx-") as aside:
            for number, part in enumerate(parts(self.model)):
                Path(aside, f"{number:06d}.onnx").write_bytes(part.SerializeToString())
            answer = running.parse(self.at, Path(aside), self.beside, self.seconds)
        told = dict.fromkeys(each for of in sorted(answer.files) for each in answer.files[of])
        return [self._named(each) for each in told]

    def _named(self, each: Refused) -> EngineRefusal:
        node = each.node
        constant = _CONSTANT.search(each.text)
        if not node and constant is not None:
            name = constant[1].split(" ")[0].rstrip(".")
            node = next((one.name for one in self.model.graph.node if name in one.input), "")
        return EngineRefusal(self.known.get(node, ""), each.text, each.function)

    def notes(self, guessed: Sequence[str] = ()) -> tuple[str, ...]:
        """What must not be concluded, as far as the file has it; `guessed` are sizes that it leaves open."""
        sizes = [f"open dimensions were taken so: {plain(each)[:200]}" for each in guessed[:_MOST_SIZES]]
        nodes = self.model.graph.node
        depthwise = any(each.op_type == "Conv" and _groups(each.attribute) > 1 for each in nodes)
        transposed = any(each.op_type == "ConvTranspose" for each in nodes)
        return (*_ALWAYS, *([_DEPTHWISE] if depthwise else []), *([_TRANSPOSED] if transposed else []), *sizes)


def _groups(attributes: Iterable[AttributeProto]) -> int:
    return next((each.i for each in attributes if each.name == "group"), 1)


def refused_nodes(model: ModelProto, *, at: Place | None = None, seconds: float = SECONDS) -> dict[str, EngineRefusal]:
    """Every node that the parser refuses by itself, by name. Raises QdslError rtx-absent, UndecidedError."""
    named, known = with_names(inline_functions(model, DEFAULT_LIMITS)[0])
    work = _Work(at or require(), named, known, "", DEFAULT, seconds)
    return {each.node: each for each in work.refusals()}
