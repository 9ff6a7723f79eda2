"""The gates of every unit in Verilator, and proof that the bench sees what is wrong."""

import dataclasses
import json
import re
import signal
import subprocess
import sys
import time
from xml.etree import ElementTree

import numpy as np
import pytest

from vitrtl.hw.device import DEVICES
from vitrtl.hw.verilog import generate
from vitrtl.sim.job import Job
from vitrtl.sim.lint import lint
from vitrtl.sim.suite import run_suite
from vitrtl.sw.catalog import UNITS, unit
from vitrtl.sw.cli import main
from vitrtl.sw.vectors import load, save

pytestmark = pytest.mark.sim

KEYS = {"unit", "method", "vectors", "values", "mismatches", "cycles", "elements_per_cycle",
        "latency", "device", "spec"}


SOME = ("softmax_exp2", "gelu_pwl", "layernorm_rsqrt", "layernorm_l1", "requantize", "matmul")
"""One unit of each frame: `make sim` and `make coverage` run all of them."""


def test_units_match_golden_on_every_device(vectors, simulate, build):
    status, said = simulate(vectors(*SOME))
    assert status == 0, said
    records = json.loads((build / "summary.json").read_text())
    assert {(r["unit"], r["device"]) for r in records} == {(u, d) for u in SOME for d in DEVICES}
    for record in records:
        assert KEYS <= set(record)
        assert record["mismatches"] == 0
        assert record["values"] > 4 * record["vectors"] > 0
    suites = ElementTree.parse(build / "junit.xml").getroot().findall("testsuite")
    assert len(suites) == len(records)
    assert not any(int(s.get("failures", 0)) + int(s.get("errors", 0)) for s in suites)
    assert "0 mismatches in" in said


@pytest.mark.parametrize("name, fields", [
    ("softmax_softermax", {"lanes": 4, "longest_row": 65}),
    ("requantize", {"lanes": 2, "out_width": 16, "channels": 64}),
    ("matmul", {"rows": 4, "columns": 6, "transposable": False, "longest_pass": 16}),
])
def test_other_specs_match_golden(name, fields, vectors, simulate):
    status, said = simulate(vectors(name, **fields), "--device", "generic")
    assert status == 0, said


def test_unchanged_unit_is_not_run_again(vectors, simulate):
    folder = vectors("gelu_ierf")
    assert simulate(folder, "--device", "generic")[0] == 0
    status, said = simulate(folder, "--device", "generic")
    assert status == 0
    assert "1 unchanged" in said


@pytest.mark.parametrize("name", ["gelu_ierf", "matmul"])
def test_one_flipped_bit_fails_every_time(name, vectors, simulate, build):
    folder = vectors(name)
    assert simulate(folder, "--device", "generic")[0] == 0
    path = next(folder.glob("*.npz"))
    good = path.read_bytes()
    vector_set = load(path)
    expected = vector_set.cases[0].expected.copy()
    expected.flat[-1] ^= 1
    case = dataclasses.replace(vector_set.cases[0], expected=expected)
    save(dataclasses.replace(vector_set, cases=(case, *vector_set.cases[1:])), path)
    for _ in range(2):
        status, said = simulate(folder, "--device", "generic")
        assert status == 1
        assert "1 of " in said and "values differ" in said
        record, = json.loads((build / "summary.json").read_text())
        assert record["mismatches"] > 0
    path.write_bytes(good)
    assert simulate(folder, "--device", "generic")[0] == 0


def test_incomplete_vectors_are_an_error(vectors, simulate):
    folder = vectors("gelu_ierf")
    assert simulate(folder, "--device", "generic")[0] == 0
    path = next(folder.glob("*.npz"))
    path.write_bytes(path.read_bytes()[:-500])
    status, said = simulate(folder, "--device", "generic")
    assert status == 2
    assert "is incomplete or damaged" in said


WRAPPER = """
module gelu_ierf(input clk, input rst, input c_valid, output c_ready, input {c_address} c_address,
                 input {c_data} c_data, input i_valid, output i_ready, input {i_data} i_data,
                 input i_first, input i_last, output o_valid, input o_ready, output {o_data} o_data,
                 output o_first, output o_last);
  wire q_valid, q_ready, q_first, q_last, j_ready, d_ready;
  wire {o_data} q_data;
  reg [15:0] count = 0;
  always @(posedge clk) count <= rst ? 16'd0 : count + 16'd1;
  inner u(.clk(clk), .rst(rst), .c_valid({c_valid}), .c_ready(d_ready), .c_address(c_address),
          .c_data(c_data), .i_valid({i_valid}), .i_ready(j_ready), .i_data(i_data),
          .i_first(i_first), .i_last(i_last), .o_valid(q_valid), .o_ready(q_ready),
          .o_data(q_data), .o_first(q_first), .o_last(q_last));
  assign c_ready = d_ready & ({c_valid});
  {body}
endmodule
"""
STRAIGHT = "assign {o_data, o_first, o_last} = {q_data, q_first, q_last};"
BROKEN = {
    "stuck": ("i_valid", "assign i_ready = j_ready; assign o_valid = q_valid & count < 500;"
              "assign q_ready = o_ready & count < 500;" + STRAIGHT, "the unit is stuck"),
    "withdraws": ("i_valid", "assign i_ready = j_ready; assign o_valid = q_valid & count[0];"
                  "assign q_ready = o_ready & count[0];" + STRAIGHT, "the handshake is broken"),
    "slow": ("i_valid & count[0]", "assign i_ready = j_ready & count[0]; assign o_valid = q_valid;"
             "assign q_ready = o_ready;" + STRAIGHT, "must leave every|must come after"),
    "late": ("i_valid", """assign i_ready = j_ready;
             reg v = 0; reg [63:0] d; reg f, l;
             assign q_ready = !v | o_ready;
             assign o_valid = v; assign o_data = d[$bits(o_data)-1:0];
             assign o_first = f; assign o_last = l;
             always @(posedge clk) if (rst) v <= 0; else if (q_ready) begin
               v <= q_valid; d <= 64'(q_data); f <= q_first; l <= q_last; end""",
             r"must come after \d+ cycles, not"),
    "surplus": ("i_valid", """assign i_ready = j_ready; assign q_ready = o_ready;
                reg [7:0] low = 0;
                always @(posedge clk) low <= rst | q_valid ? 0 : low == 255 ? 255 : low + 1;
                assign o_valid = q_valid | low == 100;""" + STRAIGHT, "1 beats are left over"),
    "careless": ("i_valid", "assign i_ready = j_ready; assign o_valid = q_valid;"
                 "assign q_ready = o_ready;" + STRAIGHT, "constants_come_before.* values differ"),
    "unframed": ("i_valid", """assign i_ready = j_ready; assign q_ready = o_ready;
                 assign o_valid = q_valid; assign o_data = q_data;
                 assign o_first = q_first; assign o_last = 0;""", "first and last"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_broken_gates_are_found(fault, vectors, build, tmp_path):
    """Every claim of the bench fails on gates that break it, and none of them hangs."""
    folder = vectors("gelu_ierf")
    i_valid, body, message = BROKEN[fault]
    entry = unit("gelu_ierf")
    spec = entry.golden.spec()
    widths = {"c_address": spec.config_address_width, "c_data": spec.config_data_width,
              "i_data": spec.in_format.width, "o_data": spec.out_format.width}
    c_valid = "c_valid & ~i_valid" if fault == "careless" else "c_valid"
    wrapper = WRAPPER.replace("{i_valid}", i_valid).replace("{c_valid}", c_valid).replace(
        "{body}", body)
    for port, width in widths.items():
        wrapper = wrapper.replace(f"{{{port}}} {port}", f"[{width - 1}:0] {port}")
    wrapper = wrapper.replace("wire {o_data}", f"wire [{widths['o_data'] - 1}:0]")
    inner = re.sub(r"\bmodule gelu_ierf\(", "module inner(", generate("gelu_ierf", spec))
    (tmp_path / "broken.v").write_text(inner + wrapper)
    job = Job(unit="gelu_ierf", spec_digest=spec.digest, device="generic", label=fault,
              vectors=next(folder.glob("*.npz")), build=build, verilog=tmp_path / "broken.v")
    result, = run_suite([job], lambda job, stage: None)
    assert not result.passed
    assert re.search(message, " ".join(result.failures)), result.failures


def test_interrupted_simulation_resumes(vectors, simulate, build, tmp_path):
    folder = vectors("requantize", "softmax_iexp", "gelu_ierf")
    # What a shell starts in the background inherits a SIGINT that is ignored, this test with it.
    program = ("import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
               "from vitrtl.sw.cli import main; sys.exit(main(sys.argv[1:]))")
    command = [sys.executable, "-c", program, "sim", "--vectors", str(folder), "--network",
               str(tmp_path), "--build", str(build), "--device", "generic", "--seed", "7",
               "--jobs", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True) as process:
        jobs = [build / "jobs" / f"{path.stem}.generic.json" for path in folder.glob("*.npz")]
        # While the first runs, the others have not begun: however fast it is, it is not the end.
        while not any(path.is_file() and "\"seed\": 7" in path.read_text() for path in jobs):
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert "interrupted" in process.stderr.read()
    status, said = simulate(folder, "--device", "generic", "--seed", "7")
    assert status == 0, said


def test_waveform_is_left_and_its_place_is_said(vectors, simulate, build):
    status, said = simulate(vectors("gelu_ierf"), "gelu_ierf", "--waves", "--device", "generic")
    assert status == 0, said
    path = build / "waves" / "gelu_ierf.generic.vcd"
    assert "gtkwave" in said and path.name in said
    assert "$enddefinitions" in path.read_text()[:2_000_000]


def test_apply_on_the_gates_gives_the_golden_codes(build, tmp_path, capsys):
    x = np.random.default_rng(3).integers(-128, 128, (3, 2, 40))
    np.save(tmp_path / "x.npy", x)
    arguments = ["apply", "softmax_shiftmax", "--bits", "8", "--scale", "0.05",
                 str(tmp_path / "x.npy")]
    assert main([*arguments, str(tmp_path / "golden.npy")]) == 0
    assert main([*arguments, str(tmp_path / "gates.npy"), "--rtl", "--build", str(build)]) == 0
    assert "cycles, equal to the golden function" in capsys.readouterr().out
    np.testing.assert_array_equal(np.load(tmp_path / "gates.npy"), np.load(tmp_path / "golden.npy"))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", UNITS)
def test_verilog_passes_the_strictest_lint(name, device):
    assert lint(generate(name, unit(name).golden.spec(), device), name) == []
