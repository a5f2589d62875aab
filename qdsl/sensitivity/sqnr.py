"""Sensitivity by running: each unit alone quantized, and put back in float where everything is quantized.

The noise of rounding errors in different places adds up where they are small and independent, so that the noise which
a unit alone makes is its share of the whole. It is measured in ONNX Runtime, every node by itself, between floats.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdsl.causes.records import Heard
from qdsl.data import Dataset, Sample
from qdsl.diag import QdslError
from qdsl.graph.sessions import AS_WRITTEN, RuntimeRefusesError, Session, Settings
from qdsl.metrics import FidelitySums
from qdsl.sensitivity.networks import Network, Networks
from qdsl.sensitivity.seen import Seen
from qdsl.sensitivity.shares import Block
from qdsl.sensitivity.state import SAVE_EVERY, State
from qdsl.spec.threads import in_order, processors

_MOST_WORKERS = 8
_LARGEST_CHUNK = 1 << 26  # bytes of networks that are loaded at once
_SETTINGS = Settings(level=AS_WRITTEN, deterministic=True, patterns=False, arena=False)

Values = Mapping[str, NDArray[Any]]
Key = tuple[str, str]  # "alone" or "without", and what: "unit choice", "unit"


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A network, ready to run."""

    network: Network
    session: Session

    @classmethod
    def of(cls, network: Network, dataset: Dataset) -> _Loaded:
        try:
            return cls(network, Session(network.content, _SETTINGS))
        except RuntimeRefusesError as error:
            raise dataset.error("sensitivity-run", f"ONNX Runtime cannot load the network: {error.reason}") from None

    def run(self, values: Values, sample: Sample, dataset: Dataset) -> dict[str, NDArray[Any]]:
        fed = {name: values[name] for name in self.network.inputs}
        try:
            found = self.session.run(self.network.outputs, fed)
        except RuntimeRefusesError as error:
            headline = f"the network does not run on sample {sample.id}: {error.reason}"
            raise dataset.error("sensitivity-run", headline) from None
        return dict(zip(self.network.outputs, found, strict=True))


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Networks of some units of a block: those that are loaded at once."""

    alone: Mapping[tuple[int, int], Network] = field(default_factory=dict)
    without: Mapping[int, Network] = field(default_factory=dict)

    @property
    def keys(self) -> set[Key]:
        return {("alone", f"{at} {n}") for at, n in self.alone} | {("without", str(at)) for at in self.without}


def run_blocks(networks: Networks, dataset: Dataset, blocks: Sequence[Block], state: State[Seen], heard: Heard) -> int:
    """Measure what `state` has not seen; how many networks ran in all, those of earlier tries among them. Raises
    QdslError sensitivity-run, sensitivity-not-finite, and what reading samples raises."""
    job = _Job(networks, dataset, state)
    total, done, runs = sum(len(block.samples) for block in blocks), 0, 0
    try:
        for block in blocks:
            chunks = list(_chunks(networks, block))
            for place, chunk in enumerate(chunks):
                runs += _runs(block, chunk)
                for _ in job.measure(block, chunk):
                    done += place == len(chunks) - 1
                    heard("each layer alone, and without it", done, total)
                    state.save(after=SAVE_EVERY)
            state.save()
    except BaseException:
        state.save()
        raise
    return runs


def _runs(block: Block, chunk: _Chunk) -> int:
    return len(block.samples) * (2 + len(chunk.alone)) + block.gains * len(chunk.without)


def _chunks(networks: Networks, block: Block) -> Iterator[_Chunk]:
    """The networks of a block in lists that fit in memory together. What reaches no output is not run."""
    here, taken = _Chunk({}, {}), 0
    for at in block.units:
        choices = [n for n, each in enumerate(networks.units[at].choices) if not each.nothing]
        alone = {(at, n): networks.alone(at, n) for n in choices}
        asked = block.gains > 0 and not networks.units[at].choices[0].nothing
        without = {at: networks.without(at)} if asked else {}
        alone = {key: each for key, each in alone.items() if each.outputs}
        without = {key: each for key, each in without.items() if each.outputs}
        size = sum(len(each.content) for each in (*alone.values(), *without.values()))
        if taken and taken + size > _LARGEST_CHUNK:
            yield here
            here, taken = _Chunk({}, {}), 0
        here, taken = _Chunk({**here.alone, **alone}, {**here.without, **without}), taken + size
    yield here


@dataclass(frozen=True, slots=True)
class _Job:
    networks: Networks
    dataset: Dataset
    state: State[Seen]

    def measure(self, block: Block, chunk: _Chunk) -> Iterator[None]:
        """One step per sample, in order."""
        left = [each for each in enumerate(block.samples) if not self._known(each[1], each[0] < block.gains, chunk)]
        yield from (None for _ in range(len(block.samples) - len(left)))
        if not left:
            return
        alone = {key: self._load(each) for key, each in chunk.alone.items()}
        without = {key: self._load(each) for key, each in chunk.without.items()}
        bases = [self._base(False, chunk.alone), self._base(True, chunk.without)]

        def work(each: tuple[int, int]) -> tuple[int, Seen]:
            place, index = each
            backs = without if place < block.gains else {}
            return index, self._sample(self.dataset.sample(index), bases, alone, backs)

        for index, seen in in_order(work, left, min(_MOST_WORKERS, processors()), ahead=2, name="qdsl-sensitivity"):
            self.state.seen[index] = seen.joined(self.state.seen.get(index))
            yield None

    def _known(self, index: int, back: bool, chunk: _Chunk) -> bool:
        seen = self.state.seen.get(index)
        asked = {key for key in chunk.keys if back or key[0] == "alone"}
        return seen is not None and all(what in getattr(seen, kind) for kind, what in asked)

    def _load(self, network: Network) -> _Loaded:
        return _Loaded.of(network, self.dataset)

    def _base(self, quantized: bool, networks: Mapping[Any, Network]) -> _Loaded:
        shown = (name for each in networks.values() for name in each.inputs)
        return self._load(self.networks.base(quantized=quantized, shown=shown))

    def _sample(
        self,
        sample: Sample,
        bases: Sequence[_Loaded],
        alone: Mapping[tuple[int, int], _Loaded],
        without: Mapping[int, _Loaded],
    ) -> Seen:
        floats = bases[0].run(sample.arrays, sample, self.dataset)
        noise = partial(self._noise, floats, sample)
        signal = noise({}, None)
        ran = {**sample.arrays, **floats}
        single = {f"{at} {n}": noise(each.run(ran, sample, self.dataset), (at, n)) for (at, n), each in alone.items()}
        rounded = bases[1].run(sample.arrays, sample, self.dataset)
        whole, ran = noise(rounded, ()), {**sample.arrays, **rounded}
        backs = {
            str(at): noise({**rounded, **each.run(ran, sample, self.dataset)}, (at,)) for at, each in without.items()
        }
        return Seen(signal, whole, single, backs)

    def _noise(self, floats: Values, sample: Sample, found: Values, who: tuple[int, ...] | None) -> tuple[float, ...]:
        """By part the noise of outputs against the float model's, where they are not those themselves; for `who` None
        the signal."""
        made = []
        for part in self.networks.parts:
            expected = part.of(floats)
            sums = FidelitySums(class_axis=None)
            if who is not None and part.output not in found:
                made.append(0.0)
                continue
            try:
                sums.add(expected, expected if who is None else part.of(found))
            except ValueError as error:
                raise self._odd(sample, str(error), who) from None
            made.append(sums.signal if who is None else sums.noise)
        return tuple(made)

    def _odd(self, sample: Sample, why: str, who: tuple[int, ...] | None) -> QdslError:
        """What to raise for outputs that cannot be compared."""
        if who is None:
            return self._not_finite(sample, why)
        told = (
            "with everything quantized" if not who else f"with `{self.networks.units[who[0]].name}` put back in float"
        )
        if len(who) == 2:
            unit = self.networks.units[who[0]]
            told = f"with `{unit.name}` as {unit.choices[who[1]].name}"
        headline = f"{told}, the outputs of sample {sample.id} cannot be compared with the float model's: {why}"
        return self.dataset.error("sensitivity-not-finite", headline)

    def _not_finite(self, sample: Sample, why: str) -> QdslError:
        """The first tensor of the float model that is not finite."""
        help = ("look at this sample, and at the weights before this tensor",)
        for name, values in sample.arrays.items():
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                return self._told(f"input `{name}` of sample {sample.id} is not finite", help)
        floats = self.networks.floats
        names = [each for node in floats.nodes.values() for each in node.output if each in floats.types]
        shown = self._load(self.networks.base(quantized=False, shown=names))
        inner = shown.run(sample.arrays, sample, self.dataset)
        for node in floats.nodes.values():
            odd = [each for each in node.output if each in inner and inner[each].dtype.kind == "f"]
            if any(not np.isfinite(inner[each]).all() for each in odd):
                return self._told(f"`{node.name}` ({node.op_type}) is not finite for sample {sample.id}", help)
        return self._told(f"the outputs of sample {sample.id} cannot be compared: {why}", help)

    def _told(self, headline: str, help: Sequence[str]) -> QdslError:
        return self.dataset.error("sensitivity-not-finite", headline, help=help)
