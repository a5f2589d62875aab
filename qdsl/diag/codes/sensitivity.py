"""Diagnostic codes of measuring what quantizing one layer costs."""

from __future__ import annotations

from qdsl.diag.codes import CodeDoc

CODES: dict[str, CodeDoc] = {
    "sensitivity-outputs": CodeDoc(
        "no output of the model can be compared with the float model's",
        "What quantizing a layer costs is measured at the outputs. Where values choose the rows of an output (TopK, "
        "NonMaxSuppression), the floats that are chosen from are held against each other; numbers of things, such as "
        "classes, cannot be.",
        "recipe example\n",
        verb="library",
        cure="let the model write a float output: the scores before the class is chosen",
    ),
    "sensitivity-not-finite": CodeDoc(
        "a sample, a layer or a gradient holds NaN or infinity",
        "What is not finite cannot be held against anything. The first layer of the float model that writes such a "
        "value is told, with the sample that makes it do so, or the layer whose gradient is none.",
        "recipe example\n",
        verb="library",
        cure="look at this sample, and at the weights before this layer",
    ),
    "sensitivity-weights": CodeDoc(
        "`sensitivity gradient` or `hessian` where no weight is quantized",
        "Gradients and curvature are taken with respect to weights, and say nothing of rounded activations: `allocate "
        "layers` and `allocate activations` need what these cost, too.",
        "recipe example\n",
        verb="library",
        cure="measure by running: `sensitivity sqnr`",
    ),
    "sensitivity-run": CodeDoc(
        "a part of the network does not run",
        "Each layer is measured in the rest of the network from that layer on, in ONNX Runtime, which does not load it "
        "or does not take a sample.",
        "recipe example\n",
        verb="library",
        cure="run the float model on the sample by itself: if it runs, report this with the model",
    ),
}
