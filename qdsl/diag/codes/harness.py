"""Diagnostic codes of evaluating: a task, its data and a model that do not fit one another."""

from __future__ import annotations

from qdsl.diag.codes import CodeDoc

_RECIPE = """recipe example
model onnx "model.onnx"
data calib from npz "calib.npz"
data val from {data}
quantize static {{ weights int8; activations uint8; calibrate minmax on calib }}
target ort
evaluate {evaluate}
"""
_BUILT = """recipe example
model onnx "model.onnx"
data calib from npz "calib.npz"
quantize static { weights int8; activations uint8; calibrate minmax on calib }
target ort
"""
_TWO = 'folder "photos"'
_COCO = 'coco ["labels.json", "images"]'
_HEAD = "model.onnx, coco labels, and heads.py beside them"
_CLASSIFIER = "model.onnx is a classifier of four classes, photos has four, of one picture each"


def _doc(
    summary: str, explanation: str, evaluate: str, data: str = _TWO, setup: str = _CLASSIFIER, cure: str = ""
) -> CodeDoc:
    example = _RECIPE.format(data=data, evaluate=evaluate)
    return CodeDoc(summary, explanation, example, setup, "compile", cure)


CODES: dict[str, CodeDoc] = {
    "evaluate-nothing": CodeDoc(
        "`qdsl evaluate` was given a recipe without an `evaluate` statement",
        "The verb carries out what the recipe says about evaluating, on a build that is there.",
        _BUILT,
        "a build of the recipe",
        "library",
        "add `evaluate TASK on DATA` to the recipe",
    ),
    "evaluate-output": _doc(
        "`evaluate` does not say which output it reads, or names one that is not there",
        "A task reads one output (some heads of `decode` several, `fidelity` all of them). With a single output "
        "nothing needs to be said.",
        'classification on val { output "nope" }',
    ),
    "evaluate-classes": _doc(
        "the model and the labelled data have different numbers of classes",
        "Scores and labels are matched by place: class 0 of the model is the first class of the data. `classes [..]` "
        "in the `data` statement chooses classes and their order.",
        "classification on val",
        'folder "photos" { classes ["a", "b", "c"] }',
    ),
    "evaluate-class": _doc(
        "a metric names a class or an output that is not there",
        'What stands in quotes behind a metric is a class of the data (`f1 "crack"`), with `fidelity` an output of the '
        "model.",
        'classification on val { measure f1 "aa" }',
    ),
    "evaluate-labels": _doc(
        "the data has no labels that the task can use",
        "`classification` needs one class per sample (`folder`, or `npz` with `label`), `detection` boxes (`yolo`, "
        "`coco`; at least one in all), `segmentation` masks whose values are class numbers. `fidelity` needs none.",
        "classification on val",
        'images "photos/a/*.png"',
    ),
    "evaluate-shape": _doc(
        "the output of the model is not what the task reads",
        "`classification` reads [1, classes]; `segmentation` [1, classes, h, w], [1, h, w, classes] or [1, h, w] of "
        "integers; `detection` what `decode` says; `fidelity` finite numbers. Another output can be named with "
        "`output`.",
        "classification on val",
        setup="model.onnx is a Conv of four channels, photos has four classes",
    ),
    "evaluate-reads": _doc(
        "a model with one score tells two classes apart, and this is how",
        "The score is that of the second class of the data. Where the graph ends in a Sigmoid it is a probability, and "
        "above 0.5 is that class; else it is a logit, and above 0 is.",
        "classification on val",
        'folder "photos"',
        "model.onnx gives one probability, photos has two classes",
    ),
    "python-refused": _doc(
        "the recipe names code to run, and nobody allowed it",
        "`decode python` imports a module and calls a function of it, with all that this user may do. That happens in "
        "`compile` and `evaluate` with `--allow-python` alone; `check` and `plan` import nothing.",
        'detection on val { decode python "heads:decode" }',
        _COCO,
        _HEAD,
    ),
    "python-failed": _doc(
        "the function that `decode python` names cannot be imported, or fails",
        "It stands as `package.module:function`, in the recipe's folder or installed; it is called with the outputs by "
        "name and the input's height and width, and returns boxes and scores, or boxes, scores and classes.",
        'detection on val { decode python "heads:nothing" }',
        _COCO,
        _HEAD,
    ),
    "evaluate-corrupt": _doc(
        "`corrupt` is asked of data that is no pictures",
        "Changes of light, focus, noise and compression are those of pictures: files, or uint8 arrays of height, width "
        "and 1 or 3 channels.",
        "fidelity on val { corrupt { noise; severity 2 } }",
        'npz "calib.npz"',
    ),
    "evaluate-left-out": CodeDoc(
        "an `evaluate` is left out, since its data is not here, or a target does not run here",
        "With `--locked` data may be gone. What the statement would measure then stays undecided, which is never "
        "counted as passed.",
        _RECIPE.format(data=_TWO, evaluate="classification on val"),
        "a lock, and no folder photos any more",
        "compile",
    ),
    "evaluate-unordered": _doc(
        "`evaluate fidelity` leaves outputs out whose rows cannot be compared (note)",
        "Behind NonMaxSuppression, TopK or NonZero, rows come in an order and a number that scores decide: the same "
        "row of two models speaks of different things. Outputs of integers name things, and measure none. Both are "
        'compared where the recipe names them: `output "y"`, or a metric of them.',
        "fidelity on val",
        'npz "calib.npz"',
        "model.onnx is a Conv with its best channel beside it",
        'name what is compared: `output "boxes"`',
    ),
    "evaluate-top5": _doc(
        "`top5` of five classes or fewer is always right (warning)",
        "One of the five best guesses is right, whatever the model says, where there are no more than five.",
        "classification on val { measure top5 }",
    ),
    "evaluate-chance": _doc(
        "the float model is right no more often than by guessing (warning)",
        "Preprocessing that is not that of training, and classes in another order, look like this. What a build loses "
        "against such a model says nothing of quantizing. Told of 10 samples or more: the mean share of each class "
        "that is right, within one standard error of what a single answer for everything has; for detection an mAP50 "
        "under 0.01.",
        "classification on val",
        'folder "photos"',
        "model.onnx says the same of all of twelve pictures, of four classes",
    ),
    "build-slower": CodeDoc(
        "a build takes longer than the float model (warning)",
        "Integers pay where kernels are fast and few places lie between integers and floats. The ratio of ten turns, "
        "with its 95 % interval, lies below 1.",
        _BUILT,
        "a profile in which the build is slower",
        "library",
        "keep what is slow in float, or write `tune latency`",
    ),
    "profile-batch": _doc(
        "the model is fixed to another batch than `profile` asks for",
        "Models run on arrays whose first dimension is the batch. Where the model fixes it, only that one can be "
        "profiled.",
        "fidelity on val { profile latency { batch 4 } }",
    ),
    "profile-left-out": CodeDoc(
        "nothing is there to run the models on, so that they are not profiled",
        "Without data, inputs are drawn, which takes a shape: one that is free beside the batch has to be fixed in the "
        "recipe. What does not run on this machine is not profiled on it; where an artifact is timed in several ways, "
        "those that are there stand.",
        'recipe example\nmodel onnx "model.onnx"\nquantize float { weights float16 }\ntarget ort { profile latency }\n',
        "model.onnx is a Conv of 64 channels on a picture of any size",
        "compile",
    ),
    "measurements-missing": CodeDoc(
        "a build's folder has no measurements.json",
        "`qdsl report` makes its page from what `qdsl compile` left in build/<recipe>/. It measures nothing itself.",
        _BUILT,
        "the folder of a build without its measurements.json",
        "report",
        "name the folder of a build, build/<recipe>, or make it: `qdsl compile RECIPE`",
    ),
    "measurements-file": CodeDoc(
        "a measurements.json is not what qdsl wrote",
        "The file is read strictly, that of a build and that of a device: one that was cut off, belongs to another "
        "version of qdsl, or holds a value that does not fit is refused, with its place.",
        _BUILT,
        "the folder of a build whose measurements.json is cut off",
        "report",
        "measure anew: `qdsl compile RECIPE`",
    ),
    "measurements-other": CodeDoc(
        "files of a build are not those that were measured",
        "measurements.json names the artifacts, the plan and the pictures by their SHA-256. Where another file stands "
        "in its place, figures would be shown for what they do not belong to. Files that are missing are no fault. "
        "What a device measured names its files alike, and is taken into no other build.",
        _BUILT,
        "the folder of a build with another model.onnx",
        "report",
        "measure anew: `qdsl compile RECIPE`",
    ),
    "device-left-out": CodeDoc(
        "what a device measured is not shown, since it is of another artifact",
        "Files in devices/ of a build's folder, where `qdsl report --add` keeps them, stay when the build is made "
        "anew. They are shown, and decide budgets, as long as the artifact is the one that they were measured of; one "
        "that cannot be read is left out, too.",
        _BUILT,
        "the folder of a build with what a device measured of another artifact",
        "report",
        "measure the artifact on the device, or take the file away",
    ),
    "device-emulated": CodeDoc(
        "what an emulated device took decides no budget",
        "An emulator (qemu) runs the instructions of another processor one by one: what is computed there, and in "
        "which kernels, is what a real one does; how long that takes says nothing. The figures are shown, and budgets "
        "on latency, throughput, cpu, memory and energy stay undecided.",
        _BUILT,
        "the folder of a build with what an emulated device measured",
        "report",
        "measure on the device itself: `python bench/bench.py`, in a copy of the target's folder",
    ),
    "cpu-unknown": CodeDoc(
        "`--on` names a processor that is not emulated",
        "`haswell` is x86 with AVX2 and without VNNI, `cortex-a76` the Raspberry Pi 5, `cortex-a72` the Raspberry Pi 4 "
        "and `cortex-a53` the Raspberry Pi 3: each has integer kernels of its own.",
        _BUILT,
        "a build, to be verified on a processor of another name",
        "library",
    ),
    "emulator-absent": CodeDoc(
        "what it takes to emulate a processor is not on this machine",
        "A processor of this machine's own kind takes qemu's user mode alone, another kind a Python of its own with "
        "onnxruntime and numpy, too. One command fetches them into a folder of the user, without installing anything; "
        "QDSL_EMULATORS names another folder.",
        _BUILT,
        "a machine without qemu",
        "library",
        "fetch them (about 100 MB): python -m qdsl.harness.get_emulators",
    ),
    "emulator-failed": CodeDoc(
        "an emulated check came to no end",
        "The emulator ended before the check was done, or ran another processor than was asked for. What it said last "
        "is told.",
        _BUILT,
        "an emulator that ends at once",
        "library",
        "fetch it anew: take the folder that QDSL_EMULATORS names (by default ~/.cache/qdsl/emulators) away, then "
        "python -m qdsl.harness.get_emulators",
    ),
    "verify-nothing": CodeDoc(
        "a build has no bundle, so that there is nothing to run its artifact on",
        "`qdsl verify` runs artifacts on the samples in `bench/` beside them. `compile --no-measure` leaves that out, "
        "and so does a recipe without data whose inputs cannot be drawn.",
        _BUILT,
        "the folder of a build without its bench/",
        "verify",
        "compile without `--no-measure`, or check while compiling: `qdsl compile RECIPE --on CPU`",
    ),
    "computes-otherwise": CodeDoc(
        "on a processor an artifact computes something else than its graph says",
        "The artifact as it runs is held against the same file without the runtime's optimizations, and against the "
        "graph's own arithmetic as it was found when compiling. Fused kernels round a little otherwise; far more than "
        "that, with more lost beside the float model than was planned, means sums that saturate or wrap, as on x86 "
        "without VNNI and on ARMv8.0.",
        _BUILT,
        "the folder of a build whose golden outputs are others",
        "verify",
        "name the processors in the recipe (`target ort { cpu .. }`) and compile again, or use weights and activations "
        "whose kernels are exact there (docs/cpus.md)",
    ),
    "kernels-otherwise": CodeDoc(
        "on a processor other integer kernels run than were predicted",
        "The nodes of the graph that the runtime really runs are counted by operator. Kernels differ between "
        "processors and versions of the runtime: nodes that should run in integers may run in float there.",
        _BUILT,
        "the folder of a build of which more integer kernels were predicted",
        "verify",
        "compare the versions of onnxruntime (`--json` tells both), and compile again with the one that is deployed",
    ),
    "mask-format": _doc(
        "a mask is no picture of class numbers",
        "Masks are PNG, BMP, TIFF or PPM files with one grey value or palette index per pixel. JPEG changes values, "
        "and a picture in colour says nothing of classes.",
        "segmentation on val",
        'masks "road" { classes ["a", "b", "c", "d"] }',
        "model.onnx is a Conv of four channels, road has a mask in colour",
    ),
}
