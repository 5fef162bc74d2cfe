# SPDX-License-Identifier: Apache-2.0
"""OpenVINO on openvino_model.xml of the folder."""

from _sentences import main


def encoder_of(folder, scheme, threads):
    import numpy
    import openvino

    how = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    model = openvino.Core().compile_model(folder / "openvino_model.xml", "CPU", how)
    names = {name for each in model.inputs for name in each.get_names()}

    def encode(rows):
        ids = numpy.array(rows, dtype=numpy.int64)
        given = {"input_ids": ids, "attention_mask": numpy.ones_like(ids), "token_type_ids": numpy.zeros_like(ids)}
        model({name: value for name, value in given.items() if name in names})

    return encode, {"openvino": openvino.__version__}


if __name__ == "__main__":
    main(encoder_of)
