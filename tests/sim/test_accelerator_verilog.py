"""The accelerator's Verilog as `vitrtl verilog --accelerator` writes it."""

import json

import pytest

from vitrtl.hw.device import DEVICES
from vitrtl.sim.lint import lint
from vitrtl.sw.accelerator.registers import REGISTERS
from vitrtl.sw.accelerator.spec import AcceleratorSpec, EngineSpec
from vitrtl.sw.catalog import unit
from vitrtl.sw.cli import main
from vitrtl.sw.golden.requantize import RequantizeSpec

pytestmark = pytest.mark.sim


def engine(name, lanes):
    spec = unit(name, gates=True).golden.spec(lanes=lanes)
    return EngineSpec(unit=name, spec=spec, requantize=None if spec.merges_requantizer
                      else RequantizeSpec(lanes=lanes))


SPEC = AcceleratorSpec(size=8, longest_pass=16, requantize_lanes=2, banks=2, bank_words=64,
                       residual_words=48, weight_words=64, constant_groups=2, engines=(
                           engine("softmax_iexp", 1), engine("gelu_lut", 2),
                           engine("layernorm_newton", 1)))


@pytest.mark.parametrize("device", DEVICES)
def test_an_accelerator_is_written_and_passes_the_strictest_lint(tmp_path, capsys, device):
    (tmp_path / "spec.json").write_text(json.dumps({"spec": SPEC.asdict()}))
    command = ["verilog", "--accelerator", str(tmp_path / "spec.json"), "--device", device,
               "--out", str(tmp_path / "out")]
    assert main(command) == 0
    text = (tmp_path / "out" / "accelerator.v").read_text()
    assert text.startswith("// accelerator: ") and f"// Spec {SPEC.digest}: " in text
    assert lint(text, "accelerator") == []
    assert all(register.upper() in (tmp_path / "out" / name).read_text()
               for name in ("registers.md", "vitrtl_accelerator.h") for register in REGISTERS)
    assert capsys.readouterr().out.count("wrote ") == 3


@pytest.mark.parametrize("content, message", [
    ("[]", "must hold an object, the spec of an accelerator"),
    ('{"size": 9}', "is not the spec of an accelerator: size must be 8, 16 or 32, not 9"),
    ('{"engines": [{"unit": "gelu_lut", "spec": {}}]}', "an engine must have 'requantize'"),
])
def test_a_spec_that_cannot_be_is_refused(tmp_path, capsys, content, message):
    (tmp_path / "spec.json").write_text(content)
    assert main(["verilog", "--accelerator", str(tmp_path / "spec.json"),
                 "--out", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err and not (tmp_path / "out").exists()
