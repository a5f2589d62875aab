"""Reports of ST Edge AI Core in layouts of other versions, by hand; `tests/data/stedgeai` has real ones of 4.0."""

from __future__ import annotations

from typing import Any

Plain = dict[str, Any]

# `validate` of X-CUBE-AI 8.1: its header, two lines for each input, sizes by section, the evaluation.
VALIDATE_8 = """
Neural Network Tools for STM32 family v1.7.0 (stm.ai v8.1.0-19520)
Created date       : 2023-06-01 10:11:12
Parameters         : validate --name network -m model.onnx --type onnx --mode stm32

Exec/report summary (validate)
------------------------------------------------------------------------------------------------------------------------
model file         : model.onnx
type               : onnx
c_name             : network
target/series      : stm32h7
model_hash         : 0x0123456789abcdef0123456789abcdef
model_fmt          : ss/sa per channel
------------------------------------------------------------------------------------------------------------------------
input 1/1          : 'x'
                     27648 items, 27.00 KiB, ai_u8, s=0.00392157, zp=0, (1,96,96,3)
macc               : 4,013
weights (ro)       : 8,472 B (8.27 KiB) (1 segment)
activations (rw)   : 90,340 B (88.22 KiB) (1 segment)
ram (total)        : 117,998 B (115.23 KiB) = 90,340 + 27,648 + 10

Number of operations per c-layer
------- ------ ----------------- ------- --------------
c_id    m_id   name (type)           #op           type
------- ------ ----------------- ------- --------------
0       2      conv_0 (Conv2D)     3,333   smul_s8_s8
1       3      act_1 (NL)            600   op_f32_f32
2       4      to_float (NL)          80   op_s8_f32
------- ------ ----------------- ------- --------------
total                              4,013

Complexity report (model)
------ --------- ------------------ ------------------- ------------------- ------
m_id   name      c_macc             c_rom               c_duration          c_id
------ --------- ------------------ ------------------- ------------------- ------
2      conv_0    ||||||||  83.0%    ||||||||||  99.0%   |||||||||  90.5%    [0]
3      act_1     ||        14.9%    |            1.0%   |           8.5%    [1]
4      to_float  |          2.0%    |            0.0%   |           1.0%    [2]
------ --------- ------------------ ------------------- ------------------- ------

ST.AI Profiling results v1.2 - "network"
------------------------------------------------------------
nb sample(s)   :   10
duration       :   1.500 ms by sample (1.499/1.502/0.001)
CPU cycles     :   420,000
cycles/MACC    :   104.66
device         :   STM32H7A3 @280/280MHz
------------------------------------------------------------

 Requested memory size by section - "stm32h7" target
 ------------------- -------- -------- ------- --------
 module                  text   rodata    data      bss
 ------------------- -------- -------- ------- --------
 RT total**            25,000   50,637  19,340        0
 ------------------- -------- -------- ------- --------
 weights                    0    8,472       0        0
 activations                0        0       0   90,340
 ------------------- -------- -------- ------- --------
 TOTAL                 25,476   59,109  19,340   90,340
 ------------------- -------- -------- ------- --------

Evaluation report (summary)
----------------------------------------------------------------------------------------------------------------
Output                acc       rmse          mae           l2r           tensor
----------------------------------------------------------------------------------------------------------------
STM32 c-model #1      90.00%    0.086785592   0.030000000   0.120000000   'y', 10 x int8(1x5), m_id=[4]
original model #1     n.a.      n.a.          n.a.          n.a.          'y', 10 x int8(1x5), m_id=[4]
X-cross #1            100.00%   0.001000000   0.000500000   0.002000000   'y', 10 x int8(1x5), m_id=[4]
----------------------------------------------------------------------------------------------------------------
"""

FLAT: Plain = {
    "report_version": "1.1",
    "cli_version_str": "Neural Network Tools for STM32 family v1.7.0 (stm.ai v8.0.1-19451)",
    "cli_parameters": "analyze -m model.onnx",
    "rom_n_macc": 4013,
    "rom_size": 8472,
    "ram_size": [90000, 340],
    "ram_io_size": [27648, 10],
    "layers": [],
    "val_error": None,
    "val_metrics": [{"acc": 90.0, "rmse": 0.1, "mae": 0.05, "l2r": 0.2, "desc": "X-cross #1", "ts_name": "y"}],
}


def buffer(id: int, start: int, size: int, first: int, last: int, **more: Any) -> Plain:
    """One of activations of int8, `size` bytes from `start` on, in use from epoch `first` to `last`."""
    return {
        "id": id,
        "name": f"buffer_{id}",
        "size_bytes": size,
        "format": "STAI_FORMAT_S8",
        "is_param": False,
        "mpool_id": 0,
        "offset_start": start,
        "epochs": {"start": first, "end": last},
        **more,
    }


def c_info(buffers: list[Plain], **more: Any) -> Plain:
    """`network_c_info.json` as 9.0 writes it: with a runtime's sizes, accesses to memory and estimates of power. Node 1
    reads buffer 1 and writes buffer 2, node 2 reads that and writes buffer 3 as floats."""
    nodes = [
        {"name": "conv", "type": "Conv2D", "macc": 1000, "sw_functions": ["forward_lite_conv2d_sssa8_ch"],
         "description": "10004/Conv2D", "inputs": [1], "outputs": [2]},
        {"name": "soft", "type": "Nonlinearity", "macc": 30, "sw_functions": ["forward_lite_sm_if32of32"],
         "inputs": [2], "outputs": [3]},
    ]  # fmt: skip
    return {
        "json_schema_version": "2.0",
        "environment": {
            "tools": [
                {
                    "name": "ST.EdgeAI.Core",
                    "version": "9.0.0-19802",
                    "arguments": "validate --mode target",
                    "input_model": {"model_files": [{"name": "model.onnx", "signature": "0xabc"}]},
                }
            ]
        },
        "memory_footprint": {
            "activations": 300,
            "weights": 5000,
            "io": [10, 20],
            "kernel_flash": 20000,
            "kernel_ram": 1500,
            "toolchain_flash": 700,
            "toolchain_ram": None,
            "series": "stm32h7",
        },
        "memory_pools": [{"id": 0, "used_size_bytes": 300}],
        "memory_accesses": {"read": 5},
        "power_estimates": {"cpu": {"uJ": 12.5}, "note": "estimated"},
        "buffers": buffers,
        "graphs": [{"nodes": nodes, "exec_time": {"duration_ms": 2.0, "cycles": 560000, "device": "STM32H7"}}],
        **more,
    }
