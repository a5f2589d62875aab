"""The ids of the audit's rules: what `allow` may name in a recipe. Each is a file of its name in
`qdsl/auditing/rules`."""

from __future__ import annotations

# In the order in which they are told, one a line.
RULES: tuple[str, ...] = (
    "foreign_quantizer",
    "unread_operator",
    "dangling_quantizer",
    "dangling_dequantizer",
    "doubled_pair",
    "redundant_pair",
    "half_quantized_op",
    "residual_not_quantized",
    "float_consumer",
    "quantized_twice",
    "output_not_quantized",
    "activation_not_fused",
    "signed_fan_out",
    "float_weights_left",
    "stored_wide",
    "island",
    "pair_at_graph_edge",
    "asked_and_absent",
    "not_asked",
)
