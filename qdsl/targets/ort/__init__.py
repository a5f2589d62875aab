"""ONNX Runtime, CPU provider: a QDQ model that its optimizer turns into integer kernels."""
