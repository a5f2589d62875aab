"""Diagnostic codes of the recipe language: reading, syntax, names, units, merging."""

from __future__ import annotations

from qdsl.diag.codes import CodeDoc

_SYNTAX: dict[str, CodeDoc] = {
    "unknown-statement": CodeDoc(
        "a line starts with a word that is no statement",
        "Every line of a recipe, and of a block, starts with a known word. The nearest one is suggested, and the rest "
        "of the line is read as if it stood there, so that other errors in it are shown, too.",
        "layrs op Conv { weights int8 }\n",
    ),
    "unexpected": CodeDoc(
        "a word or sign stands where it cannot",
        "The statement made sense up to the marked place. What could have stood there is listed.",
        "keep op Conv as float32\n",
        cure="write one of what is expected, or remove it",
    ),
    "unfinished-statement": CodeDoc(
        "a statement stops too early",
        "A statement ends at the line end, unless a bracket is open or the line ends in `,`, `and` or `or`.",
        "keep op Conv in\n",
        cure="write what is missing, on the same line",
    ),
    "two-statements": CodeDoc(
        "two statements stand on one line",
        "A statement ends at the line end or at `;`.",
        "recipe example model onnx\n",
        cure="write `;` or a line end before this word",
    ),
    "bad-expect": CodeDoc(
        "`expect`, `first` or `last` without a whole number",
        "`expect N` pins how many nodes a selector picks; `first N of` and `last N of` pick so many.",
        'keep under "/head" expect many in float32\n',
        cure="write a whole number, such as `expect 24` or `first 2 of`",
    ),
    "brace-alone": CodeDoc(
        "an opening brace stands on a line of its own",
        "`{` stands on the line of its header, since a line end ends a statement.",
        "quantize static\n{\n  weights int8\n}\n",
        cure="write `{` at the end of the line above",
    ),
    "unbalanced": CodeDoc(
        "a bracket is never closed, or closes nothing",
        "Brackets come in pairs. An open one is reported where it opens; the rest of the recipe is still read.",
        "quantize static {\n  weights int8\n\nkeep all in float32\n",
        cure="add the bracket that is missing, or remove this one",
    ),
    "nested-too-deep": CodeDoc(
        "brackets, `not`, `between` or names within names nest too deep",
        "Nesting is bounded, at 64 levels and at 32 names within names, so that every recipe can be read.",
        "keep " + "not " * 70 + "all in float32\n",
        cure="give a part a name with `select` and use the name",
    ),
    "unclosed-text": CodeDoc(
        "a text has no closing quote",
        "A text starts and ends with a double quote on one line.",
        'model onnx "model.onnx\n',
        cure='write `"` where the text ends',
    ),
    "bad-escape": CodeDoc(
        "a backslash in a text stands before a character that it cannot",
        'A text knows the escapes \\\\, \\", \\n and \\t.',
        'model onnx "models\\m.onnx"\n',
        cure="write `\\\\` for a backslash, or `/` between the parts of a path",
    ),
    "bad-character": CodeDoc(
        "a character that means nothing in a recipe",
        "Outside texts and comments a recipe holds words, numbers and a few signs.",
        "recipe my-model\n",
        cure="remove it, or put the name it belongs to in double quotes",
    ),
    "bad-number": CodeDoc(
        "digits that are no number",
        "A number has digits on both sides of its point. Versions are texts.",
        "target tensorrt { version 10.3.1 }\n",
        cure="write a number such as 8, 0.5, 1e-3 or 1/255; a version is a text in quotes",
    ),
    "number-out-of-range": CodeDoc(
        "a number that cannot be held",
        "Numbers have at most 64 characters, are finite, and are not divided by zero.",
        "input { rescale 1/0 }\n",
        cure="write a number such as 0.5, 1e-3 or 1/255",
    ),
}

_NAMES: dict[str, CodeDoc] = {
    "unknown-setting": CodeDoc(
        "a word that this block does not know",
        "Each block has its own settings; docs/language.md lists them.",
        "quantize static { weigths int8 }\n",
        cure="remove it, or write one of the settings of this block",
    ),
    "setting-value": CodeDoc(
        "a setting has a value that it cannot have, or says too little",
        "Each setting says what it takes: words of a list, numbers, texts, or a list of these.",
        "input { resize 640 leterbox }\n",
        cure="`qdsl explain setting-value` and docs/language.md say what each setting takes",
    ),
    "two-settings": CodeDoc(
        "a setting has one value too many",
        "A setting knows how many words it takes. Two settings on one line need `;`.",
        "input { resize 640 letterbox rescale 1/255 }\n",
    ),
    "contradiction": CodeDoc(
        "two words of one statement ask for opposite things",
        "A type is symmetric or affine, and has one granularity; float types are not quantized at all.",
        "quantize static { weights int8 symmetric affine }\n",
        cure="keep one of the two",
    ),
    "unknown-type": CodeDoc(
        "a number type that does not exist",
        "Types are int2 to int16, uint2 to uint16, float16 and float32; `N bit` asks for a width only.",
        "quantize static { weights int7 }\n",
    ),
    "unknown-unit": CodeDoc(
        "a unit that does not exist",
        "Units are a closed set, legal only after a number.",
        "target ort { require size <= 3 MiBs }\n",
    ),
    "wrong-unit": CodeDoc(
        "a unit that does not measure what the metric does",
        "Sizes are bytes, latencies are seconds, and a drop is in `pp` or in `%` of the float model's value. A share "
        "is a number up to 1, or has a `%`: `95` would be 9500 %.",
        "target ort { require size <= 3 ms }\n",
        cure="write one of the expected units after the number",
    ),
    "unknown-metric": CodeDoc(
        "a metric that does not exist",
        "`measure`, `profile` and `require` name metrics.",
        "target ort { require sizes <= 3 MiB }\n",
    ),
    "wrong-metric": CodeDoc(
        "a metric that does not belong here, or not with these words",
        "Each task has its metrics; a class or output stands in quotes after those that have one.",
        'data d from images "*.jpg"\nevaluate classification on d { measure map50 }\n',
        cure="docs/language.md lists the metrics of each task and the words after them",
    ),
    "bound-missing": CodeDoc(
        "a `require` without a bound",
        "A budget compares: `require size <= 3 MiB`. Only conditions such as `qdq survives` stand alone.",
        "target ort { require size }\n",
        cure="compare it, as in `require size <= 3 MiB`",
    ),
    "unknown-data": CodeDoc(
        "a dataset that no `data` statement defines",
        "Names are looked up after all bases are merged, wherever they are defined.",
        'data calib from images "*.jpg"\nquantize static { calibrate minmax on calb }\n',
    ),
    "unknown-selector": CodeDoc(
        "a selector name that is neither built in nor defined by `select`",
        "Operators follow `op`, node names stand in quotes, conditions need a comparison.",
        "keep decode_heads in float32\n",
    ),
    "unknown-condition": CodeDoc(
        "a condition on something that cannot be compared",
        "Conditions compare channels, groups, kernels, strides and element counts.",
        "layers channels < 16 { weights int8 }\n",
    ),
    "unknown-port": CodeDoc(
        "`X of` in `place` with an unknown X",
        "The ports of a node are its `inputs`, its `outputs` and the `skip` of a residual.",
        "place { quantize input of op Conv }\n",
    ),
    "unknown-param": CodeDoc(
        "a parameter that no `param` statement defines",
        "`$x` stands for the value of `param x`; `--set x=value` changes it.",
        "layers all { weights $bits }\n",
    ),
    "param-choice": CodeDoc(
        "a parameter with a value outside its list",
        "`param x = value from [...]` lists what x may be.",
        "param bits = int2 from [int8, int4]\n",
        cure="take a value of the list, or add this one to it",
    ),
    "unknown-mode": CodeDoc(
        "`quantize` with an unknown mode",
        "Modes are `static`, `dynamic` and `float`.",
        "quantize statik { weights int8 }\n",
    ),
    "unknown-method": CodeDoc(
        "`calibrate` with an unknown method",
        "Methods are minmax, mean_minmax, entropy, percentile, mse and auto, which tries the others.",
        "quantize static { calibrate min_max }\n",
    ),
    "unknown-target": CodeDoc(
        "a target that does not exist",
        "`qdsl targets` lists the targets.",
        "target onnxruntime\n",
    ),
    "unknown-task": CodeDoc(
        "`evaluate` with an unknown task",
        "Tasks are classification, detection, segmentation and fidelity.",
        'data d from images "*.jpg"\nevaluate detect on d\n',
    ),
    "unknown-format": CodeDoc(
        "`model` with an unknown format",
        "Formats are onnx, torch, tensorflow and tflite.",
        'model onxx "m.onnx"\n',
    ),
    "unknown-source": CodeDoc(
        "`data ... from` with an unknown source",
        "Sources are images, folder, yolo, coco, masks and npz.",
        'data d from image "*.jpg"\n',
    ),
    "unknown-stage": CodeDoc(
        "`use` with an unknown stage",
        "A rule file runs before or after a stage of compiling.",
        'passes { use "my.rule" before quantise }\n',
    ),
    "unknown-finding": CodeDoc(
        "`allow` with an unknown finding",
        "What can be allowed is `shared_range` (boxes and scores under one scale) and `half_quantized_op` (an operator "
        "that reads integers and computes in float, or the other way round).",
        'allow shared_ranges on op Concat because "rescaled"\n',
    ),
    "unknown-sensitivity": CodeDoc(
        "`sensitivity` with an unknown method",
        "Methods are gradient, sqnr and hessian.",
        'data d from images "*.jpg"\nallocate weights from [int8, int4] { sensitivity gradients on d }\n',
    ),
    "unknown-goal": CodeDoc(
        "`minimize` with an unknown goal",
        "Goals are loss, size, latency and macs.",
        "allocate weights from [int8, int4] { minimize losses under size <= 2 MB }\n",
    ),
    "unknown-tensor-kind": CodeDoc(
        "`allocate` something other than weights or activations",
        "`allocate` chooses types for `weights` or for `activations`.",
        "allocate weight from [int8, int4]\n",
    ),
    "unknown-training": CodeDoc(
        "`train` with an unknown method",
        "The method is `qat`.",
        "train qatt { epochs 3 }\n",
    ),
    "bad-regex": CodeDoc(
        "the text after `matching` is no regular expression",
        "`matching` takes a regular expression; a text alone is a pattern with `*` and `?`.",
        'keep matching "layer[" in float32\n',
        cure="a text without `matching` takes `*` and `?`, which is often enough",
    ),
    "selector-regex": CodeDoc(
        "a regular expression needs what is not supported",
        "Patterns are matched in linear time, so that no pattern can hang the tool. Literals, classes, groups, `|`, "
        "`*`, `+`, `?`, `{m,n}`, `^` and `$` work; back references, look-around and word boundaries do not. "
        "Write `not matching` instead of a negative look-ahead.",
        'keep matching "^(?!/model)" in float32\n',
        cure="rewrite the pattern without it, or name the nodes by a text with `*` and `?`",
    ),
    "place-nodes": CodeDoc(
        "`quantize` or `leave` in `place` names nodes where tensors are meant",
        'Q/DQ pairs stand on tensors: `inputs of X`, `outputs of X`, `tensor "x"`, or an edge `X -> Y`.',
        "place { leave op Conv }\n",
    ),
    "keep-integer": CodeDoc(
        "`keep` with an integer type",
        "`keep X in float32` (or float16) leaves nodes out of quantization.",
        "keep op Conv in int8\n",
    ),
}

_MERGING: dict[str, CodeDoc] = {
    "defined-twice": CodeDoc(
        "the same statement, setting or budget stands twice in one file",
        "A later file changes what an earlier one says; within one file each thing is said once. Rules (`layers`, "
        "`keep`, `place`, `allow`) add up and may repeat.",
        "target ort\ntarget ort { threads 4 }\n",
    ),
    "reserved-name": CodeDoc(
        "a `select` has a selector word as its name",
        "Words of the selector language keep their meaning.",
        "select depthwise = op Conv\n",
        cure="choose a name that selectors do not use",
    ),
    "select-cycle": CodeDoc(
        "a `select` is defined by itself",
        "Names may use names, but none may lead back to itself.",
        "select a = b or op Conv\nselect b = not a\n",
        cure="define one of them without the others",
    ),
    "name-mismatch": CodeDoc(
        "`recipe NAME` differs from its file's name",
        "The build directory and the lock file are named after the recipe, so both names are the same.",
        "recipe another_name\n",
    ),
    "extends-misplaced": CodeDoc(
        "`extends` stands below other statements",
        "`extends` stands once, under `recipe`.",
        'target ort\nextends "base.q"\n',
        setup="base.q is a recipe",
        cure="move it up, under `recipe`",
    ),
    "extends-cycle": CodeDoc(
        "a recipe extends itself, directly or through its bases",
        "Bases chain, but no file may come twice.",
        'extends "example.q"\n',
        cure="remove this `extends`, or the one that leads back here",
    ),
    "extends-depth": CodeDoc(
        "too many files extend each other",
        "A chain of bases has at most 16 files.",
        'extends "chain_0.q"\n',
        setup="chain_0.q to chain_19.q each extend the next",
        cure="join some of the files: a chain has at most 16",
    ),
    "file-missing": CodeDoc(
        "a named file does not exist",
        "Paths start from the directory of the recipe that writes them. The nearest names there are shown.",
        'extends "base.q"\n',
        cure="a path starts from the folder of the file that writes it",
    ),
    "file-unreadable": CodeDoc(
        "a named file is a directory, or may not be read",
        "A recipe is a regular file.",
        'extends "."\n',
        cure="name a recipe, a .q file that you may read",
    ),
    "file-unwritable": CodeDoc(
        "a formatted recipe cannot be written back",
        "`qdsl fmt` writes beside the recipe and renames; the directory has to allow that.",
        "recipe  example\n",
        setup="the directory may not be written",
        verb="fmt",
        cure="look at the permissions and the free space of its folder",
    ),
    "file-too-large": CodeDoc(
        "a file is too large for a recipe",
        "A recipe has at most 1 MiB and 50,000 words, signs and lines.",
        'extends "large.q"\n',
        setup="large.q has more than 1 MiB",
        cure="move what several recipes share into a base, and `extends` it",
    ),
    "file-encoding": CodeDoc(
        "a recipe is not UTF-8 text",
        "Recipes are UTF-8, with or without a byte order mark.",
        'extends "latin1.q"\n',
        setup="latin1.q is not UTF-8",
    ),
    "incomplete": CodeDoc(
        "something is missing that compiling needs",
        "A base may leave out what its users write; what is compiled needs `model`, `quantize`, a target, and a `from` "
        "in each `data`.",
        "recipe example\n",
        verb="plan",
    ),
}

CODES: dict[str, CodeDoc] = {**_SYNTAX, **_NAMES, **_MERGING}
