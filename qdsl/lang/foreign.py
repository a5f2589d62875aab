"""Words of other tools (Ultralytics, ONNX Runtime, TensorRT, NNCF, Olive, ..), and what says the same here.

Those that open a line stand in `foreign_first`, those that stand in place of another word here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache

from qdsl.diag import nearest
from qdsl.lang.examples import AROUND, elsewhere
from qdsl.lang.expect import told
from qdsl.lang.foreign_first import FIRST, Foreign

__all__ = ["FIRST", "WITHIN", "Foreign", "cure", "cure_within", "cures_for"]

# One word in place of another: what `write` holds is the word itself.
_WORDS = (
    Foreign("format", "pytorch pt pth torchscript", "torch"),
    Foreign("format", "tf keras saved_model savedmodel", "tensorflow"),
    Foreign("format", "lite litert tensorflow_lite", "tflite"),
    Foreign("format", "ort onnxruntime float onnx_model file path", "onnx"),
    Foreign("source", "image img imgs picture pictures jpg jpeg png glob files directory dir path", "images"),
    Foreign("source", "imagefolder image_folder imagenet folders class_folders directories classification", "folder"),
    Foreign("source", "ultralytics yaml yolov5 yolov8 yolo11 darknet roboflow data_yaml detection", "yolo"),
    Foreign("source", "coco_json coco2017 coco128 mscoco json", "coco"),
    Foreign("source", "mask segmentation labels cityscapes voc", "masks"),
    Foreign("source", "npy numpy array arrays tensor tensors np", "npz"),
    Foreign("method", "min_max max absmax abs_max max_abs moving_average_minmax", "minmax"),
    Foreign("method", "average mean ema moving_average mean_min_max averaging", "mean_minmax"),
    Foreign("method", "kl kl_divergence kld histogram entropy_2 entropycalibrator entropy_calibration_2", "entropy"),
    Foreign("method", "quantile percentil p99 percentile_99", "percentile 99.99"),
    Foreign("method", "l2 mean_squared_error tf_enhanced sqnr hist_mse", "mse"),
    Foreign("mode", "ptq int8 post_training full uint8 static_int8 integer qdq", "static"),
    Foreign("mode", "dynamic_int8 quantize_dynamic runtime", "dynamic"),
    Foreign("mode", "weights_only weight_only weightonly woq int4 weights", "float { weights int8 storage_only }"),
    Foreign("mode", "fp16 half float16 float_16 bf16", "float { weights float16; activations float16 }"),
    Foreign("target", "onnxruntime onnx_runtime ort_cpu cpu onnx ortcpu onnxrt", "ort"),
    Foreign("target", "trt tensor_rt nvidia jetson", "tensorrt"),
    Foreign("target", "stm32cube stm32cubeai stedgeai cubeai cortex_m", "stm32"),
    Foreign("task", "classify classifier image_classification accuracy cls", "classification"),
    Foreign("task", "detect detector object_detection obb det boxes map", "detection"),
    Foreign("task", "segment semantic_segmentation seg masks semseg", "segmentation"),
    Foreign("task", "compare similarity sqnr cosine error regression embedding", "fidelity"),
    Foreign("metric", "acc acc1 top_1 top1_accuracy", "top1"),
    Foreign("metric", "acc5 top_5 top5_accuracy", "top5"),
    Foreign("metric", "map ap map_50_95 map5095 ap50_95 coco_map mean_average_precision", "map50_95"),
    Foreign("metric", "map_50 ap50 ap_50", "map50"),
    Foreign("metric", "mean_iou jaccard", "miou"),
    Foreign("metric", "f1_score fscore f_score", "f1"),
    Foreign("metric", "snr psnr", "sqnr"),
    Foreign("metric", "cosine_similarity cos cos_sim", "cosine"),
    Foreign("metric", "speed time duration inference_time latency_ms", "latency"),
    Foreign("metric", "fps ips qps samples_per_second", "throughput"),
    Foreign("metric", "model_size file_size bytes disk", "size"),
    Foreign("metric", "flops gflops ops mac", "macs"),
    Foreign("type", "fp32 float f32 single", "float32"),
    Foreign("type", "fp16 half f16 bf16 bfloat16", "float16"),
    Foreign("type", "s8 i8 qint8 int8_t char", "int8"),
    Foreign("type", "u8 quint8 uint8_t byte", "uint8"),
    Foreign("type", "s16 i16 qint16 int16_t", "int16"),
    Foreign("type", "s4 i4 qint4 nf4", "int4"),
    Foreign("scheme", "asymmetric asym zero_point", "affine"),
    Foreign("scheme", "sym", "symmetric"),
    Foreign("scheme", "per_axis channelwise channel_wise channel perchannel", "per_channel"),
    Foreign("scheme", "per_layer tensorwise layerwise pertensor tensor", "per_tensor"),
    Foreign("scheme", "per_group group groupwise group_size block_size block blockwise", "per_block 32"),
    Foreign("scheme", "narrow_range 7bit", "reduce_range"),
    Foreign("resize", "pad letter_box keep_ratio keep_aspect fit", "letterbox"),
    Foreign("resize", "squash exact fill distort bilinear linear", "stretch"),
    Foreign("resize", "center_crop centercrop cover", "crop"),
    Foreign("color", "grayscale greyscale grey mono l", "gray"),
    Foreign("layout", "chw channels_first", "nchw"),
    Foreign(
        "cpu", "haswell broadwell skylake zen zen1 zen2 zen3 sse avx avx2 avx512 x64 amd64 x86_64 intel amd", "x86"
    ),
    Foreign("cpu", "vnni avx_vnni avx512_vnni amx cascadelake icelake sapphirerapids zen4 zen5", "x86_vnni"),
    Foreign(
        "cpu", "arm64 aarch64 armv8 neon rpi3 rpi4 pi3 pi4 raspberry_pi_3 raspberry_pi_4 cortex_a53 cortex_a72", "arm"
    ),
    Foreign("cpu", "dotprod asimddp rpi5 pi5 raspberry_pi_5 cortex_a76 jetson orin graviton", "arm_dotprod"),
    Foreign("cpu", "all every both", "any"),
    Foreign("layout", "hwc channels_last", "nhwc"),
    Foreign("decode", "yolo ultralytics yolov9 yolov10 yolov11 yolo11 yolov12 yolo12 v8", "yolov8"),
    Foreign("decode", "xyxy none raw", "boxes"),
    Foreign("selector", "depthwise_conv dw dwconv depthwise_convolution", "depthwise"),
    Foreign("selector", "pointwise_conv pw 1x1", "pointwise"),
    Foreign("selector", "residual residuals skip shortcut residual_connection", "residual_add"),
    Foreign("selector", "swish", "silu"),
    Foreign("selector", "layernorm layer_normalization", "layer_norm"),
    Foreign("selector", "head detect detection_head output outputs postprocessing decoder", "decode_head"),
    Foreign("selector", "everything any nodes layers model", "all"),
    Foreign("selector", "name node layer names named", '"/model.22/*"'),
    Foreign("selector", "last_layer", "last 1 of op Conv"),
    Foreign("selector", "first_layer input stem", "first 1 of op Conv"),
    Foreign("selector", "convolution conv conv2d", "op Conv"),
    Foreign("selector", "linear fc dense fully_connected", "op [Gemm, MatMul]"),
    *(
        Foreign("selector", name.lower(), f"op {name}")
        for name in (
            *(
                "Add",
                "AveragePool",
                "BatchNormalization",
                "Clip",
                "Concat",
                "Flatten",
                "Gemm",
                "GlobalAveragePool",
                "MatMul",
            ),
            *("MaxPool", "Mul", "Relu", "Reshape", "Resize", "Sigmoid", "Softmax", "Split", "Sub", "Transpose"),
        )
    ),
)

WITHIN: tuple[Foreign, ...] = _WORDS


def cure(block: str, word: str) -> str:
    """What to write for a first word that `block` does not know; "" when the word means nothing to us."""
    row = _index(FIRST).get(("quantize" if block == "layers" else block, word.lower()))
    return "" if row is None else f"{'write, outside this block,' if row.outside else 'write'} `{row.write}`"


def cure_within(kind: str, word: str) -> str:
    """What to write for a word inside a statement that is no such `kind` ("method", "source", ..); "" for none."""
    row = _index(WITHIN).get((kind, word.lower()))
    return "" if row is None else f"write `{row.write}`"


def cures_for(block: str, word: str, known: Iterable[str]) -> list[str]:
    """Cures for a first word that stands in `block` ("recipe" for a recipe's own lines) and is not one of `known`."""
    pool = sorted(set(known))
    foreign, places = cure(block, word), elsewhere(word, block)
    if foreign:
        cures = [foreign]
    elif places:
        cures = [f"`{word}` stands elsewhere: `{places[0]}`"]
    elif other := _in_other_blocks(word):
        cures = [f"write{', outside this block,' if block != 'recipe' else ''} `{other[0]}`"]
    else:
        near = nearest(word, pool, 1 if block == "recipe" else 2)  # a statement is read on as the nearest
        cures = [f"did you mean {told([f'`{name}`' for name in near], 'or')}?"] if near else []
    if block == "recipe" and cures:
        return cures
    holds = "a recipe's statements are" if block == "recipe" else f"`{block}` takes"
    return [*cures, f"{holds} {told([f'`{name}`' for name in pool], 'and', len(pool))}"]


def _in_other_blocks(word: str) -> tuple[str, ...]:
    """Statements with what stands for a word that means something in another block."""
    found = []
    for where in dict.fromkeys(row.where for row in FIRST):
        row = _index(FIRST).get((where, word.lower()))
        if row is not None:
            found.append(row.write if row.outside or where == "recipe" else AROUND[where].format(row.write))
    return tuple(found)


@cache
def _index(table: tuple[Foreign, ...]) -> Mapping[tuple[str, str], Foreign]:
    return {(row.where, word): row for row in reversed(table) for word in row.words.split()}
