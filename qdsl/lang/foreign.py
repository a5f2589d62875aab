"""Words of other tools (Ultralytics, ONNX Runtime, TensorRT, NNCF, Olive, ..), and what says the same here.

One table. A row's `words` are matched without regard to case; `write` is what stands for them: in the same block, or,
where `outside` is set, as a statement of its own. A test writes every row where it belongs and parses it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import NamedTuple

from qdsl.diag import nearest
from qdsl.lang.examples import AROUND, elsewhere
from qdsl.lang.expect import told


class Foreign(NamedTuple):
    """`where` is a block of the vocabulary, "recipe" for a recipe's own lines, or a kind of word such as "method"."""

    where: str
    words: str
    write: str
    outside: bool = False


_NORMALIZE = "rescale 1/255; mean [0.485, 0.456, 0.406]; std [0.229, 0.224, 0.225]"
_INPUT = 'input "images" { resize 224 crop; rescale 1/255 }'
_STATIC = "quantize static { weights int8 per_channel; activations uint8; calibrate minmax on calib }"
_KEEP = 'keep op Softmax, "/head/*" in float32'
_WEIGHTS_ONLY = "quantize float { weights int8 storage_only }"
_HALF = "quantize float { weights float16; activations float16 }"
_BUDGET = "evaluate classification on val { require top1 drop <= 1 pp }"
_MEASURED = "evaluate classification on val { measure top1, top5; require top1 drop <= 1 pp }"
_TIMED = "evaluate classification on val { profile latency { runs 200; warmup 20 } }"
_LEFT_OUT = (
    "exclude excluded exclude_node exclude_nodes skip skipped skip_layers ignore ignored ignored_scope ignored_scopes "
    "nodes_to_exclude op_types_to_exclude ops_to_exclude disable disabled disable_quantization blacklist denylist "
    "float_ops keep_float no_quant do_not_quantize unquantized fallback fp32 float32"
)
_CHOSEN = (
    "include nodes_to_quantize op_types_to_quantize ops_to_quantize only override overrides layer node nodes op_type"
)

_RECIPE = (
    Foreign(
        "recipe", "preprocess preprocessing transform transforms image inputs input_shape imgsz image_size", _INPUT
    ),
    Foreign(
        "recipe", "resize normalize normalise normalization", f'input "images" {{ resize 224 crop; {_NORMALIZE} }}'
    ),
    Foreign("recipe", "scale grayscale layout color letterbox", 'input "images" { color gray; rescale 1/255 }'),
    Foreign(
        "recipe",
        "calibration calib calibrator calibration_data calibration_dataset calibration_data_reader calibration_set "
        "dataset datasets dataloader data_reader representative_dataset images folder yolo coco train_data val_data",
        'data calib from images "calib/*.jpg" { take 300 seed 7 }',
    ),
    Foreign("recipe", "mask masks segmentation_masks labels label", 'data val from masks "val" { ignore 255 }'),
    Foreign(
        "recipe",
        "quantization quantisation quant quantizer quantize_static quantization_config config static ptq int8 preset "
        "quant_format post_training approach quant_mode weight_type activation_type per_channel symmetric reduce_range "
        "quantize_model",
        _STATIC,
    ),
    Foreign("recipe", "dynamic quantize_dynamic dynamic_quantization", "quantize dynamic { weights uint8 }"),
    Foreign("recipe", "weights_only weight_only weightonly int4 woq rtn gptq", _WEIGHTS_ONLY),
    Foreign("recipe", "fp16 half float16 bf16 fp16_mode convert_float_to_float16", _HALF),
    Foreign("recipe", _LEFT_OUT, _KEEP),
    Foreign(
        "recipe", _CHOSEN + " mixed_precision tensor_quant_overrides", "layers op Conv { weights int8 per_tensor }"
    ),
    Foreign("recipe", "budget budgets constraint constraints limit max_drop accuracy_drop assert tolerance", _BUDGET),
    Foreign("recipe", "benchmark bench latency timing perf", _TIMED),
    Foreign(
        "recipe",
        "metric metrics eval evaluation validate validation val test score task",
        _MEASURED,
    ),
    Foreign(
        "recipe",
        "confidence conf nms iou decode",
        "evaluate detection on val { decode yolov8; confidence 0.001; nms 0.7 }",
    ),
    Foreign(
        "recipe",
        "output outputs out export save format backend provider providers execution_provider runtime engine device "
        "hardware platform target_device onnxruntime tensorrt openvino ort deploy emit opset",
        "target ort",
    ),
    Foreign(
        "recipe",
        "smoothquant smooth_quant smooth_quant_alpha cle cross_layer_equalization equalization",
        "improve { equalize }",
    ),
    Foreign("recipe", "bias_correction fast_bias_correction correct_bias", "improve { bias_correct }"),
    Foreign("recipe", "adaround rounding", "improve { round adaptive }"),
    Foreign("recipe", "qat finetune fine_tune training", "train qat on calib { epochs 10 }"),
    Foreign("recipe", "autotune autotuning optimize optimise search", "tune latency { require sqnr drop <= 0.5 dB }"),
    Foreign("recipe", "import inherit base inherits from", 'extends "base.q"'),
    Foreign("recipe", "set variable var parameter arg default", "param bits = int8 from [int8, int4]"),
    Foreign("recipe", "let define alias group scope", "select decode = decode_head"),
    Foreign("recipe", "name project title", "recipe detector"),
    Foreign("recipe", "path onnx onnx_model network checkpoint source pt", 'model onnx "model.onnx"'),
)

_BLOCKS = (
    Foreign("input", "normalize normalise normalization normalisation norm standardize imagenet", _NORMALIZE),
    Foreign("input", "mean_value mean_values subtract sub offset", "mean [0.485, 0.456, 0.406]"),
    Foreign("input", "std_dev stddev variance var scale_values", "std [0.229, 0.224, 0.225]"),
    Foreign("input", "scale divide div multiply mul factor scaling to_tensor totensor", "rescale 1/255"),
    Foreign("input", "grayscale greyscale gray grey mono to_gray", "color gray"),
    Foreign("input", "bgr swap_rb swaprb reverse_input_channels rgb_to_bgr bgr_to_rgb", "color bgr"),
    Foreign(
        "input",
        "rgb to_rgb channel channels color_space colorspace channel_order pixel_format convert mode",
        "color rgb",
    ),
    Foreign(
        "input", "size imgsz image_size img_size width height keep_ratio pad padding letter_box", "resize 640 letterbox"
    ),
    Foreign("input", "letterbox", "resize 640 letterbox"),
    Foreign("input", "stretch squash interpolation", "resize 224 stretch"),
    Foreign("input", "center_crop centercrop centre_crop", "crop 224"),
    Foreign("input", "nhwc hwc channels_last permute transpose tensor_layout", "layout nhwc"),
    Foreign("input", "nchw chw channels_first", "layout nchw"),
    Foreign(
        "input",
        "batch batch_size dims dim dimensions input_shape dynamic_axes fixed_shape static_shape",
        "shape [1, 3, 640, 640]",
    ),
    Foreign(
        "data",
        "count num number samples n limit max first size subset_size subset max_samples num_samples nsamples fraction "
        "max_images num_images calibration_size",
        "take 300 seed 7",
    ),
    Foreign("data", "seed random shuffle random_state", "take 300 seed 7"),
    Foreign("data", "balanced stratify stratified balance_classes class_balance", "balance classes"),
    Foreign("data", "repeat upsample oversampling class_weight class_weights sample_weight", 'oversample "crack" 10'),
    Foreign("data", "names name class_names nc class category categories", 'classes ["crack", "clean"]'),
    Foreign("data", "labels target targets annotations annotation gt y", 'label "y"'),
    Foreign("data", "ignore_index ignore_label void", "ignore 255"),
    Foreign("data", "input inputs key keys field feature x", 'array "x" "images"'),
    Foreign("data", "train val valid test subset_name part set mode", "split train"),
    Foreign(
        "data",
        "path root dir directory images image folder url file glob",
        'data calib from images "calib/*.jpg"',
        True,
    ),
    Foreign("data", "mask masks mask_dir", 'data val from masks "val"', True),
    Foreign("data", "preprocess transform transforms normalize", _INPUT, True),
    Foreign(
        "quantize",
        "weight weight_type weight_bits wbits w_bits weight_dtype qweight wtype weights_dtype",
        "weights int8",
    ),
    Foreign(
        "quantize",
        "activation activation_type activation_bits abits a_bits act acts activation_dtype input_type qactivation",
        "activations uint8",
    ),
    Foreign(
        "quantize", "bit bits dtype type num_bits precision width nbits int8 uint8", "weights 8 bit; activations 8 bit"
    ),
    Foreign(
        "quantize",
        "per_channel per_axis channelwise granularity scheme qscheme axis symmetric",
        "weights int8 symmetric per_channel",
    ),
    Foreign("quantize", "per_tensor per_layer", "weights int8 per_tensor"),
    Foreign("quantize", "reduce_range narrow_range", "weights int8 reduce_range"),
    Foreign("quantize", "group_size block_size per_block per_group groupsize", "weights int4 per_block 32"),
    Foreign("quantize", "asymmetric affine zero_point", "activations uint8 affine"),
    Foreign(
        "quantize",
        "method calibration calibrate_method calibration_method calib_method calibrator observer algorithm "
        "range_estimator minmax min_max absmax dataset data on calib",
        "calibrate minmax on calib",
    ),
    Foreign("quantize", "entropy kl kl_divergence histogram", "calibrate entropy on calib"),
    Foreign("quantize", "percentile quantile", "calibrate percentile 99.99 on calib"),
    Foreign("quantize", "mse l2", "calibrate mse on calib"),
    Foreign(
        "quantize",
        "moving_average ema averaging averaging_constant calibmovingaverage mean_minmax",
        "calibrate mean_minmax on calib",
    ),
    Foreign("quantize", "activationsymmetric symmetric_activations", "activations int8 symmetric"),
    Foreign("quantize", "weightsymmetric symmetric_weights", "weights int8 symmetric"),
    Foreign("quantize", "dynamic", "quantize dynamic { weights uint8 }", True),
    Foreign("quantize", "half fp16 float16", _HALF, True),
    Foreign("quantize", "clip clamp ranges min max", "range [0, 6]"),
    Foreign("input", _LEFT_OUT, _KEEP, True),
    Foreign("evaluate", _LEFT_OUT, _KEEP, True),
    Foreign("quantize", _LEFT_OUT, _KEEP, True),
    Foreign("quantize", _CHOSEN, "layers op Conv { weights int8 per_tensor }", True),
    Foreign("quantize", "weights_only weight_only woq", _WEIGHTS_ONLY, True),
    Foreign("quantize", "smoothquant smooth_quant equalization cle", "improve { equalize }", True),
    Foreign("quantize", "bias_correction fast_bias_correction", "improve { bias_correct }", True),
    Foreign("quantize", "max_drop accuracy_drop budget max_accuracy_drop", _BUDGET, True),
    Foreign(
        "target",
        "num_threads intra_op_num_threads intra_op_threads inter_op_num_threads workers nthreads cores",
        "threads 4",
    ),
    Foreign("target", "hardware board soc chip machine", 'device "raspberry-pi-5"'),
    Foreign("target", "max_size model_size file_size size", "require size <= 3.6 MiB"),
    Foreign(
        "target", "max_latency latency speed fps budget constraint constraints limit", "require latency p50 <= 30 ms"
    ),
    Foreign("target", "max_memory memory ram_limit", "require memory <= 200 MiB"),
    Foreign("target", "fp16 half float16 precision dtype", _HALF),
    Foreign("target", "int8 io_type input_type output_type inference_input_type", "io int8"),
    Foreign("target", _LEFT_OUT, "keep op Resize in float16"),
    Foreign(
        "target",
        "input_shape dynamic_shape shape batch batch_size optimization_profile",
        'input "images" { shape [1, 3, 640, 640] }',
        True,
    ),
    Foreign(
        "evaluate",
        "metric metrics top1 accuracy precision recall f1 iou_metric score",
        "measure accuracy, precision",
    ),
    Foreign(
        "evaluate",
        "conf conf_thres conf_threshold confidence_threshold score_threshold score threshold thresh",
        "confidence 0.001",
    ),
    Foreign("evaluate", "map map50 map50_95 ap ap50 mean_average_precision", "measure map50, map50_95"),
    Foreign("evaluate", "accuracy_criterion drop_type min_score", "require precision drop <= 1 pp"),
    Foreign("evaluate", "iou iou_thres iou_threshold nms_threshold nms_iou overlap", "nms 0.7"),
    Foreign("evaluate", "head decoder postprocess postprocessing post_process box_format", "decode yolov8"),
    Foreign("evaluate", "outputs output_name", 'output "output0"'),
    Foreign(
        "evaluate",
        "max_drop drop budget accuracy_drop max_accuracy_drop tolerance limit min_accuracy assert",
        "require precision drop <= 1 pp",
    ),
    Foreign(
        "evaluate",
        "benchmark latency throughput runs warmup iterations repeat threads",
        "profile latency { runs 200; warmup 20 }",
    ),
    Foreign(
        "evaluate",
        "augment corruption corruptions robustness noise blur",
        "corrupt { noise; blur; severity [1, 3, 5] }",
    ),
    Foreign("profile", "iteration iterations iters repeat repeats loops count duration n_runs num_runs", "runs 200"),
    Foreign("profile", "warm_up warmup_runs burn_in", "warmup 20"),
    Foreign("profile", "batch_size bs", "batch 1"),
    Foreign("profile", "num_threads intra_op_num_threads workers cores", "threads 4"),
    Foreign("corrupt", "brightness contrast exposure darkness bright dark", "light"),
    Foreign("corrupt", "defocus gaussian_blur motion_blur", "blur"),
    Foreign("corrupt", "gaussian_noise shot_noise iso_noise", "noise"),
    Foreign("corrupt", "jpeg_compression compression jpg", "jpeg"),
    Foreign("corrupt", "level levels strength intensity", "severity [1, 3, 5]"),
    Foreign("improve", "cle cross_layer_equalization equalization smoothquant smooth_quant", "equalize"),
    Foreign("improve", "bias_correction fast_bias_correction correct_bias bias", "bias_correct"),
    Foreign("improve", "adaround rounding adaptive_rounding", "round adaptive"),
    Foreign("train", "lr learning_rate lr0 momentum weight_decay", "optimizer sgd lr 0.01 momentum 0.9"),
    Foreign("train", "epoch n_epochs num_epochs max_epochs", "epochs 10"),
    Foreign("train", "batch_size bs", "batch 16"),
    Foreign("train", "scheduler lr_scheduler lrs", "schedule cosine"),
    Foreign("train", "patience early_stopping", "early_stop 5"),
    Foreign("train", "val validation valid", "validate val"),
    Foreign("train", "distillation teacher kd", "distill"),
    Foreign("train", "criterion loss_fn", "loss labels"),
    Foreign("train", "freeze freeze_bn", "freeze_batchnorm"),
    Foreign("tune", "max_trials iterations rounds max_time timeout", "trials 12"),
    Foreign("tune", "sqnr max_drop tolerance quality", "require sqnr drop <= 0.5 dB"),
)

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

FIRST: tuple[Foreign, ...] = (*_RECIPE, *_BLOCKS)
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
