"""Whole networks on the accelerator's gates, and proof that what is wrong is seen."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

from vitrtl.hw.ip_core import generate_accelerator_core
from vitrtl.sim.accelerator_axi import simulate_accelerator_core
from vitrtl.sim.accelerator_compare import compare, golden_values, stored_nodes
from vitrtl.sim.accelerator_cycles import simulated_spans, usage
from vitrtl.sim.accelerator_faults import run_faults
from vitrtl.sim.accelerator_run import Gates, memory_bus
from vitrtl.sim.board import simulate_demonstration
from vitrtl.sw.accelerator.compiler import compile_network
from vitrtl.sw.accelerator.isa import MEMORIES
from vitrtl.sw.accelerator.predict import predict
from vitrtl.sw.accelerator.sizing import size_accelerator
from vitrtl.sw.accelerator.spec import ARRAY, DMA
from vitrtl.sw.boards.board import load_board
from vitrtl.sw.cli import main
from vitrtl.sw.executor import Executor
from vitrtl.sw.network import save
from vitrtl.sw.ptq.calibration import calibrate
from vitrtl.sw.ptq.models import FloatModel
from vitrtl.sw.ptq.precision import Precision
from vitrtl.sw.ptq.quantize import export, resolve_methods
from vitrtl.sw.ptq.scheme import Scheme

pytestmark = pytest.mark.sim


def small(precision, **sizes):
    """Return a small network with random weights."""
    torch.manual_seed(0)
    module = VisionTransformer(img_size=(12, 20), patch_size=4, depth=1, num_classes=11, **sizes)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            torch.nn.init.normal_(
                parameter, 0.0, 1.2 / parameter.shape[-1] ** 0.5 if parameter.ndim > 1 else 0.2)
            if "norm" in name and name.endswith("weight"):
                parameter += 1.0
    model = FloatModel(name="small", module=module.eval(), mean=(0.4, 0.5, 0.6),
                       std=(0.2, 0.25, 0.3), weights="random")
    scheme = Scheme.plain("minmax", precision)
    return export(calibrate(model, pixels(model.input_shape), scheme),
                  resolve_methods(model, {}, {}))


@pytest.fixture(scope="module")
def network():
    """Return a network whose rows and columns fill no tile."""
    return small(Precision(8, 8), embed_dim=24, num_heads=3, mlp_ratio=1.7)


def pixels(shape, count=3):
    return np.random.default_rng(0).integers(0, 256, (count, *shape)).astype(np.uint8)


@pytest.fixture(scope="module")
def images(network):
    return pixels(network.values[network.input].shape)


@pytest.fixture(scope="module")
def gates(network, build):
    program = compile_network(network, size_accelerator(network))
    return Gates(network, program, "generic", build, quick=True)


@pytest.fixture(scope="module")
def results(gates, images):
    return list(gates.run(images))


def test_every_layer_boundary_matches_golden(gates, results, images):
    assert len(results) == len(images)
    for result in results:
        assert result.troubles == ()
        assert result.comparison.mismatches == 0
        assert result.comparison.values > 5_000
        # The class token comes from memory, where it is a constant; everything else is computed.
        assert result.comparison.unseen == {"embed": gates.program.steps[ARRAY][0].row * 24}
        np.testing.assert_array_equal(result.logits, result.golden_logits)
    assert {"blocks.0.attn.scores.requantize", "blocks.0.attn.add", "norm.requantize"} <= (
        stored_nodes(gates.program))


def test_cycles_are_those_that_the_compiler_predicts(gates, results):
    prediction = predict(gates.program)
    for result in results:
        assert abs(result.result.cycles - prediction.cycles) <= 0.02 * result.result.cycles
        assert result.result.engine_done == [len(steps) for steps in gates.program.steps]
    used = usage(gates.program, simulated_spans(results[0].records), results[0].result.cycles,
                 results[0].result.beats)
    assert 0 < used.utilization < used.array < 1


def test_weights_of_four_bits_are_multiplied_two_at_once(images, build):
    network = small(Precision(4, 8), embed_dim=32, num_heads=2, mlp_ratio=2.5)
    program = compile_network(network, size_accelerator(network))
    assert program.spec.paired
    paired = Gates(network, program, "generic", build, quick=True)
    (fast, slow) = paired.run(images[:1], [memory_bus(program.spec),
                                           memory_bus(program.spec, 50)])
    for result in (fast, slow):
        assert result.troubles == () and result.comparison.mismatches == 0
        predicted = predict(program, result.bus).cycles
        assert abs(result.result.cycles - predicted) <= 0.02 * result.result.cycles


def test_memory_changes_cycles_alone(gates, images):
    spec = gates.program.spec
    buses = [memory_bus(spec), memory_bus(spec, 50), memory_bus(spec, 0, 2)]
    found = {result.bus: result for result in gates.run(images[:1], buses)}
    assert not any(result.troubles for result in found.values())
    cycles = [found[bus].result.cycles for bus in buses]
    assert cycles[0] < cycles[1] and cycles[0] < cycles[2]


def with_a_wrong_weight(program):
    """Return a program one of whose weights of the embedding has a wrong bit."""
    load = next(fields for fields, _ in program.instructions[DMA]
                if fields["memory"] == MEMORIES["weights"])
    memory = bytearray(program.memory)
    memory[load["offset"]] ^= 0x40
    return dataclasses.replace(program, memory=bytes(memory))


def test_a_wrong_weight_is_found_where_it_is(network, gates, images, build):
    wrong = Gates(network, with_a_wrong_weight(gates.program), "generic", build, quick=True)
    (result,) = wrong.run(images[:1])
    assert result.result.trouble == ""
    assert result.comparison.mismatches > 0
    # The embedding is what is wrong first; everything behind it follows.
    assert result.troubles[0].startswith("patch_embed (embed), token 1, channel 0: gates ")
    assert "logit" in result.troubles[-1]


def test_what_the_records_lack_is_named(network, gates, results, images):
    records, program = results[0].records, gates.program
    golden = golden_values(network, images[results[0].image],
                           stored_nodes(program) | {network.output})
    logits = golden[network.output].ravel()
    formats = {name: value.format for name, value in network.values.items()}

    def troubles(**changes):
        writes = list(records.writes)
        writes[ARRAY] = dataclasses.replace(writes[ARRAY], **changes)
        changed = dataclasses.replace(records, writes=tuple(writes))
        return compare(program, changed, {n: golden[n] for n in stored_nodes(program)}, formats,
                       logits, logits).troubles

    array = records.writes[ARRAY]
    assert troubles() == ()
    (line,) = troubles(data=array.data[:-1], addresses=array.addresses[:-1],
                       residual=array.residual[:-1])
    assert line.endswith("words were written")
    addresses = array.addresses.copy()
    addresses[5] += 1
    (line,) = troubles(addresses=addresses)
    assert "its word 5 went to residual memory" in line
    data = array.data.copy()
    data[0, 0] ^= 1
    (line,) = troubles(data=data)
    value = int(golden["embed"][1, 0])
    assert line == (f"patch_embed (embed), token 1, channel 0: gates {value ^ 1}, golden {value}; "
                    "1 values of this instruction differ")


def test_faults_end_a_run_and_leave_no_trace(gates, images, tmp_path):
    assert run_faults(gates, images[0], tmp_path) == []


@pytest.fixture
def run(network, images, build, tmp_path, capsys):
    save(network, tmp_path / "network")
    np.save(tmp_path / "images.npy", images[:1])

    def command(*arguments):
        status = main(["run", str(tmp_path / "network"), "--images", str(tmp_path / "images.npy"),
                       "--build", str(build), "--out", str(tmp_path / "out"), *arguments])
        said = capsys.readouterr()
        return status, said.out + said.err
    return command


def test_command_compares_counts_and_keeps(run, gates, tmp_path):
    layer = "blocks.0.attn.softmax.requantize"
    status, said = run("--layer", layer, "--clock", "50", "--sweep")
    assert status == 0, said
    assert "0 mismatches in" in said and "images/s at 50 MHz" in said
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["passed"] and len(record["sweep"]) == 6
    assert sum(entry["simulated"] for entry in record["layers"]) == record["images"][0]["cycles"]
    assert (tmp_path / "out" / "timeline.svg").is_file()
    assert (tmp_path / "out" / "sweep.svg").is_file()
    with np.load(tmp_path / "out" / f"{layer}.npz") as dump:
        np.testing.assert_array_equal(dump["gates"], dump["golden"])
        assert dump["gates"].any()
    status, said = run("--layer", layer, "--clock", "50", "--sweep")
    assert status == 0 and "unchanged" in said


@pytest.mark.parametrize(("arguments", "message"), [
    (("--waves",), "a waveform is of one layer: --layer NODE"),
    (("--layer", "blocks.0.attn.softmax"),
     "must be a node whose value the gates store, such as blocks.0.attn.softmax.requantize, "),
    (("--bandwidth", "9"),
     "bandwidth must be 1..8 bytes a cycle, the width of the memory bus, not 9"),
    (("--latency", "-1"), "latency must be 0..10000 cycles, not -1"),
    (("--size", "12"), "size must be 8, 16 or 32, not 12"),
    (("--clock", "0"), "clock must be more than 0 MHz, not 0"),
    (("--images", "none.png"), "images must be a number or a file, but there is no file none.png"),
])
def test_bad_input_is_one_line(run, arguments, message):
    status, said = run(*arguments)
    assert status == 2
    assert message in said.splitlines()[-1]


def test_a_board_answers_images_over_its_serial_pins(network, images, build):
    # Ten cycles a bit in place of eighty: the same design, sooner done.
    board = dataclasses.replace(load_board("ulx3s"), baud=8_000_000)
    program = compile_network(network, size_accelerator(network))
    golden = Executor(network).run(images[:2])
    shown = simulate_demonstration(board, program, images[:2], golden, build, quick=True)
    assert [one.mismatches for one in shown] == [0, 0]
    assert [one.logits for one in shown] == golden.tolist() and shown[0].logits != shown[1].logits
    assert shown[0].cycles == shown[1].cycles > 1000


def test_the_ip_core_gives_the_logits_behind_drivers_of_others(gates, network, images, build):
    """cocotbext-axi's memory and its manager, with and without pauses, find the same bits."""
    core = generate_accelerator_core(gates.program)
    assert simulate_accelerator_core(core, network, images[:1], build, quick=True) == []
    wrong = dataclasses.replace(core, program=with_a_wrong_weight(gates.program))
    failures = simulate_accelerator_core(wrong, network, images[:1], build, quick=True)
    assert any("logits of image 0 must be" in line for line in failures)
