"""The float baselines: as near to float64 as their codes allow, and usable in a network."""

from fractions import Fraction

import numpy as np
import pytest

from vitrtl.sw import reference
from vitrtl.sw.catalog import SOFTWARE, UNITS, methods_of, unit
from vitrtl.sw.executor import Executor
from vitrtl.sw.ptq.quantize import export, resolve_methods

RNG = np.random.default_rng(1)
ROWS = np.clip(np.rint(RNG.normal(0, 40, (50, 65))), -128, 127).astype(np.int64)


def affine(entry, length):
    """Return gamma and beta where the operator has them."""
    if entry.operator != "layernorm":
        return {}
    return {"gamma": RNG.normal(1, 0.3, length).tolist(), "beta": RNG.normal(0, 1, length).tolist()}


@pytest.mark.parametrize("scale", ["0.01", "0.05", "0.25", "3"])
@pytest.mark.parametrize("name", SOFTWARE)
def test_a_baseline_is_float64_to_half_a_code(name, scale):
    entry = unit(name)
    golden, spec, parameters = entry.golden, entry.golden.spec(), affine(entry, 65)
    constants, out_scale = golden.export(spec, Fraction(scale), **parameters)
    found = golden.function(ROWS, spec, constants)
    assert found.dtype == np.int64 and found.max() <= spec.out_format.hi
    wanted = reference.REFERENCES[entry.operator](
        ROWS * float(scale), **{k: np.array(v) for k, v in parameters.items()})
    error = np.abs(found * float(out_scale) - wanted).max()
    # The steps of scale, gamma and beta add a little to the rounding of the result.
    assert error <= float(out_scale) / 2 + 2e-6 * np.abs(wanted).max()
    assert float(out_scale) <= 2.0**-14


def test_baselines_have_no_gates():
    for operator in ("softmax", "gelu", "layernorm"):
        assert f"{operator}_float" not in UNITS
        names = [entry.name for entry in methods_of(operator, software=True)]
        assert names == [*(entry.name for entry in methods_of(operator)), f"{operator}_float"]
    with pytest.raises(ValueError, match="^unit must be one of .*, not 'gelu_float'$"):
        unit("gelu_float", gates=True)


def test_a_network_runs_with_float_layers_between_its_integers(float_model, calibration, digits):
    methods = resolve_methods(float_model, {op: f"{op}_float" for op in
                                            ("softmax", "gelu", "layernorm")}, {})
    network = export(calibration, methods)
    test = digits.test[:60]
    predicted = Executor(network).run(digits.pixels[test]).argmax(axis=-1)
    assert (predicted == digits.labels[test]).mean() >= 0.95
