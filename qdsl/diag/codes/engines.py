"""Diagnostic codes of looking at engines that are built of a file elsewhere."""

from __future__ import annotations

from qdsl.diag.codes import CodeDoc

CODES: dict[str, CodeDoc] = {
    "rtx-absent": CodeDoc(
        "TensorRT-RTX is not installed",
        "`--engine rtx` lets NVIDIA's TensorRT-RTX parse and build a file, on any x86 CPU, without a GPU and its "
        "driver. It is proprietary, so it is neither part of qdsl nor installed with it: the extra `rtx` does that, or "
        "`python -m qdsl.engines.rtx.get`, which gives it an environment of its own; either way whoever installs it "
        "accepts NVIDIA's licence.",
        "recipe example\n",
        verb="library",
    ),
    "rtx-capability": CodeDoc(
        "TensorRT-RTX does not build for this compute capability",
        "An engine is built for one kind of GPU, which decides the types that it computes in. TensorRT-RTX knows "
        "Turing, Ampere, Ada and Blackwell of desktops (sm75, sm80, sm86, sm89, sm120, sm121); it knows no Jetson "
        "(Orin is sm87) and no Hopper (sm90), and a result for another GPU is none of theirs.",
        "recipe example\n",
        verb="library",
    ),
    "engine-choice": CodeDoc(
        "there is no such engine to ask",
        "`--engine rtx` builds an engine of the file with TensorRT-RTX, without a GPU.",
        "recipe example\n",
        verb="library",
    ),
    "engine-files": CodeDoc(
        "files about an engine do not tell which engine it is, or nothing of it",
        "`qdsl report BUILD --add` takes in what was brought back from the machine with the GPU: what the engine's "
        "layers compute in, how long its runs and its layers take, and the build.json of build_engine.py. They have to "
        "be of one engine of a `target tensorrt` of the build, and something has to say on which GPU it is.",
        "recipe example\n",
        verb="library",
    ),
    "engine-otherwise": CodeDoc(
        "an engine of the artifact computes otherwise than was planned",
        "`compile --check` builds an engine of the file that it wrote and reads from its layers what each node "
        "computes in. One that was planned in integers and computes in floats brings no speed; one of which the engine "
        "does not tell, a file that is refused, and a build that died or took too long are no pass. With `require qdq "
        "survives` what is lost breaks a budget; `allow half_quantized_op on X because ..` says that it is meant.",
        "recipe example\n",
        verb="library",
    ),
    "device-build": CodeDoc(
        "what a target runs on its device cannot be built or timed here",
        "`compile --build` runs the steps of the commands beside an artifact, where what they need is installed. One "
        "of them failed; the artifact itself is whole, and its report is written.",
        "recipe example\n",
        verb="library",
    ),
    "engine-layers": CodeDoc(
        "a file does not say what an engine of the model computes",
        "`--engine layers.json` takes what TensorRT's inspector tells of an engine, with its types: one of names alone "
        "says nothing, and one of another model names few of its nodes. A manifest has to be that beside the model.",
        "recipe example\n",
        verb="library",
    ),
    "engine-target": CodeDoc(
        "an engine is asked about, and the audit is for another target",
        "What an engine computes is TensorRT's: the rules about TensorRT and the engine's layers are told together.",
        "recipe example\n",
        verb="library",
    ),
}
