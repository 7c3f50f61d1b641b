"""Experts that are networks: run by torch, ONNX Runtime, MONAI, transformers or a package of their own."""
