# SPDX-License-Identifier: Apache-2.0
"""Names and arguments of before work, with one DeprecationWarning at the caller's line; None is "not given"; what a bug report says."""

import inspect
import warnings

import numpy as np
import pytest

import octavo

X = np.linspace(-3, 3, 32, dtype=np.float32).reshape(2, 16)


def layer_of_before():
    pytest.importorskip("torch")
    import octavo.torch.nn as nn

    return nn.Linear8bitLt, nn.LLMInt8Linear


OLD = {
    "finite": (lambda: (octavo.quantize(X, finite=True).data.tolist(), octavo.quantize(X, non_finite="error").data.tolist()),
               'quantize: finite=True is non_finite="error" now'),
    "Linear8bitLt": (layer_of_before, "octavo.torch.nn.Linear8bitLt is octavo.torch.nn.LLMInt8Linear now"),
}


@pytest.mark.parametrize("old", OLD)
def test_what_has_another_name_still_works(old):
    call, said = OLD[old]
    with pytest.warns(DeprecationWarning, match=said) as told:
        first, second = call()
    assert first == second and {each.filename for each in told if issubclass(each.category, DeprecationWarning)} == {__file__}


MODULES = (octavo.checkpoints, octavo.gradients, octavo.llm_int8, octavo.machine, octavo.moe, octavo.quantizers, octavo.sharding,
           octavo.types)


def test_the_top_level_is_fifteen_names_and_the_others_are_in_one_module_each():
    assert len(octavo.__all__) == 15 and all(hasattr(octavo, name) for name in octavo.__all__)
    names = [name for module in MODULES for name in module.__all__]
    assert len(names) == len(set(names)) and not set(names) & set(octavo.__all__)
    for module in MODULES:
        for name in module.__all__:
            with pytest.warns(DeprecationWarning, match=rf"octavo\.{name} is {module.__name__}\.{name} now") as told:
                assert getattr(octavo, name) is getattr(module, name)
            assert [each.filename for each in told] == [__file__]


def test_a_name_that_never_was_is_an_attribute_error():
    pytest.importorskip("torch")
    import octavo.torch.nn as nn

    for module in (octavo, nn, octavo.types):
        with pytest.raises(AttributeError, match="has no attribute 'quantize_everything'"):
            module.quantize_everything


def test_none_means_not_given_and_zero_still_does():
    """Every number whose 0 means "not given" is None by default."""
    packed = dict(weight=octavo.quantize(X.T, side="b", granularity="channel"), activation="int8", llm_int8=True)
    cases = [(octavo.quantize, dict(x=X), "qmax"), (octavo.quantizers.compute_scale, dict(x=X), "qmax"), (octavo.pack, packed, "qmax"),
             (octavo.pack, packed, "static_scale"), (octavo.pack, packed, "outlier_threshold"),
             (octavo.moe.pack_experts, dict(weight=X[None], activation="int8"), "static_scale")]
    for function, arguments, name in cases:
        assert inspect.signature(function).parameters[name].default is None
        given = [function(**arguments, **{name: value}) for value in (None, 0.0)] + [function(**arguments)]
        shown = [repr(made) + str(getattr(made, "activation", None)) for made in given]
        assert len(set(shown)) == 1, (function, name)
    for function in (octavo.quantize_file, octavo.checkpoints.estimate_quantization, octavo.checkpoints.convert_file, octavo.checkpoints.dequantize_file):
        assert inspect.signature(function).parameters["threads"].default is None


def test_what_a_bug_report_says(capsys):
    found = octavo.info()
    assert found["version"] == octavo.__version__ and found["cpu"] == octavo.machine.cpu_name() and found["features"] == octavo.machine.cpu_features()
    assert set(found["backends"]) == {backend.name for backend in octavo.machine.backends()}
    assert found["packages"]["numpy"] == np.__version__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        octavo.show_versions()
    printed = capsys.readouterr().out
    for word in (octavo.__version__, octavo.machine.cpu_name(), f"numpy {np.__version__}", *found["backends"]):
        assert word in printed
