"""Words of other tools that open a line: what says the same here, by the block in which they stand.

A row's `words` are matched without regard to case; `write` is what stands for them: in the same block, or, where
`outside` is set, as a statement of its own. A test writes every row where it belongs and parses it.
"""

from __future__ import annotations

from typing import NamedTuple


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
    Foreign("quantize", "cache calib_cache calibration_cache calibration_table", 'calibrate from cache "calib.cache"'),
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
    Foreign("target", "high_precision_dtype strongly_typed stronglytyped", "high_precision float16"),
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

FIRST: tuple[Foreign, ...] = (*_RECIPE, *_BLOCKS)
