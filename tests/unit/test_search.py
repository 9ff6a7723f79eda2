"""Sensitivity, costs, rules and the command that joins them, with an invented cost table."""

import copy
import csv
import dataclasses
import functools
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch

from vitrtl.hw.verilog import module_name
from vitrtl.sw import assignment
from vitrtl.sw import network as networks
from vitrtl.sw.candidate import candidate, candidates_of
from vitrtl.sw.catalog import OPERATORS, UNITS, methods_of, unit
from vitrtl.sw.cli import main
from vitrtl.sw.cost import suite
from vitrtl.sw.cost.builds import Build, default_builds
from vitrtl.sw.cost.table import CostError, CostRow, CostTable, load_table
from vitrtl.sw.cost.target import load_target
from vitrtl.sw.engine import DASK
from vitrtl.sw.errors import UserError
from vitrtl.sw.executor import Executor
from vitrtl.sw.files import digest as checksum_of
from vitrtl.sw.files import write_if_changed
from vitrtl.sw.network import IntegerNetwork
from vitrtl.sw.ptq import comparison, joint_search, show
from vitrtl.sw.ptq.accelerator_cycles import AcceleratorCycles
from vitrtl.sw.ptq.calibration import calibrate
from vitrtl.sw.ptq.comparison import (
    FAMILIES,
    Accuracy,
    Evaluation,
    Reference,
    decided_units,
    single_method_choices,
)
from vitrtl.sw.ptq.evaluations import Evaluations
from vitrtl.sw.ptq.float_graph import FloatGraph, layers_of
from vitrtl.sw.ptq.joint import problem_of, solve
from vitrtl.sw.ptq.metrics import NORMALIZATIONS
from vitrtl.sw.ptq.models import FloatModel
from vitrtl.sw.ptq.omega_study import agreements
from vitrtl.sw.ptq.origin import origin_of
from vitrtl.sw.ptq.proxies import PROXIES, correlate, random_choices
from vitrtl.sw.ptq.quantize import deferred_beta, export, quantize, resolve_methods
from vitrtl.sw.ptq.scheme import Scheme
from vitrtl.sw.ptq.search import (
    METRICS,
    RULES,
    choose,
    counts,
    differing,
    layers_in,
    rule_of,
    score,
)
from vitrtl.sw.ptq.sensitivity import (
    CandidateNetworks,
    Sensitivity,
    measure,
    operand_nodes,
    output_noise,
)
from vitrtl.sw.ptq.unit_costs import look_up, resource_of

TARGET = load_target("ecp5-85k")
AREAS = {"softmax_exp2": 500, "softmax_shiftmax": 500, "softmax_iexp": 400,
         "gelu_shiftgelu": 900, "gelu_shiftgelu_elem": 300, "gelu_ierf": 100, "gelu_pwl": 300,
         "layernorm_newton": 700, "layernorm_rsqrt": 700, "requantize": 200, "matmul": 2000}
"""Invented, so that no test depends on what was measured."""

TRIALS = 6
"""Random networks of a search in a test."""


def checksum(name, spec, device) -> str:
    """Stand in for the checksum of generated Verilog, which takes seconds a unit."""
    return f"{name} {spec.digest} {device}"


def cost_row(build, **changes) -> CostRow:
    """Return an invented row of the cost table."""
    entry, area = UNITS[build.unit], AREAS.get(build.unit, 600)
    resources = {name: 1 for name in TARGET.resources} | {"lut4eq": area, "dsp": area // 100}
    row = CostRow(
        unit=entry.name, operator=entry.operator, method=entry.method, spec=build.spec.asdict(),
        spec_digest=build.spec.digest, target=TARGET.name, part=TARGET.part, speed_grade="6",
        clock_mhz=100.0 + area, clock_mhz_seeds={"1": 100.0 + area}, area=area,
        area_unit=TARGET.area, resources=resources, latency_fixed=1, latency_per_beat=0,
        interval_min=1, cycles="1 + N", tools={},
        verilog=checksum(build.unit, build.spec, TARGET.device))
    return dataclasses.replace(row, **changes)


@pytest.fixture
def table() -> CostTable:
    return CostTable(tuple(cost_row(build) for build in default_builds()))


def all_units():
    """Return the specs of every build, by unit."""
    units: dict[str, list] = {}
    for build in default_builds():
        units.setdefault(build.unit, []).append(build.spec)
    return units


@pytest.fixture
def costs(table):
    return look_up(table, TARGET, all_units(), checksum)


def key(name) -> str:
    """Return a build as the search names units."""
    one = candidate(name)
    return f"{one.unit.name} {one.spec.digest}"


def record(layer, name, **changes) -> Sensitivity:
    """Return an invented measurement."""
    one = candidate(name)
    values = {"layer": layer, "operator": one.operator, "candidate": name, "unit": one.unit.name,
              "spec_digest": one.spec.digest, "chain": (key(name),), "needs": (key(name),),
              "in_scale": 0.1, "rows": 1, "row_length": 8, "asqnr_in": 60.0, "asqnr_out": 50.0,
              "sqnr_diff": 10.0, "sqnr": 25.0, "perturbation_mean": 1e-3,
              "perturbation_sum": 1e-2, "logit_noise": 1e-4, "network_error": 0.02}
    return Sensitivity(**(values | changes))


@pytest.fixture
def scored(costs):
    """Return one layer that each rule sees otherwise, and one without a choice."""
    return score([
        record("a", "gelu_shiftgelu", sqnr=35.0, perturbation_mean=1e-4, asqnr_out=40.0),
        record("a", "gelu_shiftgelu_elem", sqnr=30.0, perturbation_mean=3e-4, sqnr_diff=2.0),
        record("a", "gelu_ierf", sqnr=10.0, perturbation_mean=3e-2, asqnr_out=55.0),
        record("b", "layernorm_newton")], costs, "lut4eq")


# --- rules ----------------------------------------------------------------------------------------

def test_each_rule_takes_what_it_says(scored):
    chosen = {name: choose(scored, rule)["a"] for name, rule in RULES.items()}
    assert chosen == {"omega": "gelu_shiftgelu_elem", "sqnr": "gelu_ierf",
                      "sqnr_diff": "gelu_shiftgelu_elem", "argmax_q": "gelu_shiftgelu",
                      "argmin_c": "gelu_ierf"}
    assert set(METRICS) <= set(RULES)


def test_layer_with_one_candidate_takes_it(scored):
    assert {choose(scored, rule)["b"] for rule in RULES.values()} == {"layernorm_newton"}
    assert [c.perturbation_norm for c in scored][3:] == [1.0]


def test_cost_and_perturbation_are_normalized_by_the_largest_of_the_layer(scored):
    of_layer = layers_in(scored)["a"]
    assert [c.cost_norm for c in of_layer] == pytest.approx([1, 1 / 3, 1 / 9])
    assert [c.perturbation_norm for c in of_layer] == pytest.approx([1 / 300, 1 / 100, 1])


def test_cost_is_the_resource_that_is_named(costs):
    (candidate,) = score([record("a", "gelu_shiftgelu")], costs, "dsp")
    assert candidate.cost == 9


def test_equals_are_decided_by_the_order_of_the_catalogue(costs):
    scored = score([record("a", "softmax_shiftmax"), record("a", "softmax_iexp")], costs, "ff")
    assert {choose(scored, rule)["a"] for rule in RULES.values()} == {"softmax_shiftmax"}


def test_counts_and_differences():
    one, other = {"a": "x", "b": "x", "c": "y"}, {"a": "x", "b": "y", "c": "y"}
    assert counts(one) == {"x": 2, "y": 1}
    assert differing(one, other) == ["b"]


def test_text_says_how_often_omega_differs(scored):
    assert show.comparison_text(scored, "lut4eq") == (
        "Omega's choice differs from the least lut4eq in 1 and from the highest SQNR in 1 of the 1 "
        "layers that have a choice. 1 layers have one method and thus no choice.")


def test_text_names_the_operators_that_need_several_units():
    assert show.several_units_text({"a": "gelu_ierf", "b": "layernorm_newton"}) is None
    assert "softmax (shiftmax, iexp)" in show.several_units_text(
        {"a": "softmax_iexp", "b": "softmax_shiftmax", "c": "gelu_ierf"})


def test_unknown_metric_and_resource_are_refused():
    with pytest.raises(UserError, match="^metric must be one of omega, sqnr, sqnr_diff, not 'x'$"):
        rule_of("x")
    with pytest.raises(UserError, match="^cost on ecp5-85k must be one of lut4eq, .*, not 'gates'"):
        resource_of(TARGET, "gates")
    assert resource_of(TARGET, None) == "lut4eq" and resource_of(TARGET, "dsp") == "dsp"


def test_agreement_of_omega_is_counted_by_normalization(scored, costs):
    found = {a.normalization: a for a in agreements([c.sensitivity for c in scored], costs,
                                                    "lut4eq")}
    assert set(found) == set(NORMALIZATIONS)
    # Of the one layer with a choice, Omega takes neither; raw areas leave nothing but the cost.
    ours, raw = found["largest"], found["none"]
    assert (ours.layers, ours.cheapest, ours.most_accurate, ours.neither) == (1, 0, 0, 1)
    assert (raw.cheapest, raw.most_accurate, raw.neither) == (1, 0, 0)
    assert raw.choice["a"] == "gelu_ierf" and ours.candidates == 2


# --- proxies --------------------------------------------------------------------------------------

def test_random_choices_are_the_same_everywhere_and_of_few_candidates():
    layers = {f"l{i}": "softmax" if i % 2 else "gelu" for i in range(20)}
    names = {"softmax": list("abcde"), "gelu": list("vwxyz")}
    choices = random_choices(names, layers, 12, seed=4)
    assert choices == random_choices(names, layers, 12, seed=4) != random_choices(names, layers, 12)
    counts_of = [len({c for layer, c in choice.items() if layers[layer] == "gelu"})
                 for choice in choices]
    assert len(set(counts_of)) > 1 and set(counts_of) <= {1, 2, 3}
    assert all(choice[layer] in names[operator] for choice in choices
               for layer, operator in layers.items())


def test_a_proxy_that_orders_networks_as_their_logits_do_correlates():
    names = ("gelu_ierf", "gelu_pwl", "gelu_lut")
    records = [record(layer, name, logit_noise=10.0 ** -i, sqnr=10.0 * (i % 2) + place)
               for place, layer in enumerate("abc") for i, name in enumerate(names)]
    choices = random_choices({"gelu": names}, dict.fromkeys("abc", "gelu"), 16)
    loss = {(r.layer, r.candidate): r.logit_noise for r in records}
    errors = [sum(loss[pair] for pair in choice.items()) ** 0.5 for choice in choices]
    found = correlate(records, choices, errors)
    assert found["logit_noise"].spearman == found["logit_noise"].pearson == 1
    assert found["noise"].spearman < 0.9 and found["perturbation"].spearman == 0


def test_the_network_proxy_adds_up_to_the_squares_of_the_networks_errors():
    records = [record(layer, "gelu_ierf", network_error=0.3, sqnr=20.0 + i)
               for i, layer in enumerate("abc")]
    assert sum(PROXIES["network"].losses(records)) == pytest.approx(0.09)


# --- costs ----------------------------------------------------------------------------------------

ALWAYS = frozenset(map(key, ("requantize", "requantize:16", "matmul")))


def test_each_unit_counts_once(costs, network):
    total = costs.total(network.units)
    assert total.area == 500 + 300 + 700 + 2 * 200 + 2000 == total.resources["lut4eq"]
    assert total.resources["ff"] == 6 and total.clock_mhz == 300.0
    assert costs.total(decided_units(network, ALWAYS)).area == 1500


def test_units_of_equal_gates_count_once(costs):
    units = {name: [unit(name).golden.spec()] for name in ("gelu_poly4", "gelu_poly4_refit")}
    assert costs.total(units).area == costs.total({"gelu_poly4": units["gelu_poly4"]}).area == 600
    digest = units["gelu_poly4"][0].digest
    assert costs.built("gelu_poly4_refit", digest) == ("gelu_poly4", digest)
    scored = score([record("a", "gelu_poly4"), record("b", "gelu_poly4_refit")], costs, "lut4eq")
    problem = problem_of([c.sensitivity for c in scored], [1.0, 1.0], costs)
    assert problem.of_choice({"a": "gelu_poly4", "b": "gelu_poly4_refit"}).used["lut4eq"] == 600


def test_cost_is_of_all_that_a_layer_needs(costs):
    log_int = record("a", "softmax_log_int", needs=(key("softmax_log_int"), key("matmul:log2")))
    (scored,) = score([log_int], costs, "lut4eq")
    assert scored.cost == 600 + 2000


def test_cycles_are_rows_at_the_interval_of_the_slowest_and_the_latencies(table):
    rows = [dataclasses.replace(row, latency_fixed=7, latency_per_beat=2, interval_min=3)
            if row.unit == "softmax_exp2" else
            dataclasses.replace(row, latency_fixed=4, interval_min=20)
            if row.unit == "requantize" else row for row in table.rows]
    costs = look_up(CostTable(tuple(rows)), TARGET, all_units(), checksum)
    chain = [tuple(key(name).split()) for name in ("softmax_exp2", "requantize")]
    assert costs.cycles(chain[:1], 5, 10) == 4 * 10 + 7 + 2 * 10 + 10
    assert costs.cycles(chain, 5, 10) == 4 * 20 + 7 + 2 * 10 + 4 + 10
    assert costs.cycles(chain[:1], 1, 10) == costs.rows[chain[0]].row_cycles(10)


def test_more_lanes_take_fewer_cycles_and_units_of_their_own(table):
    chain = tuple(map(key, ("gelu_ierf", "requantize")))
    wide = {name: dataclasses.replace(unit(name).golden.spec(), lanes=4)
            for name in ("gelu_ierf", "requantize")}
    rows = [cost_row(Build(name, spec), area=4 * AREAS[name],
                     resources={"lut4eq": 4 * AREAS[name]}) for name, spec in wide.items()]
    costs = look_up(table.updated(rows), TARGET, all_units(), checksum, lanes=(1, 4))
    # The requantizer of one lane is there anyway, that of four lanes is not.
    records = [record("a", "gelu_ierf", chain=chain, row_length=64, rows=10),
               record("a", "gelu_pwl", chain=(key("gelu_pwl"), chain[1]))]
    problem = problem_of(records, [1.0, 2.0], costs, (1, 4))
    assert [o.candidate for o in problem.options] == ["gelu_ierf", "gelu_ierf@4", "gelu_pwl"]
    one, four = (problem.of_choice({"a": name}).used for name in ("gelu_ierf", "gelu_ierf@4"))
    assert one["lut4eq"] == AREAS["gelu_ierf"]
    assert four["lut4eq"] == 4 * (AREAS["gelu_ierf"] + AREAS["requantize"])
    assert one["cycles"] == 9 * 64 + 2 + 64 and four["cycles"] == 9 * 16 + 2 + 16
    assert solve(problem, {"cycles": 200}).choice == {"a": "gelu_ierf@4"}
    assert solve(problem).choice == {"a": "gelu_ierf"}


class InventedCycles:
    """Stands in for the cycles of one image on an accelerator."""

    always = 1000

    def adds(self, layer, name):
        return {"gelu_ierf": 10, "gelu_lut": 30, "gelu_pwl": None}[name]

    def each(self, name):
        return 7

    def exact(self, choice):
        return 2000


def test_cycles_of_an_image_are_estimated_from_layers_and_units(costs):
    records = [record(layer, name) for layer in "ab"
               for name in ("gelu_ierf", "gelu_lut", "gelu_pwl")]
    problem = problem_of(records, [1.0, 2.0, 0.5] * 2, costs, cycles=InventedCycles())
    layers = list(problem.layers.values())
    ierf, lut, pwl = ([of_layer[i] for of_layer in layers] for i in range(3))
    assert problem.solution(ierf).used["cycles"] == 1000 + 2 * 10 + 7
    assert problem.solution([ierf[0], lut[1]]).used["cycles"] == 1000 + 10 + 30 + 2 * 7
    assert problem.solution(pwl).used["cycles"] is None and problem.untimed == ["gelu_pwl"]
    assert solve(problem).used["cycles"] == 2000
    with pytest.raises(UserError, match="^budget of cycles must be at least 2,000, not 1,900$"):
        solve(problem, {"cycles": 1900})
    assert solve(problem, {"cycles": 2000}).choice == {"a": "gelu_ierf", "b": "gelu_ierf"}


def test_lanes_change_no_integer(float_model, calibration, digits):
    few = digits.pixels[digits.test[:4]]
    one, four = (export(calibration, resolve_methods(float_model, {
        "gelu": f"gelu_pwl{lanes}", "softmax": f"softmax_exp2{lanes}",
        "layernorm": f"layernorm_rsqrt{lanes}"}, {})) for lanes in ("", "@4"))
    assert set(four.methods.values()) == {"gelu_pwl@4", "softmax_exp2@4", "layernorm_rsqrt@4"}
    assert {spec.lanes for spec in four.units["requantize"]} == {1, 4}
    np.testing.assert_array_equal(Executor(one).run(few), Executor(four).run(few))
    np.testing.assert_array_equal(Executor(one).run(few), Executor(four, plain=True).run(few))


def test_missing_row_names_what_measures_it(table, network):
    kept = CostTable(tuple(row for row in table.rows if row.unit != "matmul"))
    digest = unit("matmul").golden.spec().digest
    with pytest.raises(CostError, match=f"^the cost table has no row for matmul spec {digest} on "
                                        "ecp5-85k: `vitrtl cost matmul --target ecp5-85k` "
                                        "measures it$"):
        look_up(kept, TARGET, network.units, checksum)


def test_several_missing_rows_are_counted(network):
    with pytest.raises(CostError, match="; 6 rows in all are missing or stale, `make everything` "
                                        "measures them$"):
        look_up(CostTable(), TARGET, network.units, checksum, "make everything")


def test_row_of_other_gates_is_refused():
    spec = unit("gelu_ierf").golden.spec()
    stale = CostTable(tuple(cost_row(build) for build in default_builds(["gelu_ierf"])))
    wanted = (f"^the cost table's row for gelu_ierf spec {spec.digest} on ecp5-85k is stale, its "
              r"Verilog is .*, not [0-9a-f]{16}: `vitrtl cost gelu_ierf --target ecp5-85k` "
              "measures it$")
    with pytest.raises(CostError, match=wanted):
        look_up(stale, TARGET, {"gelu_ierf": [spec]}, suite.verilog_checksum)


def test_digest_follows_the_costs(table, costs):
    row = next(row for row in table.rows if row.unit == "gelu_ierf")
    changed = table.updated([dataclasses.replace(row, area=row.area + 1)])
    units = all_units()
    assert look_up(table, TARGET, units, checksum).digest == costs.digest
    assert look_up(changed, TARGET, units, checksum).digest != costs.digest


def test_shipped_table_has_every_row_that_the_default_network_needs():
    table = load_table()
    for build in default_builds():
        assert table.row(build.unit, build.spec, TARGET.name).area > 0


# --- sensitivity ----------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def pixels(digits):
    return digits.pixels[digits.calibration(8, seed=0)]


@pytest.fixture(scope="module")
def candidates(float_model, calibration):
    return CandidateNetworks(float_model, functools.partial(export, calibration),
                             resolve_methods(float_model, {}, {}))


@pytest.fixture(scope="module")
def records(candidates, pixels):
    return measure(candidates, pixels)


def test_every_candidate_of_every_layer_is_measured(records, float_model):
    expected = [(layer.name, one.name) for layer in layers_of(float_model)
                for one in candidates_of(layer.operator)]
    assert [(r.layer, r.candidate) for r in records] == expected
    for r in records:
        assert r.sqnr_diff == pytest.approx(r.asqnr_in - r.asqnr_out, abs=1e-3)
        assert r.perturbation_sum == pytest.approx(r.perturbation_mean * r.rows * r.row_length,
                                                   rel=1e-4)


def test_measuring_again_gives_the_same_numbers(candidates, pixels, records):
    done = []
    assert measure(candidates, pixels, done.append) == records
    assert sum(done) == len(pixels) * len(candidates.distinct)


def test_candidates_share_the_network_of_the_base(candidates, float_model):
    # Each operator's default method is in the network of the defaults.
    names = [one for operator in OPERATORS for one in candidates_of(operator)]
    assert len(candidates.distinct) == len(names) - len(OPERATORS) + 1
    assert candidates.by_candidate["gelu_ierf"].methods == resolve_methods(
        float_model, {"gelu": "gelu_ierf"}, {})
    assert set(candidates.units) == set(UNITS)
    assert candidates.always == ALWAYS
    assert set(candidates.shared) == {"matmul", "requantize"}


def test_a_layer_needs_its_unit_and_what_else_its_codes_ask_for(records):
    of_layer = {r.candidate: r for r in records if r.layer == "blocks.0.attn.softmax"}
    assert of_layer["softmax_exp2"].needs == (key("softmax_exp2"),)
    assert of_layer["softmax_exp2"].chain == (key("softmax_exp2"), key("requantize"))
    assert of_layer["softmax_exp2:s8"].chain == (key("softmax_exp2:s8"),)
    assert set(of_layer["softmax_log_int"].needs) == {key("softmax_log_int"), key("matmul:log2")}


def test_logit_noise_is_what_the_error_makes_of_the_float_logits(
        candidates, records, float_model, pixels):
    # In the last layer the logits follow linearly, so that first order is all there is.
    result = next(r for r in records if (r.layer, r.candidate) == ("norm", "layernorm_l1"))
    network = candidates.by_candidate["layernorm_l1"]
    graph, nodes = FloatGraph(float_model), operand_nodes(network, "norm")
    x, y = next((x.double().numpy(), y.double()) for layer, x, y in graph.layer_values(pixels)
                if layer.name == "norm")
    scale = float(network.values[nodes[0].inputs[0]].scale[0])
    codes = np.rint(x / scale).astype(np.int64)
    for node in nodes:
        codes = unit(node.op).golden.function(codes, node.spec, node.unit_constants)
    error = network.values[nodes[-1].output].real(codes) - y.numpy()
    shift = error[:, 0] @ float_model.module.head.weight.detach().double().numpy().T
    logits = graph.run(pixels).double().numpy()
    assert result.logit_noise == pytest.approx((shift ** 2).mean() / logits.var(), rel=1e-3)


def test_network_error_is_that_of_the_network_with_the_candidate(candidates, records, float_model,
                                                                 pixels):
    network = candidates.by_candidate["gelu_ierf"]
    wanted = FloatGraph(float_model).run(pixels).double().numpy()
    found = network.values[network.output].real(Executor(network).run(pixels))
    for r in records:
        if r.candidate == "gelu_ierf":
            assert r.network_error == pytest.approx(
                np.sqrt(((found - wanted) ** 2).mean()) / wanted.std(), rel=1e-5)


def test_noise_in_networks_is_what_the_candidates_were_measured_by(candidates, records,
                                                                   float_model, pixels):
    noise = output_noise({"ours": candidates.by_candidate["gelu_pwl"]}, float_model, pixels)
    of_base = {r.layer: r.asqnr_out for r in records
               if r.candidate in ("softmax_exp2", "gelu_pwl", "layernorm_rsqrt")}
    assert noise["ours"] == pytest.approx(of_base)


def test_input_of_the_first_softmax_does_not_depend_on_its_method(records):
    first = [r for r in records if r.layer == "blocks.0.attn.softmax"]
    assert first[0].asqnr_in == first[1].asqnr_in and first[0].asqnr_out != first[1].asqnr_out


def test_method_alone_is_the_golden_function_on_the_rounded_float_input(
        candidates, records, float_model, pixels):
    network = candidates.by_candidate["gelu_ierf"]
    name = "blocks.1.mlp.gelu"
    node, (result,) = network.node(name), [r for r in records
                                           if (r.layer, r.candidate) == (name, "gelu_ierf")]
    x, y = next((x.double().numpy(), y.double().numpy()) for layer, x, y in
                FloatGraph(float_model).layer_values(pixels) if layer.name == name)
    scale = float(network.values[node.inputs[0]].scale[0])
    codes = np.clip(np.rint(x / scale), -128, 127).astype(np.int64)
    out = unit("gelu_ierf").golden.function(codes, node.spec, node.unit_constants)
    node, requantizer = operand_nodes(network, name)
    out = unit("requantize").golden.function(out, requantizer.spec, requantizer.unit_constants)
    error = y - network.values[requantizer.output].real(out)
    assert result.perturbation_mean == pytest.approx(np.mean(error ** 2), rel=1e-5)
    assert result.sqnr == pytest.approx(10 * np.log10(np.mean(y ** 2) / np.mean(error ** 2)),
                                        rel=1e-5)


def test_beta_that_the_next_layer_adds_is_no_error(float_model, pixels):
    module = copy.deepcopy(float_model.module)
    with torch.no_grad():
        module.blocks[0].norm1.weight[0], module.blocks[0].norm1.bias[0] = 0.0, 1.5
    model = FloatModel("changed", module, float_model.mean, float_model.std, "changed")
    calibration = calibrate(model, pixels, Scheme.plain("minmax"))
    changed = CandidateNetworks(model, functools.partial(export, calibration),
                                resolve_methods(model, {}, {}))
    result = measure(changed, pixels[:2])[0]
    # Behind the requantizer, whose eight bits bound it.
    assert result.layer == "blocks.0.norm1" and result.sqnr > 35
    network = changed.by_candidate["layernorm_rsqrt"]
    layer, x, y = next(iter(FloatGraph(model).layer_values(pixels[:2])))
    node = network.node(layer.name)
    codes = np.rint(x.double().numpy() / float(network.values[node.inputs[0]].scale[0]))
    out = unit(node.op).golden.function(codes.astype(np.int64), node.spec, node.unit_constants)
    error = y.double().numpy() - network.values[layer.name].real(out) - deferred_beta(layer)
    assert 10 * np.log10((y.double().numpy() ** 2).mean() / (error ** 2).mean()) > 45


# --- comparison -----------------------------------------------------------------------------------

def test_single_method_networks_are_families_and_each_method_over_the_base(float_model):
    layers = layers_of(float_model)
    base = resolve_methods(float_model, {}, {})
    choices = single_method_choices(layers, base)
    names = [one for operator in OPERATORS for one in candidates_of(operator, software=True)]
    assert len(choices) == len(FAMILIES) + len(names)
    assert set(choices["I-BERT"].values()) == {"softmax_iexp", "gelu_ierf", "layernorm_isqrt"}
    changed = choices["gelu ierf"]
    assert {name: chosen for name, chosen in changed.items() if chosen != base[name]} == {
        layer.name: "gelu_ierf" for layer in layers if layer.operator == "gelu"}


def test_a_network_with_float_layers_has_no_cost(float_model, digits, costs, calibration):
    layers = layers_of(float_model)
    methods = single_method_choices(layers, resolve_methods(float_model, {}, {}))["all float"]
    network = export(calibration, methods)
    test = digits.test[:40]
    reference = Reference.of(float_model, digits.pixels[test], digits.labels[test])
    result = Evaluation.of("float", network, reference.accuracy_of(network), costs, ALWAYS)
    assert result.total is None and result.nonlinear is None
    assert result.agreement >= 0.97 and result.logit_error < 0.05


def test_evaluation_is_against_the_float_network(float_model, network, digits, costs):
    test = digits.test[:40]
    reference = Reference.of(float_model, digits.pixels[test], digits.labels[test])
    done = []
    result = Evaluation.of("name", network, reference.accuracy_of(network, done.append), costs,
                           ALWAYS)
    assert sum(done) == 40 and result.network_digest == network.digest
    assert result.accuracy >= reference.accuracy - 0.05 and result.agreement >= 0.95
    assert 0 < result.logit_error < 0.1
    assert result.nonlinear.area == 1500 and result.total.area == 3900


# --- origin ---------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def small(float_model, digits):
    """Return a network of few calibration images."""
    return quantize(float_model, digits, count=4, seed=3, scheme=Scheme.plain("minmax"))


def altered(network, **provenance) -> IntegerNetwork:
    """Return a network that says something else of its making."""
    return dataclasses.replace(network, provenance={**network.provenance, **provenance})


def test_network_is_made_again_from_what_it_says(small):
    origin = origin_of(small)
    assert (origin.seed, origin.calibration.scheme.observer, len(origin.ids)) == (3, "minmax", 4)
    assert origin.network(small.methods).digest == small.digest


@pytest.mark.parametrize("provenance, message", [
    ({"weights_digest": "0"}, r"^float weights must be those that digits_vit was made from \(sh"),
    ({"weights": "my.safetensors"}, r"^float weights of digits_vit \(my.safetensors\) must be giv"),
    ({"data_digest": "0"}, "^digits_vit was calibrated on other images of the name digits$"),
    ({"data": "cats"}, "^images must be a folder, .* but there is no folder cats$"),
    ({"calibration_digest": "0"}, "^calibration images of digits_vit must have the pixels that th"),
    ({"calibration_images": ["a"]}, "^calibration images of digits_vit must be of the training"),
    ({"observer": "percentile"}, "^network .* cannot be made again from what it says, which gives"),
    ({"seed": None}, "^the network's provenance must have 'seed': quantize anew$"),
])
def test_network_that_was_made_otherwise_is_refused(small, provenance, message):
    with pytest.raises(UserError, match=message):
        origin_of(altered(small, **provenance))

# --- evaluations ----------------------------------------------------------------------------------

def test_a_network_is_run_once_on_the_same_images(network, float_model, digits, tmp_path,
                                                  monkeypatch):
    few, more = (Reference.of(float_model, digits.pixels[ids], digits.labels[ids])
                 for ids in (digits.test[:8], digits.test[:16]))
    path, done = tmp_path / "evaluations.json", []
    first = Evaluations(path).of(network, few)
    monkeypatch.setattr(Reference, "accuracy_of", None)
    assert Evaluations(path).of(network, few, done.append) == first and done == [8]
    with pytest.raises(TypeError):
        Evaluations(path).of(network, more)
    path.write_text("{")
    with pytest.raises(TypeError):
        Evaluations(path).of(network, few)


def test_networks_on_dask_get_right_what_they_get_right_here(network, float_model, digits,
                                                             calibration, tmp_path):
    ids = digits.test[:16]
    few = Reference.of(float_model, digits.pixels[ids], digits.labels[ids])
    other = export(calibration, resolve_methods(float_model, {"gelu": "gelu_ierf"}, {}))
    here, there = (Evaluations(tmp_path / f"{name}.json") for name in ("here", "there"))
    there.run_on(DASK, 2, [network, other], few)
    assert [here.of(each, few) for each in (network, other)] == [
        Accuracy(**found) for found in map(there.known.get, here.known)]


# --- report ---------------------------------------------------------------------------------------

class Page(HTMLParser):
    """What a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.tags, self.addresses, self.titles = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append(tag)
        self.addresses += [attributes[name] for name in ("src", "href") if name in attributes]
        if attributes.get("class") == "cell":
            self.titles.append(attributes["title"])
        if tag not in ("meta", "img", "i"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag != "i":
            assert self.open.pop() == tag


def check_report(out, costs, path, capsys) -> None:
    """Write the report of a search; see that it is whole and needs nothing else."""
    assert main(["report", str(out), "--costs", costs, "--out", str(path)]) == 0
    assert f"wrote {path}" in capsys.readouterr().out
    text = path.read_text()
    page = Page(text)
    assert not page.open
    assert all(address.startswith(("data:image/svg+xml;base64,", "#"))
               for address in page.addresses)
    assert "script" not in page.tags and "link" not in page.tags and "@import" not in text
    assert page.tags.count("img") == len(list(out.glob("*.svg")))
    chosen = assignment.load(out / "assignment.json")
    strip = page.titles[:len(chosen.layers)]
    assert dict(title.split(": ") for title in strip) == chosen.layers
    compared = json.loads((out / "networks.json").read_text())["records"]
    for name in ("float accuracy", chosen.provenance["network_digest"],
                 *(record["name"] for record in compared)):
        assert name in text
    for browser in filter(shutil.which, ("chromium", "chromium-browser", "google-chrome")):
        shown = subprocess.run([browser, "--headless", "--no-sandbox", "--disable-gpu",
                                "--dump-dom", path.as_uri()],
                               capture_output=True, text=True, timeout=60)
        assert shown.returncode == 0 and "Networks on the same images" in shown.stdout


# --- command --------------------------------------------------------------------------------------

@pytest.fixture
def quick(tmp_path, monkeypatch, table, digits):
    """Search among few methods, on few images, with the invented cost table.

    Returns the arguments that this takes.
    """
    families = {name: FAMILIES[name] for name in ("all float", "I-ViT", "vitrtl")}
    monkeypatch.setattr(comparison, "FAMILIES", families)
    kept = {"gelu_ierf", "softmax_lut", *(f"{operator}_{method}" for family in families.values()
                           for operator, method in family.items())}
    for operator in OPERATORS:
        for entry in methods_of(operator):
            if entry.name not in kept:
                monkeypatch.delitem(UNITS, entry.name)
    few = dataclasses.replace(digits, test=digits.test[:16])
    monkeypatch.setattr("vitrtl.sw.commands.search.images_of_arguments", lambda args, model: few)
    monkeypatch.setattr("vitrtl.sw.ptq.origin.images_of", lambda network, data: few)
    monkeypatch.setattr(suite, "verilog_checksum", checksum)
    path, _ = table.save(tmp_path / "costs")
    monkeypatch.setattr(joint_search, "TRIAL_NETWORKS", TRIALS)
    monkeypatch.setattr(joint_search, "SHORTLIST_IMAGES", 8)
    return ["search", "--costs", str(path), "--out", str(tmp_path / "out"), "--images", "4",
            "--ptq", "none"]


def test_command_writes_what_it_prints_and_the_same_again(quick, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(quick) == 0
    printed = capsys.readouterr().out
    assert "Omega's choice differs from the least lut4eq in" in printed
    assert "mix by omega" in printed and "float accuracy" in printed
    for name in ("I-ViT", "all float", "gelu ierf"):
        assert name in printed

    chosen = assignment.load(out / "assignment.json")
    kept = networks.load(out / "network")
    assert kept.methods == chosen.layers and chosen.provenance["network_digest"] == kept.digest
    assert chosen.provenance["metric"] == "omega" and chosen.provenance["target"] == "ecp5-85k"

    found = json.loads((out / "sensitivity.json").read_text())
    for layer, name in chosen.layers.items():
        of_layer = [r for r in found["records"] if r["layer"] == layer]
        best = max(of_layer, key=lambda r: r["omega"])
        assert best["candidate"] == name and "omega" in best["chosen_by"]
    with (out / "sensitivity.csv").open(newline="") as file:
        assert [r["candidate"] for r in csv.DictReader(file)] == [
            r["candidate"] for r in found["records"]]

    compared = json.loads((out / "networks.json").read_text())
    assert [r["name"] for r in compared["records"]][0] == "mix by omega"
    names = [one for operator in OPERATORS for one in candidates_of(operator, software=True)]
    usable = len(names) - len(found["refused"])
    assert len(compared["records"]) == len(METRICS) + len(comparison.FAMILIES) + usable
    assert compared["test_images"] == 16
    assert compared["records"][0]["network_digest"] == kept.digest

    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in out.rglob("*") if p.is_file()}
    assert {p.stem for p in before} >= {"choices", "omega", "sensitivity_gelu", "distribution",
                                        "noise", "evaluations"}
    assert main(quick) == 0
    assert before == {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in before}


def test_a_search_goes_by_reports_of_the_users_own_device(quick, tmp_path, monkeypatch):
    reports, paths = Path(__file__).parents[1] / "data" / "reports" / "vivado-usp", []
    for number, build in enumerate(default_builds()):
        design = module_name(build.unit, build.spec)
        for kind in ("utilization", "timing"):
            text = (reports / f"softmax_exp2_{kind}.rpt").read_text()
            text = text.replace("softmax_exp2", design).replace("|  229 |", f"| {300 + number} |")
            paths.append(tmp_path / f"{design}_{kind}.rpt")
            paths[-1].write_text(text)
        write_if_changed(tmp_path / "verilog" / f"{design}.v", design)
    imported = tmp_path / "imported"
    assert main(["cost", "import", *map(str, paths), "--target", "my-board", "--build",
                 str(imported), "--verilog", str(tmp_path / "verilog")]) == 0
    # The Verilog that the rows are of is the text that stands in for it.
    monkeypatch.setattr(suite, "verilog_checksum",
                        lambda name, spec, device: checksum_of(module_name(name, spec)))
    assert main([*quick, "--costs", str(imported / "costs.json"), "--target", "my-board"]) == 0
    chosen = assignment.load(tmp_path / "out" / "assignment.json")
    assert chosen.provenance["target"] == "my-board"
    assert chosen.provenance["area_unit"] == "lut"


def test_joint_choice_keeps_its_budgets_and_is_no_worse_than_any_other(quick, tmp_path, capsys):
    out = tmp_path / "out"
    budgets = {"lut4eq": 1400, "dsp": 14, "cycles": 245_000}
    assert main([*quick, "--joint", "--pareto", "4", "--budget",
                 ", ".join(f"{name}={budget}" for name, budget in budgets.items())]) == 0
    printed = capsys.readouterr().out
    assert "What joint choice gains over other answers" in printed
    assert "Cycles: of one image, accelerator 8 x 8." in printed
    chosen = assignment.load(out / "assignment.json")
    assert chosen.provenance["metric"] == "joint" and chosen.provenance["proxy"] in PROXIES
    assert chosen.provenance["budgets"] == budgets
    assert chosen.provenance["cycles_of"] == "accelerator 8 x 8"
    assert networks.load(out / "network").methods == chosen.layers
    tables = {name: json.loads((out / f"{name}.json").read_text())["records"]
              for name in ("front", "gains", "proxies", "trials", "networks", "shortlist")}
    # What is taken errs least on training images, of all that keeps the budgets.
    taken = [one for one in tables["shortlist"] if one["taken"]]
    assert taken[0]["choice"] == chosen.layers
    assert taken[0]["logit_error"] == min(one["logit_error"] for one in tables["shortlist"])
    assert all(one[name] <= budget for one in tables["shortlist"]
               for name, budget in budgets.items())
    digests = [one["network_digest"] for one in tables["shortlist"]]
    assert len(set(digests)) == len(digests)
    assert {"rank 1 by proxy", "rank 2 by proxy"} <= {one["name"] for one in tables["shortlist"]}
    single = {r["name"]: r["network_digest"] for r in tables["networks"]}
    assert single["gelu ierf"] in digests and single["I-ViT"] not in digests
    # What the program says of the choice is what its network costs.
    assert tables["networks"][0]["name"] == "joint"
    assert tables["networks"][0]["nonlinear_area"] <= 1400
    assert tables["networks"][0]["accelerator_cycles"] <= 245_000
    joint = [p for p in tables["front"] if p["way"] == "joint"]
    assert 1 <= len(joint) <= 4
    for point, digest in ((p, p["network_digest"]) for p in joint):
        same = [r for r in tables["networks"] if r["network_digest"] == digest]
        assert all((r["nonlinear_area"], r["accelerator_cycles"]) == (
            point["lut4eq"], point["cycles"]) for r in same)
        assert all(point[name] <= budget for name, budget in budgets.items())
    for other in tables["front"]:
        at = next(p for p in joint if p["budgets"] == other["budgets"])
        assert at["loss"] <= other["loss"] * (1 + 1e-9)
    for beside in {g["beside"] for g in tables["gains"]}:
        other, area, nothing = (next(g for g in tables["gains"] if (g["beside"], g["as"]) == (
            beside, name)) for name in ("itself", "same area", "no more of anything"))
        assert area["loss"] <= nothing["loss"] * (1 + 1e-9) <= other["loss"] * (1 + 1e-8)
        assert area["lut4eq"] <= other["lut4eq"]
        assert all(nothing[name] <= other[name] for name in (*TARGET.resources, "cycles"))
        assert other["cycles"] in {r["accelerator_cycles"] for r in tables["networks"]
                                   if r["network_digest"] == other["network_digest"]}
    assert sorted(p["proxy"] for p in tables["proxies"]) == sorted(PROXIES)
    assert len(tables["trials"]) == TRIALS
    assert (out / "front.svg").is_file() and (out / "proxies.png").is_file()
    check_report(out, quick[2], tmp_path / "report.html", capsys)
    (out / "networks.json").write_text("{}")
    assert main(["report", str(out), "--costs", quick[2]]) == 2
    assert "networks.json is not a vitrtl.networks file" in capsys.readouterr().err


def test_slack_takes_less_area_for_some_error(quick, tmp_path):
    assert main([*quick, "--joint", "--slack", "0.5", "--shortlist", "6"]) == 0
    found = json.loads((tmp_path / "out" / "shortlist.json").read_text())
    assert found["shortlist"] == 6 and found["shortlist_images"] == 8
    least = min(one["logit_error"] for one in found["records"])
    near = [one for one in found["records"] if one["logit_error"] <= 1.5 * least]
    (taken,) = {one["network_digest"]: one for one in found["records"] if one["taken"]}.values()
    assert taken in near and taken["lut4eq"] == min(one["lut4eq"] for one in near)


def test_cycles_of_a_network_without_an_accelerator_are_those_of_its_units(quick, tmp_path, capsys,
                                                                          monkeypatch):
    monkeypatch.setattr(AcceleratorCycles, "of", lambda *_: None)
    assert main([*quick, "--joint", "--budget", "cycles=170000", "--shortlist", "0"]) == 0
    assert "Cycles: of one image, units, one after the other." in capsys.readouterr().out
    # Without a shortlist the proxy decides.
    assert not (tmp_path / "out" / "shortlist.json").exists()
    found = json.loads((tmp_path / "out" / "gains.json").read_text())
    assert found["cycles_of"] == "units, one after the other"
    assert {type(record["cycles"]) for record in found["records"]} == {int}
    assert assignment.load(tmp_path / "out" / "assignment.json").provenance["cycles_of"] == (
        "units, one after the other")


def test_chosen_network_can_be_searched_in_its_turn(quick, tmp_path):
    assert main([*quick, "--metric", "sqnr_diff", "--cost", "dsp"]) == 0
    first = assignment.load(tmp_path / "out" / "assignment.json")
    again = [*quick[:3], "--out", str(tmp_path / "again"), "--network",
             str(tmp_path / "out" / "network")]
    assert main(again) == 0
    second = assignment.load(tmp_path / "again" / "assignment.json")
    assert second.provenance["searched_digest"] == first.provenance["network_digest"]
    assert first.provenance["cost"] == "dsp" and first.provenance["metric"] == "sqnr_diff"


@pytest.mark.parametrize("arguments, message", [
    (["--metric", "best"], r"metric must be one of omega, sqnr, sqnr_diff, not 'best'"),
    (["--target", "virtex"], r"target must be one of .*, not 'virtex'"),
    (["--cost", "gates"], r"cost on ecp5-85k must be one of .*, not 'gates'"),
    (["--costs", "nothing.json"], r"there is no file nothing\.json"),
    (["no_such_vit"], r"model must be digits_vit.* or a name of timm.*, not 'no_such_vit'"),
    (["--images", "0"], r"calibration images must be 1\.\.1257 .*, not 0"),
    (["--observer", "guess"], r"observer must be one of minmax, percentile, mse, not 'guess'"),
    (["--network", "nothing"], r"--network says by itself what it was made from: without --images"),
    (["--budget", "dsp=1"], "--budget is for --joint and --pareto"),
    (["--joint", "--budget", "gates=1"], r"budget must be of one of .*, cycles, not 'gates'"),
    (["--joint", "--budget", "dsp=1"], "budget of dsp must be at least 13, not 1"),
    (["--joint", "--budget", "cycles=1000"],
     r"budget of cycles must be at least 2\d\d,\d{3}, not 1,000"),
    (["--shortlist", "4"], "--shortlist is for --joint"),
    (["--joint", "--shortlist", "-1"], "--shortlist must be from 0 on, not -1"),
    (["--joint", "--slack", "-0.1"], "--slack must be a share from 0 on, not -0.1"),
    (["--joint", "--lanes", "1,3"], "--lanes must be a list of 1, 2, 4 and 8, not '1,3'"),
    (["--lanes", "4"], "--slack and --lanes are for --joint and --pareto"),
    (["--test", "17"], r"test images must be 1..16 \(the test part of digits\), not 17"),
    (["--qat", "all float"], "family must be one of I-ViT.*, not 'all float'"),
    (["--joint", "--proxy", "hope"], r"proxy must be one of logit_noise, .*, not 'hope'"),
    (["--pareto", "1"], "--pareto must be at least 2 points, not 1"),
    (["--target", "xc7"], r"the cost table has no row for .* on xc7: .*"),
])
def test_wrong_arguments_are_one_line_and_leave_nothing(quick, tmp_path, capsys, arguments,
                                                        message):
    assert main([*quick, *arguments]) == 2
    error = capsys.readouterr().err
    assert re.fullmatch(f"vitrtl search: {message}\n", error)
    assert not (tmp_path / "out").exists()


def test_missing_network_and_model_beside_a_network(capsys, tmp_path, quick):
    base = quick[:5]
    assert main([*base, "--network", str(tmp_path / "nothing")]) == 2
    assert "there is no file" in capsys.readouterr().err
    assert main([*base, "digits_vit", "--network", str(tmp_path)]) == 2
    assert "--network says by itself what it was made from: without MODEL" in (
        capsys.readouterr().err)
    (tmp_path / "file").write_text("")
    assert main([*base[:3], "--out", str(tmp_path / "file")]) == 2
    assert "--out must be a folder" in capsys.readouterr().err
