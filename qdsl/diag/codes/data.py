"""Diagnostic codes of datasets, preprocessing and calibration."""

from __future__ import annotations

from qdsl.diag.codes import CodeDoc

_IMAGES = 'data calib from images "photos"'
_RESIZE = "input { resize 8 stretch }"


def _doc(
    summary: str, explanation: str, data: str, setup: str, block: str = _RESIZE, verb: str = "compile", cure: str = ""
) -> CodeDoc:
    """`data` and `block` are the lines that matter; the rest of the example is the smallest recipe around them."""
    example = (
        f'recipe bad\nmodel onnx "model.onnx"\n{block}\n{data}\n'
        "quantize static { weights int8; activations uint8; calibrate minmax on calib }\ntarget ort\n"
    )
    return CodeDoc(summary, explanation, example, setup, verb, cure)


_FINDING = {
    "data-missing": _doc(
        "a file or folder of a dataset is not there",
        "Paths are taken from the folder of the recipe that wrote them; names inside a dataset from the "
        "dataset's root. A picture that a table or description lists has to be there.",
        _IMAGES,
        "no folder photos",
        cure="a path starts from the folder of the recipe that writes it",
    ),
    "data-unreadable": _doc(
        "a file or folder of a dataset cannot be read",
        "Permissions are missing, the name is not that of a regular file, or a text file is not UTF-8.",
        'data calib from images "photos/a.jpg"',
        "a pipe called photos/a.jpg",
        cure="name a regular file that you may read; text files are UTF-8",
    ),
    "data-size": _doc(
        "a file of a dataset is larger than the limit for its kind",
        "Datasets are not trusted: sizes are bounded before anything is read or allocated.",
        'data calib from npz "calib.npz"',
        "an npz whose header claims a sample of 1 TiB",
        cure="split the dataset, or take out what is so large",
    ),
    "data-empty": _doc(
        "a dataset has no samples",
        "The path is right but nothing in it is a sample of this source, or `take` or `classes` leave none.",
        _IMAGES,
        "an empty folder photos",
        cure="look at the path, and at `take`, `split` and `classes`",
    ),
    "data-escape": _doc(
        "a dataset lists a file outside its own folder",
        "A dataset's own files are not trusted: they may name files below the folder that the recipe names, and below "
        "those that `outside` allows, and no others. A file's boxes lie there, too.",
        'data calib from yolo "people.yaml" { split train }',
        "a people.yaml whose train is ../../secret",
        cure='write the folder in the recipe, as the error says: `outside "FOLDER"` in the `data` block',
    ),
    "data-name": _doc(
        "a dataset gives a class or a file a name that cannot be used",
        "Locks and reports store names: they are Unicode text without control characters and halves of surrogate "
        "pairs. A class name has at most 200 characters, a part of a path 255 bytes.",
        'data calib from coco "annotations/instances_val.json"',
        "an instances_val.json with a file name of 5000 letters",
        cure="give the file or the class a shorter, plain name",
    ),
    "data-paths": _doc(
        "a source has too many paths",
        "`folder` and `yolo` take one path, `coco` a json and an image folder, `masks` images and masks; "
        "`images` and `npz` take any number.",
        'data calib from folder ["photos", "more"]',
        "two folders",
        cure="give the source as many paths as it takes; two datasets are two `data` statements",
    ),
    "data-split": _doc(
        "a dataset has no such split, or the choice is open",
        "`split` names one of the splits that the dataset describes; it is needed where there are several.",
        'data calib from yolo "people.yaml" { split trian }',
        "a people.yaml with train and val",
        cure="name a split that the dataset has",
    ),
    "data-class": _doc(
        "a dataset has no such class",
        "`classes` names classes of the dataset: its folders, or the names in its yaml or json.",
        'data calib from folder "photos" { classes ["crak"] }',
        "a folder photos with crack and clean",
    ),
    "data-classes": _doc(
        "boxes of some classes do not count",
        "`classes [..] as [..]` says which of the model's classes are held against which of the dataset's. What is "
        "labelled as another class is neither looked for nor missed; no picture is left out.",
        'data calib from yolo "people.yaml" { split train; classes ["person"] as [0] }',
        "a people.yaml with person and dog, and one picture",
        cure="name the other classes, too, where the model knows them",
    ),
    "data-label": _doc(
        "a label cannot be read",
        "YOLO: `class x y width height`, the numbers being fractions. COCO: a `bbox` of four numbers, a known "
        "category, an image with width and height.",
        'data calib from yolo "people.yaml" { split train; classes ["person"] }',
        "a label file with three numbers",
        cure="mend the label file, or take the sample out",
    ),
    "data-yaml": _doc(
        "a dataset's yaml cannot be read",
        "YAML with `path`, `train`, `val`, `test` (paths, or lists of them), `nc` and `names` (a list, "
        "or a mapping from number to name). Values stay text; objects are never made, a `download` is never run.",
        'data calib from yolo "people.yaml" { split train }',
        "a people.yaml whose names stand in a text",
        cure="mend the file at the line that is named",
    ),
    "data-yaml-key": _doc(
        "a dataset's yaml has a key that is not read",
        "It says nothing here, or it is a slip of the pen. What trainers and exporters write (`download`, `roboflow`, "
        "`flip_idx`, ..) is passed over without a word.",
        'data calib from yolo "people.yaml" { split train }',
        "a people.yaml with the key licence",
        cure="take the key out, or spell it as it is read",
    ),
    "data-yaml-path": _doc(
        "the folder that a dataset's yaml names is not there",
        "`path` speaks of another machine; the pictures stand beside the file, and are taken from there.",
        'data calib from yolo "people.yaml" { split train }',
        "a people.yaml whose path is of another machine",
        cure="leave `path` out: locations then start from the file's own folder",
    ),
    "data-coco": _doc(
        "a COCO description cannot be read",
        "It must be JSON with `images` (id, file_name), `annotations` (image_id, category_id) and "
        "`categories` (id, name).",
        'data calib from coco "instances.json"',
        "an instances.json that is cut off",
        cure="write the file again, with `images`, `annotations` and `categories`",
    ),
    "data-csv": _doc(
        "a table of pictures cannot be read",
        "A CSV file whose first line names its columns: one holds files (`file`, `path`, `image`, ..), one labels "
        "(`label`, `class`, ..), or `columns` says which. Each file stands once, each row has all cells.",
        'data calib from csv "labels.csv"',
        "a labels.csv whose columns are called a and b",
        cure='mend the row that is named, or name the columns: `columns "FILES", "LABELS"`',
    ),
    "take-classes": _doc(
        "`take` shows only some of the classes",
        "Without a seed, `take N` is the first N in path order: in a folder per class, all of the first class. "
        "What is calibrated on them has seen nothing of the others.",
        'data calib from folder "photos" { take 2 }',
        "a folder photos with two pictures of clean and two of crack",
        cure="write `take N seed 1`, or `balance classes`",
    ),
    "video-absent": _doc(
        "the package that reads video is not installed",
        "`video` needs PyAV, which is an extra: qdsl without it stays small.",
        'data calib from video "clip.mp4"',
        "no package av",
        verb="library",
        cure="install the extra `video`",
    ),
    "video-broken": _doc(
        "a video, or a frame of it, cannot be decoded",
        "The file is cut off, holds no video, or is a container that is not read: mp4, mov, mkv, webm, avi, mpg and ts "
        "are.",
        'data calib from video "clip.mp4"',
        "a clip.mp4 of random bytes",
        verb="library",
        cure="rewrite the file: ffmpeg -i OLD NEW.mp4",
    ),
    "data-setting": _doc(
        "a setting says nothing to this source",
        "Some settings belong to some sources: `array` and `label` to npz, `ignore` to masks. Ignoring one "
        "would be silent.",
        'data calib from images "photos" { split train }',
        "a folder photos with one picture",
    ),
    "data-skipped": _doc(
        "a dataset passes over some of its files",
        "A picture without a mask, or one that shows none of the `classes` asked for, is left out; the rest is used.",
        'data calib from masks "road"',
        "a folder road with two images and one mask",
        cure="add what is missing, or leave these files out of the dataset",
    ),
    "data-unmatched": _doc(
        "a dataset holds labels or masks of pictures that are not in it",
        "Label files without a picture, annotations of images that are not listed, masks without a picture of their "
        "name, and pictures beside the folders of classes are left out; the rest is used.",
        'data calib from masks "road"',
        "a folder road with one image and two masks",
        cure="add the pictures, or take out what belongs to none",
    ),
    "take-short": _doc(
        "a dataset has fewer samples than `take` asks for",
        "All of them are used. Lower the number, or add samples.",
        'data calib from images "photos" { take 300 }',
        "a folder photos with one picture",
    ),
    "data-duplicates": _doc(
        "files of a dataset hold the same bytes, or its samples the same values",
        "Such a sample counts more than once without having been asked for; in a test set it flatters the result. Rows "
        "of an npz are compared while they are calibrated, and so are all other samples: where these are all equal, it "
        "is told, whatever they come from.",
        'data calib from folder "photos"',
        "a folder photos with crack and clean",
        cure="take the copies out",
    ),
    "sampling-value": _doc(
        "a number of `oversample` or `ratio` makes no sense",
        "Shares sum to 100 %, factors are whole numbers from 1 on, and each class is named once. A minimum and a "
        "maximum do not depend on repeats; the other calibration methods do.",
        'data calib from folder "photos" { ratio "crack" 50 %, "clean" 40 % }',
        "a folder photos with crack and clean",
        cure="let the shares sum to 100 %, use whole factors, and name each class once",
    ),
    "sampling-no-effect": _doc(
        "`oversample`, `ratio` or `balance` changes nothing",
        "No picture shows the class, all of them get the same factor, the classes have these shares already, or only "
        "repeats are added for `calibrate minmax`, which repeats cannot move.",
        'data calib from folder "photos" { oversample "crack" 3, "clean" 3 }',
        "a folder photos with crack and clean, of different pictures",
        cure="leave it out",
    ),
    "sampling-empty": _doc(
        "`ratio` or `balance` asks for a class that has no sample",
        "A picture belongs to one class: of those asked for, the one that the fewest pictures show; without labels it "
        "is `background`. `balance` goes on with the other classes unless `classes` names the empty one.",
        'data calib from folder "photos" { ratio "crack" 50 %, "background" 50 % }',
        "a folder photos with crack and clean",
        cure="add samples of the class, or leave it out",
    ),
}

_READING = {
    "image-broken": _doc(
        "a picture cannot be decoded",
        "The file is empty, cut off, or not a JPEG, PNG, BMP, WebP, TIFF or PPM picture.",
        _IMAGES,
        "a folder photos with a cut-off picture",
    ),
    "image-bomb": _doc(
        "a picture claims more pixels than the limit",
        "A small file can claim a picture of many gigabytes; the claim is checked before anything is decoded.",
        _IMAGES,
        "a folder photos with a picture of 65000 x 65000",
    ),
    "data-non-finite": _doc(
        "an array of a dataset holds NaN or infinity",
        "No scale can be computed from such a value. The file and the row are named.",
        'data calib from npz "calib.npz"',
        "an npz with a NaN",
        "",
    ),
    "npz-broken": _doc(
        "an npz file cannot be read",
        "It is no zip file, it is cut off, or an array's header disagrees with its size.",
        'data calib from npz "calib.npz"',
        "a calib.npz of random bytes",
        cure="write the file again with numpy.savez",
    ),
    "npz-array": _doc(
        "the arrays of an npz file do not fit the model",
        "Every input of the model needs one array of plain numbers, row by row; all have the same number of rows. "
        "Objects are refused because reading them can run code.",
        'data calib from npz "calib.npz"',
        "an npz with an array of objects",
        cure="save one array of plain numbers per input, one sample per row",
    ),
    "input-shape": _doc(
        "the preprocessed samples do not have the model input's shape",
        "The last size, the colours and the layout decide the shape; the help says which step to change.",
        _IMAGES,
        "a model that takes [1, 3, 8, 8] and a folder photos",
        "input { resize 16 stretch }",
        cure="change the steps of the `input` block, or the arrays, to the shape that the model takes",
    ),
    "input-crop": _doc(
        "a picture is smaller than the crop",
        "`crop` cuts from the middle and never pads; scale first.",
        _IMAGES,
        "a folder photos with a picture of 8 x 6",
        "input { crop 8 }",
    ),
    "input-channels": _doc(
        "`mean`, `std` or `rescale` has a wrong number of values",
        "One value for all channels, or one for each.",
        _IMAGES,
        "a folder photos with one picture",
        "input { resize 8 stretch; mean [0.5, 0.5] }",
        cure="write one number for all channels, or one for each",
    ),
    "input-dtype": _doc(
        "the samples cannot become the model input's type",
        "Floats do not silently become integers, and integers must fit.",
        _IMAGES,
        "a model that takes uint8 and a folder photos",
        "input { resize 8 stretch; rescale 1/255 }",
        cure="store arrays of the type that the model takes",
    ),
    "input-not-picture": _doc(
        "a step for pictures stands on an array",
        "npz arrays of type uint8 and shape [samples, height, width, 3 or 1] are pictures; others take "
        "arithmetic only.",
        'data calib from npz "calib.npz"',
        "an npz with a float array",
    ),
    "input-unknown": _doc(
        "an `input` block names no input of the model",
        "The block's name is that of a graph input; a model with one input needs no name.",
        _IMAGES,
        "a folder photos with one picture",
        'input "imagse" { resize 8 stretch }',
    ),
    "input-missing": _doc(
        "nothing says what goes into one of the model's inputs",
        "A picture source fills each input by its own `input` block; an npz by its arrays.",
        _IMAGES,
        "a model with two inputs and a folder photos",
        'input "a" { resize 8 stretch }',
    ),
}

_CALIBRATING = {
    "calibration-tensor": _doc(
        "a tensor to calibrate is not in the model",
        "Tensors are named as in the canonical graph; constants are not calibrated.",
        _IMAGES,
        "a call of the library with a tensor the model does not have",
        verb="library",
        cure="name a tensor as `qdsl plan` shows it",
    ),
    "calibration-load": _doc(
        "ONNX Runtime refuses the float model",
        "The reason is its own: an operator or type that its CPU provider does not have, or a broken model.",
        _IMAGES,
        "a model with an operator nobody has",
        cure="try the float model in ONNX Runtime: what it refuses there can neither be calibrated nor compared",
    ),
    "calibration-run": _doc(
        "the float model does not run on a sample",
        "The reason is ONNX Runtime's own; the sample is named.",
        _IMAGES,
        "a model that reshapes its input to an impossible shape",
        cure="run the float model on this sample in ONNX Runtime, and compare its inputs with the data",
    ),
    "calibration-non-finite": _doc(
        "a tensor holds NaN or infinity for a sample",
        "The first such tensor of the first such sample, in dataset order, is named with the node that writes it.",
        _IMAGES,
        "a model that takes the logarithm of its input",
    ),
    "calibration-parts": _doc(
        "parts of a calibration do not make a whole",
        "Shards merge when they are of the same model, requests and dataset, and no sample is in two of them; ranges "
        "need all samples.",
        _IMAGES,
        "a call of the library that merges a shard with itself",
        verb="library",
        cure="observe every shard once, with the same model, requests and dataset",
    ),
    "calibration-ranges": _doc(
        "a text is not a file of calibrated ranges",
        "Ranges are JSON: samples, settled_after, and [low, high, method] for each tensor, finite and in order.",
        _IMAGES,
        "a call of the library with another text",
        verb="library",
        cure="calibrate again",
    ),
}

CODES: dict[str, CodeDoc] = {**_FINDING, **_READING, **_CALIBRATING}
