"""Plants faults in quantized models: one kind at one place, chosen by a seed, and says where. Knows nothing of qdsl."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from mutant_graph import Graph, Kind
from mutants_of_numbers import NUMBERS
from mutants_of_placement import PLACEMENT
from mutants_of_st import ST
from mutants_of_tensorrt import TENSORRT, for_tensorrt
from onnx import ModelProto

KINDS: dict[str, Kind] = {**PLACEMENT, **NUMBERS, **TENSORRT, **ST}


@dataclass(frozen=True)
class Mutant:
    """A model with one fault: `rule` has to find it at `place`, a node or a tensor, for `target`."""

    kind: str
    rule: str
    place: str
    target: str
    model: ModelProto


def clean_for(model: ModelProto, target: str) -> ModelProto:
    """The clean model that mutants for a target are made of."""
    return for_tensorrt(model) if target == "tensorrt" else model


def mutants(model: ModelProto, kind: str, seed: int, most: int = 3) -> list[Mutant]:
    """Up to `most` copies of a clean quantized model, each with one fault of that kind at a place of its own; none
    where the model has no such place."""
    made = KINDS[kind]
    clean = clean_for(model, made.target)
    draw = np.random.default_rng([seed, *kind.encode()])
    found = []
    for at in draw.permutation(len(made.places(Graph(clean))))[:most].tolist():
        graph = Graph(clean)
        place = made.plant(graph, made.places(graph)[at])
        found.append(Mutant(kind, made.rule, place, made.target, graph.done()))
    return found
