"""Diagnostic codes of the library calls and the command line themselves."""

from __future__ import annotations

from qdsl.diag.codes import CodeDoc

CODES: dict[str, CodeDoc] = {
    "new-exists": CodeDoc(
        summary="`new` overwrites nothing",
        explanation="A recipe or a folder of that name is there already, and is left as it is.",
        example="recipe example\n",
        verb="library",
    ),
    "new-data": CodeDoc(
        summary="what was given as data holds nothing that a recipe reads",
        explanation="`new` looks for a YOLO data.yaml, COCO json, `images` beside `masks`, one folder per class (with\n"
        "`train` and `val` above them or not), npz files, and plain pictures, in this order.",
        example="recipe example\n",
        verb="library",
    ),
    "new-example": CodeDoc(
        summary="there is no example of that name here",
        explanation="`qdsl new --example shapes DIR` draws the pictures, fits the model and writes the recipe. "
        "`cracks`, `people` and `steel` are copied from the source repository, where the command runs in it or from "
        "it: the installed package has no room for their pictures.",
        example="recipe example\n",
        verb="library",
    ),
    "tune-data": CodeDoc(
        summary="`tune` has no samples to run",
        explanation="`tune latency` runs builds on the first samples of the calibration, of `on DATA`, or of any data\n"
        "of the recipe; without data it draws inputs, but none whose size is unknown or beyond 64 M elements.",
        example="""recipe example
model onnx "free.onnx"
input { shape [1, 3, 16384, 16384] }
quantize static { weights int8; activations uint8; range [-1, 1] }
tune latency { trials 1 }
target ort
""",
        setup="free.onnx: a Conv on a picture of any size",
        verb="compile",
    ),
    "sweep-names": CodeDoc(
        summary="two recipes of a sweep have the same name",
        explanation="A cell's folder is called after its recipe; two recipes of one name would overwrite each other.",
        example="recipe example\n",
        verb="library",
    ),
    "sweep-size": CodeDoc(
        summary="a sweep has too many cells",
        explanation="Every parameter multiplies the cells by its values; more than 512 in all are a mistake more\n"
        "often than a wish.",
        example="recipe example\nparam a = 1 from [1, 2, 3]\n",
        verb="library",
        cure="fix parameters with `--set`",
    ),
    "sweep-engine": CodeDoc(
        summary="the engine of a sweep is unknown or not installed",
        explanation="`local` runs cells as processes of this machine; `ray` gives them to the workers of a Ray\n"
        "cluster (the one in RAY_ADDRESS, or one that is started here), which needs the package ray.",
        example="recipe example\n",
        verb="library",
    ),
    "calibration-shard": CodeDoc(
        summary="a process that was to calibrate some of the samples failed",
        explanation="`compile --shards` gives every process each so many-th sample; what it met is the reason.",
        example="recipe example\n",
        verb="library",
        cure="compile without `--shards`: the same error is then told with its place",
    ),
    "out-of-memory": CodeDoc(
        summary="the system gives no more memory",
        explanation="The model, its samples and what runs beside them need more memory than there is, or than this\n"
        "process may have (`ulimit -v`, a container). Nothing half-written is left.",
        example="recipe example\n",
        verb="library",
        cure="give it more memory, or let fewer things run side by side: `--workers 1`, fewer `--shards`",
    ),
    "system-refused": CodeDoc(
        summary="the system refuses a file or a process",
        explanation="A file that was there is gone, may not be read or written, or has a name that the file system\n"
        "does not take; or no process can be started. The system's own words follow the name.",
        example="recipe example\n",
        verb="library",
        cure="look at the name, the permissions and the free space",
    ),
    "code-unknown": CodeDoc(
        summary="`qdsl explain` was given a word that is no diagnostic code",
        explanation="With one word, `qdsl explain` looks up a diagnostic code. To explain a node or tensor, name the\n"
        "recipe first and the node or tensor after it.",
        example="",
        verb="explain",
    ),
    "target-absent": CodeDoc(
        summary="a verb was asked of a target that this version does not have",
        explanation="`qdsl targets` lists those that there are.",
        example="",
        verb="doctor",
    ),
    "target-not-in-recipe": CodeDoc(
        summary="`--target` names a target that the recipe does not have",
        explanation="`--target` picks one of the recipe's own `target` statements; it does not add one.",
        example="""recipe example
model onnx "two_convs.onnx"
data calib from npz "calib.npz"
quantize static { weights int8; activations uint8; calibrate minmax on calib }
target ort
""",
        setup="two_convs.onnx: conv1, relu, conv2, sub in a row",
        verb="plan",
    ),
}
