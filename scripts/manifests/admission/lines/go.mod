module onnx-function/lines

go 1.26.0
