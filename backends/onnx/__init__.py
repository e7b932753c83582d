"""Programs as ONNX models, and ONNX Runtime to run them."""
