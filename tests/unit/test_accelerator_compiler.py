"""The compiler to the accelerator: its programs, on the model, give every golden boundary."""

import dataclasses
import gc
import json
import math
import warnings

import numpy as np
import pytest
import torch
from timm.models.deit import VisionTransformerDistilled
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer

from vitrtl.sw.accelerator import allocation, hazards, predict
from vitrtl.sw.accelerator.allocation import Buffer, Ring, place
from vitrtl.sw.accelerator.compiler import compile_network
from vitrtl.sw.accelerator.cycles import layer_cycles, network_cycles, summary
from vitrtl.sw.accelerator.instruction import waits_of, with_waits
from vitrtl.sw.accelerator.isa import MODES
from vitrtl.sw.accelerator.layout import weight_tiles
from vitrtl.sw.accelerator.lowering import lower
from vitrtl.sw.accelerator.model import Model
from vitrtl.sw.accelerator.predict import Bus
from vitrtl.sw.accelerator.program import Program, load, pack_image, save
from vitrtl.sw.accelerator.schedule import blocks_of, schedule, shortest_pass
from vitrtl.sw.accelerator.sizing import size_accelerator
from vitrtl.sw.accelerator.spec import ARRAY, DMA, AcceleratorSpec
from vitrtl.sw.candidate import candidates_of
from vitrtl.sw.catalog import OPERATORS
from vitrtl.sw.errors import UserError
from vitrtl.sw.executor import Executor
from vitrtl.sw.network import IntegerNetwork
from vitrtl.sw.ptq.calibration import calibrate
from vitrtl.sw.ptq.models import FloatModel
from vitrtl.sw.ptq.precision import Precision
from vitrtl.sw.ptq.quantize import export, resolve_methods
from vitrtl.sw.ptq.scheme import Scheme

DIGITS_UTILIZATION = 0.9
"""Of the 8 x 8 array over the whole digits network, from patches to logits."""

BASE = {"img_size": 8, "patch_size": 4, "embed_dim": 16, "depth": 2, "num_heads": 2,
        "num_classes": 5}
SHAPES = {
    "few tokens": lambda: VisionTransformer(**BASE),
    "odd tokens, tails of words": lambda: VisionTransformer(**BASE | {
        "img_size": (12, 20), "embed_dim": 24, "num_heads": 3, "num_classes": 11,
        "mlp_ratio": 1.7}),
    "one head": lambda: VisionTransformer(**BASE | {"num_heads": 1}),
    "distilled": lambda: VisionTransformerDistilled(**BASE | {"img_size": (12, 8)}),
}
METHODS = {
    "default": {},
    "rows of GELU": {"softmax": "softmax_shiftmax", "gelu": "gelu_shiftgelu",
                     "layernorm": "layernorm_isqrt"},
    "tables": {"softmax": "softmax_lut", "gelu": "gelu_lut", "layernorm": "layernorm_lut"},
}


def float_model(module: torch.nn.Module) -> FloatModel:
    """Return a network with random weights that make it say something."""
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            torch.nn.init.normal_(
                parameter, 0.0, 1.2 / parameter.shape[-1] ** 0.5 if parameter.ndim > 1 else 0.2)
            if "norm" in name and name.endswith("weight"):
                parameter += 1.0
    return FloatModel(name="small", module=module.eval(), mean=(0.4, 0.5, 0.6),
                      std=(0.2, 0.25, 0.3), weights="random")


def images_for(shape: tuple[int, ...], count: int = 4) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, *shape)).astype(np.uint8)


def small(module: torch.nn.Module, operators: dict[str, str] | None = None,
          layers: dict[str, str] | None = None,
          precision: Precision | None = None) -> IntegerNetwork:
    """Return the integer network of a small module."""
    model = float_model(module)
    scheme = Scheme.plain("minmax", precision or Precision(8, 8))
    return export(calibrate(model, images_for(model.input_shape), scheme),
                  resolve_methods(model, operators or {}, layers or {}))


@pytest.fixture(scope="module")
def tiny() -> IntegerNetwork:
    return small(SHAPES["odd tokens, tails of words"]())


@pytest.fixture(scope="module")
def tiny_program(tiny) -> Program:
    return compile_network(tiny, size_accelerator(tiny))


def check_boundaries(network: IntegerNetwork, program: Program, images: np.ndarray) -> set[str]:
    """Assert that every instruction writes what the golden network has; return the values."""
    values: dict[str, np.ndarray] = {}
    written: dict[str, np.ndarray] = {}

    def golden(node, inputs, output):
        values[node.name] = output[0]

    def observe(step, result):
        part = (*step.lead, slice(step.row, step.row + step.rows),
                slice(step.column, step.column + step.columns))
        np.testing.assert_array_equal(result, values[step.node][part], str(step))
        written.setdefault(step.node, np.zeros(values[step.node].shape, int))[part] += 1

    for image in images:
        written.clear()
        wanted = Executor(network, threads=1).run(image[np.newaxis], golden)[0]
        logits = Model(program).run(pack_image(program, image), observe)
        np.testing.assert_array_equal(logits, wanted)
        embedded = program.steps[ARRAY][0].node
        for node, count in written.items():
            first = program.steps[ARRAY][0].row if node == embedded else 0
            assert (count[..., first:, :] == 1).all(), node
    return set(written)


def test_digits_on_the_model_give_every_boundary(network, digits):
    program = compile_network(network, size_accelerator(network))
    written = check_boundaries(network, program, digits.pixels[digits.test[:2]])
    block = {f"blocks.2.{name}" for name in (
        "norm1.requantize", "attn.qkv.requantize", "attn.scores.requantize",
        "attn.softmax.requantize", "attn.context.requantize", "attn.add", "norm2.requantize",
        "mlp.fc1.requantize", "mlp.gelu.requantize", "mlp.add")}
    assert block | {"embed", "norm.requantize", "head.requantize"} <= written
    report = summary(program)
    assert report["utilization"] > DIGITS_UTILIZATION
    assert report["macs"] == sum(_macs(network))
    assert sum(layer["cycles"] for layer in report["layers"]) == report["cycles"]
    json.dumps(report)


def _macs(network):
    for node in network.nodes:
        if node.op == "matmul":
            inner = network.values[node.inputs[0]].shape[-1]
            yield math.prod(network.values[node.name].shape) * inner


@pytest.mark.parametrize("name", SHAPES)
def test_shapes(name):
    network = small(SHAPES[name]())
    program = compile_network(network, size_accelerator(network))
    check_boundaries(network, program, images_for(program.image_shape, 2))


@pytest.mark.parametrize("bits", [(4, 8), (6, 6), (8, 5)])
def test_precisions(bits):
    network = small(SHAPES["few tokens"](), precision=Precision(*bits))
    spec = size_accelerator(network)
    assert spec.activation_width == bits[1]
    program = compile_network(network, spec)
    check_boundaries(network, program, images_for(program.image_shape, 2))


@pytest.fixture(scope="module")
def short() -> IntegerNetwork:
    """Weights of four bits; a head has two words of queries, and the logits have one."""
    module = VisionTransformer(**BASE | {"img_size": (12, 20), "embed_dim": 32, "mlp_ratio": 2.5})
    return small(module, precision=Precision(4, 8))


def paired_layers(program: Program) -> dict[str, set[int]]:
    """Return whether the array's instructions are paired, by the end of their layers' names."""
    found: dict[str, set[int]] = {}
    for step, (fields, _) in zip(program.steps[ARRAY], program.instructions[ARRAY], strict=True):
        found.setdefault(step.label.split()[0].split(".")[-1], set()).add(fields["paired"])
    return found


def test_weights_of_four_bits_are_two_to_a_byte(short):
    spec = size_accelerator(short)
    program = compile_network(short, spec)
    assert spec.paired
    assert paired_layers(program) == {
        "patch_embed": {0}, "qkv": {1}, "scores": {0}, "context": {0}, "proj": {1}, "fc1": {1},
        "fc2": {1}, "head": {0}}
    check_boundaries(short, program, images_for(program.image_shape, 2))
    plain = compile_network(short, size_accelerator(short, paired=False))
    assert set.union(*paired_layers(plain).values()) == {0}
    check_boundaries(short, plain, images_for(plain.image_shape, 1))
    assert program.predicted_cycles < 0.8 * plain.predicted_cycles
    assert summary(program)["macs"] == summary(plain)["macs"]


def test_pairs_are_loaded_in_parts_that_fit(short):
    spec = size_accelerator(short, weight_words=160, constant_groups=8)
    program = compile_network(short, spec)
    tiles = {(step.label.split(".")[-1], fields["n_tiles"]) for step, (fields, _) in zip(
        program.steps[ARRAY], program.instructions[ARRAY], strict=True)}
    assert {("fc2", 1), ("fc1", 2)} <= tiles
    assert all(fields["constants"] % 2 == 0 for fields, _ in program.instructions[ARRAY])
    check_boundaries(short, program, images_for(program.image_shape, 1))


def test_a_layer_with_an_odd_number_of_words_is_not_paired():
    network = small(SHAPES["few tokens"](), precision=Precision(4, 8))
    program = compile_network(network, size_accelerator(network))
    paired = paired_layers(program)
    assert (paired["qkv"], paired["proj"], paired["fc1"]) == ({0}, {1}, {1})


def test_an_accelerator_for_pairs_runs_weights_of_eight_bits(tiny):
    assert not size_accelerator(tiny).paired
    program = compile_network(tiny, size_accelerator(tiny, paired=True))
    assert set.union(*paired_layers(program).values()) == {0}
    check_boundaries(tiny, program, images_for(program.image_shape, 1))


@pytest.mark.parametrize("paired, constants", [(False, 2), (True, 3)])
def test_the_model_refuses_pairs_as_the_gates_do(tiny, paired, constants):
    program = compile_network(tiny, size_accelerator(tiny, paired=paired))
    fields = program.instructions[ARRAY][0][0] | {"paired": 1, "constants": constants}
    with pytest.raises(ValueError, match="^a multiply can be paired only on an accelerator that "
                                         f"is, and with an even group of constants, not "
                                         f"{constants}$"):
        Model(program)._product(fields)


def test_halves_of_bytes_are_weights_of_neighbouring_words():
    weight = np.random.default_rng(0).integers(-8, 8, (11, 27))
    tiles = weight_tiles(weight, 8, 2).view(np.int8)
    assert tiles.shape == (2, 2, 8, 8)
    low, high = tiles << 4 >> 4, tiles >> 4
    whole = np.concatenate([low, high], axis=3).transpose(1, 2, 0, 3).reshape(16, 32)
    np.testing.assert_array_equal(whole[:11, :27], weight)
    assert not whole[11:].any() and not whole[:, 27:].any()


@pytest.mark.parametrize("methods", METHODS)
def test_methods(methods):
    network = small(SHAPES["few tokens"](), METHODS[methods])
    program = compile_network(network, size_accelerator(network))
    check_boundaries(network, program, images_for(program.image_shape, 1))


def test_each_layer_has_a_candidate_of_its_own():
    """Four candidates of each operator in one network, merged requantizers among them."""
    module = VisionTransformer(**BASE | {"depth": 4})
    layers = {}
    for operator, at in zip(OPERATORS, ("attn.softmax", "mlp.gelu", "norm1"), strict=True):
        names = [one.name for one in candidates_of(operator) if one.spec.operand == "linear"]
        # The last ones are the variants that merge their requantizer, where there are any.
        for i, name in enumerate(names[-4:]):
            layers[f"blocks.{i}.{at}"] = name
    network = small(module, layers=layers)
    spec = size_accelerator(network)
    assert len(spec.engines) <= 13
    program = compile_network(network, spec)
    check_boundaries(network, program, images_for(program.image_shape, 1))
    assert {name: network.methods[name] for name in layers} == layers
    assert any(engine.requantize is None for engine in spec.engines)


def test_a_unit_whose_results_depend_on_its_lanes_keeps_them():
    network = small(SHAPES["few tokens"](), {"softmax": "softmax_softermax"})
    engines = size_accelerator(network, size=8).engines
    (softmax,) = (engine for engine in engines if engine.unit == "softmax_softermax")
    (spec,) = network.units["softmax_softermax"]
    assert softmax.spec == spec
    wrong = tuple(dataclasses.replace(
        engine, spec=dataclasses.replace(engine.spec, lanes=2),
        requantize=dataclasses.replace(engine.requantize, lanes=2)) for engine in engines)
    with pytest.raises(UserError, match="no engine that computes blocks.0.attn.softmax"):
        compile_network(network, size_accelerator(network, engines=wrong))


def test_more_lanes_give_the_same_integers(tiny):
    spec = size_accelerator(tiny)
    engines = tuple(dataclasses.replace(
        engine, spec=dataclasses.replace(engine.spec, lanes=4),
        requantize=dataclasses.replace(engine.requantize, lanes=4)) for engine in spec.engines)
    program = compile_network(tiny, dataclasses.replace(spec, engines=engines))
    check_boundaries(tiny, program, images_for(program.image_shape, 1))


def test_a_gelu_with_constants_per_channel_runs_part_by_part(tiny):
    """Its requantizer counts channels from the first of each part, which has its own constants."""
    nodes = list(tiny.nodes)
    for i, node in enumerate(nodes):
        if node.name.endswith("gelu.requantize"):
            channels = tiny.values[node.name].shape[-1]
            factor = node.constants["factor"][0] + 8 * np.arange(channels, dtype=np.int32)
            nodes[i] = dataclasses.replace(node, constants={
                "bias": np.arange(channels, dtype=np.int32), "factor": factor,
                "per_channel": np.array(1, np.uint8)})
    network = dataclasses.replace(tiny, nodes=tuple(nodes))
    program = compile_network(network, size_accelerator(network, weight_words=128))
    gelu = [step for steps in program.steps for step in steps if step.label.endswith("gelu")]
    assert len({step.column for step in gelu}) > 1
    check_boundaries(network, program, images_for(program.image_shape, 1))


def test_larger_arrays(network, digits):
    spec = size_accelerator(network, size=16)
    program = compile_network(network, spec)
    check_boundaries(network, program, digits.pixels[digits.test[:1]])


def test_every_wait_is_needed(tiny_program):
    """Without any one of its waits a program is refused: none is missing, none is idle."""
    programs = [[fields for fields, _ in one] for one in tiny_program.instructions]
    hazards.check(programs, tiny_program.spec)
    tried = 0
    for engine, program in enumerate(programs):
        for index, fields in enumerate(program):
            for other in waits_of(fields):
                left = {e: c for e, c in waits_of(fields).items() if e != other}
                changed = list(programs)
                changed[engine] = [*program[:index], with_waits(fields, left),
                                   *program[index + 1:]]
                with pytest.raises(hazards.HazardError, match="must wait for instruction"):
                    hazards.check(changed, tiny_program.spec)
                tried += 1
    assert tried > 50


def test_a_deadlock_is_found(tiny_program):
    programs = [[fields for fields, _ in one] for one in tiny_program.instructions]
    programs[DMA][0] = with_waits(programs[DMA][0], {ARRAY: 1})
    with pytest.raises(hazards.HazardError, match="engine 0 waits for ever at instruction 0"):
        hazards.check(programs, tiny_program.spec)


@pytest.mark.parametrize("change, message", [
    ({"o_base": (1 << 20) - 1}, "must stay below word"),
    ({"mode": MODES["narrow"], "o_base": 0, "a_base": 0}, "must not overwrite what it still"),
])
def test_accesses_that_cannot_be_right_are_found(tiny_program, change, message):
    programs = [[fields for fields, _ in one] for one in tiny_program.instructions]
    programs[ARRAY][0] = programs[ARRAY][0] | change
    with pytest.raises(hazards.HazardError, match=message):
        hazards.check(programs, tiny_program.spec)


def test_programs_are_saved_and_loaded(tiny_program, tmp_path):
    save(tiny_program, tmp_path)
    again = load(tmp_path)
    assert (again.memory, again.steps, again.spec) == (
        tiny_program.memory, tiny_program.steps, tiny_program.spec)
    assert (again.predicted, again.predicted_cycles) == (
        tiny_program.predicted, tiny_program.predicted_cycles)
    assert again.digest == tiny_program.digest
    (tmp_path / "program.bin").write_bytes(tiny_program.memory[:-1] + b"x")
    with pytest.raises(UserError, match=r"program\.bin does not have the checksum"):
        load(tmp_path)
    head = json.loads((tmp_path / "program.json").read_text())
    for change, message in (({"version": 0}, "must have version 2, not 0"),
                            ({"format": ""}, r"is not a vitrtl\.program file")):
        (tmp_path / "program.json").write_text(json.dumps(head | change))
        with pytest.raises(UserError, match=message):
            load(tmp_path)


def test_programs_are_the_same_every_time(tiny, tiny_program):
    assert compile_network(tiny, size_accelerator(tiny)).memory == tiny_program.memory


def test_images_are_checked(tiny_program):
    image = images_for(tiny_program.image_shape, 1)[0]
    assert len(pack_image(tiny_program, image)) == tiny_program.image_bytes
    for wrong in (image[:, :4], image.astype(np.int16)):
        with pytest.raises(UserError, match=r"^image must be uint8 of shape \(3, 12, 20\), not"):
            pack_image(tiny_program, wrong)


@pytest.mark.parametrize("fields, message", [
    ({"weight_words": 32}, ("^weight_words must be at least 96, twice those of one column of "
                           "tiles of patch_embed, not 32$")),
    ({"residual_words": 32}, "^residual_words must be at least 48 for 16 tokens of 24, not 32$"),
    ({"banks": 1, "bank_words": 64}, "^scratchpad must hold [0-9]+ words at once"),
    ({"activation_width": 6}, "^activation_width must be the network's 8 bits, not 6$"),
    ({"engines": ()}, (r"^accelerator has no engine that computes blocks\.0\.norm1 "
                      r"\(layernorm_rsqrt\) bit for bit; its engines are none$")),
    ({"size": 16}, (r"^width of a head of blocks\.0\.attn\.qkv must be a multiple of the array's "
                   "16 columns, not 8$")),
    ({"requantize_lanes": 3}, "^requantize_lanes must be 1, 2"),
    ({"paired": 1}, "^paired must be true or false, not 1$"),
    ({"paired": True, "constant_groups": 2}, r"^constant_groups must be 4\.\.4096, not 2"),
])
def test_what_does_not_fit_is_refused(tiny, fields, message):
    with pytest.raises(UserError, match=message):
        compile_network(tiny, size_accelerator(tiny, **fields))


def test_networks_that_it_cannot_run_are_refused():
    swin = small(SwinTransformer(img_size=16, window_size=4, patch_size=2, embed_dim=16,
                                 depths=(2, 2), num_heads=(2, 4), num_classes=5))
    with pytest.raises(UserError, match=r"^accelerator cannot run node \S+ \(\w+\): it must be a "
                                        "unit with gates, a patch"):
        lower(swin)
    log2 = small(SHAPES["few tokens"](), {"softmax": "softmax_log_int"})
    with pytest.raises(UserError, match=r"node blocks\.0\.attn\.softmax \(softmax_log_int\): it "
                                        "must give linear codes, not log2$"):
        lower(log2)
    baseline = small(SHAPES["few tokens"](), {"gelu": "gelu_float"})
    with pytest.raises(UserError, match=r"node blocks\.0\.mlp\.gelu \(gelu_float\): it must be a "
                                        "unit with gates"):
        lower(baseline)


def test_a_requantizer_with_other_shifts_is_refused(tiny):
    nodes = list(tiny.nodes)
    at = next(i for i, node in enumerate(nodes) if node.name == "blocks.1.mlp.fc1.requantize")
    nodes[at] = dataclasses.replace(
        nodes[at], spec=dataclasses.replace(nodes[at].spec, shift_min=12))
    with pytest.raises(UserError, match=r"blocks\.1\.mlp\.fc1\.requantize \(requantize\): it must "
                                        "have shift_min 16 as the array's, not 12$"):
        lower(dataclasses.replace(tiny, nodes=tuple(nodes)))


@pytest.mark.parametrize("rows, longest, wanted", [
    (65, 32, [22, 22, 21]), (100, 24, [20, 20, 20, 20, 20]), (1, 32, [1]),
    (33, 32, [17, 16]), (17, 32, [17])])
def test_blocks_of_rows(rows, longest, wanted):
    spec = AcceleratorSpec(longest_pass=longest)
    blocks = blocks_of(rows, spec)
    assert [block.rows for block in blocks] == wanted
    assert [block.row for block in blocks] == [sum(wanted[:i]) for i in range(len(wanted))]


def test_the_shortest_pass_is_that_of_the_gates():
    from vitrtl.hw.matmul import MatMul

    for size in (8, 16):
        spec = AcceleratorSpec(size=size, requantize_lanes=8)
        assert shortest_pass(spec) == MatMul(spec.matmul).shortest_pass


def test_buffers_keep_apart_what_is_accessed_at_once():
    spec = AcceleratorSpec(banks=2, bank_words=64)
    one = Buffer(name="one", rows=4, row=8, phases=frozenset("a"), beside={"two": 1})
    two = Buffer(name="two", rows=4, row=8, phases=frozenset("a"))
    late = Buffer(name="late", rows=16, row=8, phases=frozenset("b"))
    placed = place([one, two, late], spec)
    assert {placed["one"].base // 64, placed["two"].base // 64} == {0, 1}
    assert placed["late"].base == 0
    with pytest.raises(UserError, match=r"hold 160 words at once, .*late 128\), not 128$"):
        place([one, dataclasses.replace(late, phases=frozenset("a"))], spec)


def test_rings_overwrite_nothing_that_is_held():
    ring = Ring("weight_words", 16)
    first, second = ring.take(8, "a"), ring.take(6, "b")
    assert (first.base, second.base) == (0, 8)
    with pytest.raises(UserError, match="^weight_words must hold 8 words for c beside 14 in use, "
                                        "not 16$"):
        ring.take(8, "c")
    first.release()
    assert ring.take(8, "c").base == 0
    even = Ring("constant_groups", 16, 2)
    assert [even.take(words, "d").base for words in (1, 3, 2)] == [0, 2, 6]


def test_cycles_alone_are_those_of_the_program(tiny, tiny_program):
    layers = layer_cycles(tiny)
    assert sum(layers.values()) == network_cycles(tiny) == tiny_program.predicted_cycles
    assert layers == {layer["name"]: layer["cycles"] for layer in summary(tiny_program)["layers"]}


def test_what_networks_have_in_common_is_found_once(tiny, tiny_program, monkeypatch):
    def fail(*_):
        raise AssertionError("sought again")

    other = small(SHAPES["odd tokens, tails of words"](), {"gelu": "gelu_ierf"})
    monkeypatch.setattr(allocation, "_placed", fail)
    before = predict._vector_cycles.cache_info().misses
    # What other tests have left is not to be seen.
    gc.collect()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        assert network_cycles(other) > 0
        gc.collect()
    assert predict._vector_cycles.cache_info().misses == before + 1
    assert not any("never used" in str(one.message) for one in seen)


def test_predictions_obey_waits_and_order(tiny_program):
    ends = [np.array(spans)[:, 1] for spans in tiny_program.predicted]
    for engine, one in enumerate(tiny_program.instructions):
        assert len(one) == len(tiny_program.steps[engine])
        for (fields, _), (start, end) in zip(one, tiny_program.predicted[engine], strict=True):
            assert start < end <= tiny_program.predicted_cycles
            assert all(ends[other][count - 1] < start
                       for other, count in waits_of(fields).items())
    for one in ends:
        assert (np.diff(one) > 0).all()


def test_a_slower_memory_takes_longer(tiny_program):
    cycles = [predict.predict(tiny_program, bus).cycles for bus in
              (Bus(), Bus(latency=50), Bus(latency=200), Bus(latency=200, bandwidth=64))]
    assert cycles == sorted(set(cycles))


def test_the_schedule_loads_each_weight_once(tiny, tiny_program):
    transformer = lower(tiny)
    plan = schedule(transformer, tiny_program.spec)
    tiles = sum(-(-k // 8) * -(-n // 8) for k, n in (
        linear.shape for name, linear in tiny.operands.items() if name.endswith("weight")))
    loaded = sum(instruction.fields["beats"] for instruction in plan.instructions
                 if instruction.engine == DMA and instruction.fields["memory"] == 0)
    assert loaded == 8 * tiles
