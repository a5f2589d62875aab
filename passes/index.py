"""Every pass by name. Listing loads nothing; a pass is imported when it is made."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from qdsl.rewrite import Pass


@dataclass(frozen=True, slots=True)
class Entry:
    """One pass: where its class is, and its summary (the class repeats it; a test compares). `lowers`: the targets for
    which it runs once a plan was carried out. Of a lowering `of_plan` says that the plan is its option, and `foretells`
    the operators by which it changes the kernels that a plan foresees: a graph with none of them is planned without
    it."""

    name: str
    where: str
    summary: str
    lowers: tuple[str, ...] = ()
    of_plan: bool = False
    foretells: tuple[str, ...] = ()


# In the order in which they run. Of the lowerings, those that carry out what a plan says beside integers come first.
ENTRIES = (
    Entry(
        "constant_nodes",
        "qdsl.passes.constant_nodes:ConstantNodes",
        "turn Constant nodes into initializers",
    ),
    Entry(
        "fold_constants",
        "qdsl.passes.fold_constants:FoldConstants",
        "compute what does not depend on the inputs",
    ),
    Entry(
        "remove_identity",
        "qdsl.passes.remove_identity:RemoveIdentity",
        "take out Identity and inference Dropout",
    ),
    Entry(
        "normalise_clip",
        "qdsl.passes.normalise_clip:NormaliseClip",
        "spell Relu and bounded Relu in one way",
    ),
    Entry(
        "normalise_pool",
        "qdsl.passes.normalise_pool:NormalisePool",
        "spell average pooling in one way",
    ),
    Entry(
        "normalise_softmax",
        "qdsl.passes.normalise_softmax:NormaliseSoftmax",
        "spell Softmax in one way",
    ),
    Entry(
        "normalise_hard",
        "qdsl.passes.normalise_hard:NormaliseHard",
        "spell HardSigmoid in one way",
    ),
    Entry(
        "normalise_swish",
        "qdsl.passes.normalise_swish:NormaliseSwish",
        "spell Swish as its Sigmoid and Mul",
    ),
    Entry(
        "normalise_scale",
        "qdsl.passes.normalise_scale:NormaliseScale",
        "divide products of matrices by multiplying with the inverse",
    ),
    Entry(
        "fold_batchnorm",
        "qdsl.passes.fold_batchnorm:FoldBatchnorm",
        "fold BatchNormalization into the convolution before it",
    ),
    Entry(
        "fold_factors",
        "qdsl.passes.fold_factors:FoldFactors",
        "fold alpha and beta of a Gemm into its constants",
    ),
    Entry(
        "fold_affine",
        "qdsl.passes.fold_affine:FoldAffine",
        "fold Mul, Add, Sub and Div per channel into the convolution before them",
    ),
    Entry(
        "share_initializers",
        "qdsl.passes.share_initializers:ShareInitializers",
        "store equal constants once",
    ),
    Entry(
        "dead_code",
        "qdsl.passes.dead_code:DeadCode",
        "remove nodes and constants that nobody reads",
    ),
    Entry(
        "raise_opset",
        "qdsl.passes.raise_opset:RaiseOpset",
        "bring the model to a newer opset of ONNX",
    ),
    Entry(
        "equalize",
        "qdsl.passes.equalize:Equalize",
        "give the channels between two layers weights of alike ranges",
    ),
    Entry(
        "insert_qdq",
        "qdsl.passes.insert_qdq:InsertQDQ",
        "store planned weights as integers, write QuantizeLinear and DequantizeLinear on planned tensors",
    ),
    Entry(
        "quantize_dynamic",
        "qdsl.passes.quantize_dynamic:QuantizeDynamic",
        "compute planned Conv, MatMul and Gemm in integers, activations quantized at run time",
    ),
    Entry(
        "keep_operators",
        "qdsl.passes.keep_operators:KeepOperators",
        "keep planned operators between Q/DQ pairs from being fused with them",
        lowers=("ort",),
        of_plan=True,
    ),
    Entry(
        "store_float16",
        "qdsl.passes.store_float16:StoreFloat16",
        "planned nodes and constants in float16, with one Cast per tensor where neighbours differ",
        lowers=("ort", "tensorrt"),
        of_plan=True,
    ),
    Entry(
        "pair_weights",
        "qdsl.passes.pair_weights:PairWeights",
        "let stored weights stand as floats behind a QuantizeLinear of their own",
        lowers=("tensorrt",),
        of_plan=True,
    ),
    Entry(
        "weights_only",
        "qdsl.passes.weights_only:WeightsOnly",
        "MatMul and Gemm with stored weights and float activations in the form that has a kernel",
        lowers=("ort",),
    ),
    Entry(
        "softmax_last",
        "qdsl.passes.softmax_last:SoftmaxLast",
        "take the Softmax before a 1x1 Conv to one channel over the last axis",
        lowers=("ort",),
    ),
    Entry(
        "channels_last",
        "qdsl.passes.channels_last:ChannelsLast",
        "decode what integer convolutions say of boxes and scores with channels last",
        lowers=("ort",),
    ),
    Entry(
        "keep_weights",
        "qdsl.passes.keep_weights:KeepWeights",
        "keep float weights between Q/DQ pairs from being stored as integers by the runtime",
        lowers=("ort",),
    ),
    Entry(
        "concat_integers",
        "qdsl.passes.concat_integers:ConcatIntegers",
        "let a Concat between Q/DQ pairs of one scale join the integers",
        lowers=("ort",),
        foretells=("Concat",),
    ),
    Entry(
        "hard_activations",
        "qdsl.passes.hard_activations:HardActivations",
        "HardSwish and HardSigmoid between Q/DQ pairs as integer sums and products",
        lowers=("ort",),
        foretells=("HardSigmoid", "HardSwish"),
    ),
    Entry(
        "join_swish",
        "qdsl.passes.join_swish:JoinSwish",
        "x * sigmoid(x) in float behind a DequantizeLinear as one operator",
        lowers=("ort",),
        foretells=("Sigmoid",),
    ),
)


def table(entries: Iterable[Entry]) -> dict[str, Entry]:
    """Entries by name, in order; two with one name is an error."""
    found: dict[str, Entry] = {}
    for entry in entries:
        if entry.name in found:
            raise ValueError(f"two passes are called {entry.name}: {found[entry.name].where} and {entry.where}")
        found[entry.name] = entry
    return found


PASSES = table(ENTRIES)


def pass_class(name: str) -> type[Pass]:
    """The class of a pass, imported now. KeyError when there is no such pass."""
    module, _, word = PASSES[name].where.partition(":")
    return cast("type[Pass]", getattr(import_module(module), word))


def make(name: str, **options: Any) -> Pass:
    """A pass with its options."""
    return pass_class(name)(**options)


def lowerings_for(target: str) -> tuple[str, ...]:
    """The lowerings of a target by name, in the order in which they run."""
    return tuple(entry.name for entry in ENTRIES if target in entry.lowers)
