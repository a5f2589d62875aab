"""Operators of ONNX in torch, by kind: each a function of one `Call`, listed in `qdsl.train.table`."""
