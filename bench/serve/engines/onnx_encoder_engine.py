# SPDX-License-Identifier: Apache-2.0
"""ONNX Runtime on model.onnx of the folder."""

from _sentences import main


def encoder_of(folder, scheme, threads):
    import numpy
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(folder / "model.onnx", options, providers=["CPUExecutionProvider"])

    def encode(rows):
        ids = numpy.array(rows, dtype=numpy.int64)
        session.run(None, {"input_ids": ids, "attention_mask": numpy.ones_like(ids)})

    return encode, {"onnxruntime": onnxruntime.__version__}


if __name__ == "__main__":
    main(encoder_of)
