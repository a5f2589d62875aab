"""A strict stand-in for TensorRT's Python module: control flow only, nothing of what TensorRT computes or decides.

Classes, members and enums are those of NVIDIA's own module of a version (`tensorrt_contracts.surfaces`): a name that
the version lacks raises AttributeError, read or set, and so does one that nothing here plays. What is played says what
the tests tell it to say.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from types import ModuleType
from typing import Any

from tensorrt_contracts import surfaces

from qdsl.targets.tensorrt.versions import Release


@dataclass
class Said:
    """What the module is to say, and what it was told. `failures` are the errors of builds before the one that ends
    well; `flags` and `names` are what a script set."""

    inputs: dict[str, tuple[int, ...]] = field(default_factory=lambda: {"x": (1, 3, 8, 8)})
    layers: list[tuple[str, str, str]] = field(default_factory=list)  # name, type, type of the output
    parse_errors: list[tuple[str, str, str]] = field(default_factory=list)  # node, operator, text
    failures: list[str] = field(default_factory=list)
    information: str = '{"Layers": []}'
    loads: bool = True
    other_cache: bool = False
    creation: int = -1
    flags: list[str] = field(default_factory=list)
    profiles: list[tuple[Any, ...]] = field(default_factory=list)
    built: list[dict[str, str]] = field(default_factory=list)  # by layer its forced type, build by build
    config: Any = None
    contexts: list[Any] = field(default_factory=list)
    runs: int = 0


class Strict:
    """An object of a class of the module. Fields that begin with `_` are the stand-in's own."""

    _members: frozenset[str] = frozenset()

    def __init__(self, *_: Any) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        has = "is not played here" if name in self._members else "is not in this version"
        raise AttributeError(f"{type(self).__name__}.{name} {has}")

    def __setattr__(self, name: str, value: Any) -> None:
        own = "_members" not in type(self).__dict__  # a script's class over one of the module
        if not own and not name.startswith("_") and name not in self._members:
            raise AttributeError(f"{type(self).__name__}.{name} is not in this version")
        object.__setattr__(self, name, value)


def strict_tensorrt(release: Release, said: Said) -> ModuleType:
    """The module of a version, which says what `said` says."""
    surface = surfaces()[release]
    module = ModuleType("tensorrt")
    for name, members in surface["enums"].items():
        setattr(module, name, IntEnum(name, members))
    played = _played(module, said)
    for name, members in surface["classes"].items():
        kept = {member: played[name][member] for member in members if member in played.get(name, {})}
        own = {key: value for key, value in played.get(name, {}).items() if key.startswith("_")}
        bases = (bytes,) if name == "IHostMemory" else (Strict,)
        setattr(module, name, type(name, bases, {"_members": frozenset(members), **kept, **own}))
    for name in ("Logger", "ILogger"):
        for kind in IntEnum("Severity", ("INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE"), start=0):
            setattr(getattr(module, name), kind.name, kind)
    if "init_libnvinfer_plugins" in surface["functions"]:
        module.__dict__["init_libnvinfer_plugins"] = lambda log, namespace: True
    module.__dict__["__version__"] = f"{release}.0"
    return module


def _played(trt: Any, said: Said) -> dict[str, dict[str, Any]]:
    return {
        "Builder": _builder(trt, said),
        "OnnxParser": {
            "parse_from_file": lambda self, path: not said.parse_errors,
            "num_errors": property(lambda self: len(said.parse_errors)),
            "get_error": lambda self, number: _made(trt.ParserError, _error=said.parse_errors[number], _number=number),
        },
        "ParserError": {
            "node": lambda self: self._number,
            "node_name": lambda self: self._error[0],
            "node_operator": lambda self: self._error[1],
            "desc": lambda self: self._error[2],
            "code": lambda self: trt.ErrorCode(1),
            "func": lambda self: "parseNode",
        },
        "INetworkDefinition": _network(trt, said),
        "ITensor": {"name": None, "shape": None, "dtype": None},
        "ILayer": _layer(trt),
        "IBuilderConfig": _config(trt, said),
        "ITimingCache": {"serialize": lambda self: trt.IHostMemory(b"timings")},
        "IOptimizationProfile": {"set_shape": lambda self, *words: said.profiles.append(words)},
        "Runtime": {"deserialize_cuda_engine": lambda self, blob: trt.ICudaEngine() if said.loads else None},
        "ICudaEngine": _engine(trt, said),
        "IExecutionContext": _context(said),
        "EngineInspector": {
            "execution_context": None,
            "get_engine_information": lambda self, form: said.information,
        },
    }


def _made(kind: Any, **values: Any) -> Any:
    found = kind()
    for name, value in values.items():
        object.__setattr__(found, name, value)
    return found


def _builder(trt: Any, said: Said) -> dict[str, Any]:
    def create_network(self: Any, flags: int) -> Any:
        said.creation = flags
        return trt.INetworkDefinition()

    def create_config(self: Any) -> Any:
        said.config = trt.IBuilderConfig()
        return said.config

    def build(self: Any, network: Any, config: Any) -> Any:
        said.built.append({layer.name: layer._forced for layer in network._layers() if layer._forced})
        if not said.failures:
            return trt.IHostMemory(b"an engine")
        self._log.log(trt.ILogger.ERROR, said.failures.pop(0))
        return None

    return {
        "__init__": lambda self, log: object.__setattr__(self, "_log", log),
        "create_network": create_network,
        "create_builder_config": create_config,
        "create_optimization_profile": lambda self: trt.IOptimizationProfile(),
        "build_serialized_network": build,
    }


def _network(trt: Any, said: Said) -> dict[str, Any]:
    def layers(self: Any) -> list[Any]:
        if not hasattr(self, "_kept"):
            self._kept = [_made(trt.ILayer, _told=told, _forced="") for told in said.layers]
        found: list[Any] = self._kept
        return found

    def get_input(self: Any, number: int) -> Any:
        name, shape = list(said.inputs.items())[number]
        return _made(trt.ITensor, name=name, shape=shape)

    return {
        "_layers": layers,
        "num_inputs": property(lambda self: len(said.inputs)),
        "get_input": get_input,
        "num_layers": property(lambda self: len(said.layers)),
        "get_layer": lambda self, number: self._layers()[number],
    }


def _layer(trt: Any) -> dict[str, Any]:
    def forced(self: Any, kind: Any) -> None:
        self._forced = kind.name

    def released(self: Any, *_: Any) -> None:
        self._forced = ""

    return {
        "name": property(lambda self: self._told[0]),
        "type": property(lambda self: trt.LayerType[self._told[1]]),
        "metadata": property(lambda self: f"[ONNX Layer: {self._told[0]}]"),
        "num_outputs": property(lambda self: 1),
        "get_output": lambda self, _: _made(trt.ITensor, dtype=trt.DataType[self._told[2]]),
        "precision": property(lambda self: None, forced),
        "set_output_type": lambda self, at, kind: None,
        "reset_precision": released,
        "reset_output_type": lambda self, at: None,
    }


def _config(trt: Any, said: Said) -> dict[str, Any]:
    def set_timing_cache(self: Any, cache: Any, ignore: bool) -> bool:
        used = not (said.other_cache and cache._content)
        self._cache = cache if used else None
        return used

    return {
        "set_flag": lambda self, flag: said.flags.append(flag.name),
        "set_memory_pool_limit": lambda self, pool, size: None,
        "profiling_verbosity": None,
        "builder_optimization_level": None,
        "create_timing_cache": lambda self, content: _made(trt.ITimingCache, _content=content),
        "set_timing_cache": set_timing_cache,
        "get_timing_cache": lambda self: self._cache,
        "add_optimization_profile": lambda self, profile: 0,
    }


def _engine(trt: Any, said: Said) -> dict[str, Any]:
    names = [*said.inputs, "y"]

    def context(self: Any) -> Any:
        said.contexts.append(trt.IExecutionContext())
        return said.contexts[-1]

    return {
        "create_engine_inspector": lambda self: trt.EngineInspector(),
        "create_execution_context": context,
        "num_io_tensors": property(lambda self: len(names)),
        "get_tensor_name": lambda self, number: names[number],
        "get_tensor_mode": lambda self, name: trt.TensorIOMode.OUTPUT if name == "y" else trt.TensorIOMode.INPUT,
        "get_tensor_location": lambda self, name: trt.TensorLocation.DEVICE,
        "get_tensor_shape": lambda self, name: said.inputs.get(name, (-1, 4)),
        "get_tensor_dtype": lambda self, name: trt.DataType.FLOAT,
        "get_tensor_profile_shape": lambda self, name, at: [
            tuple(size if side < 0 else side for side in said.inputs[name]) for size in (1, 2, 4)
        ],
    }


def _context(said: Said) -> dict[str, Any]:
    def shaped(self: Any, name: str, shape: tuple[int, ...]) -> bool:
        self.__dict__.setdefault("_shapes", {})[name] = shape
        return all(size <= 4 or side >= 0 for size, side in zip(shape, said.inputs[name], strict=True))

    def shape_of(self: Any, name: str) -> tuple[int, ...]:
        found: tuple[int, ...] = self.__dict__.get("_shapes", {}).get(name, said.inputs.get(name, (-1, 4)))
        return found

    def run(self: Any, stream: Any) -> bool:
        said.runs += 1
        profiler = self.__dict__.get("profiler")
        if profiler is not None:
            for layer, spent in (("conv1", 0.25), ("conv2", 0.75)):
                profiler.report_layer_time(layer, spent)
        return True

    return {
        "profiler": None,
        "set_input_shape": shaped,
        "get_tensor_shape": shape_of,
        "get_max_output_size": lambda self, name: 64,
        "set_tensor_address": lambda self, name, address: self.__dict__.setdefault("_at", {}).update({name: address}),
        "execute_async_v3": run,
    }
