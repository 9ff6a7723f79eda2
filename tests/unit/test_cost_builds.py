"""Which units are built for a network and for an assignment."""

import dataclasses

import pytest

from vitrtl.sw import assignment
from vitrtl.sw.catalog import UNITS
from vitrtl.sw.cost.builds import (
    assignment_builds,
    candidate_builds,
    default_builds,
    network_builds,
    spec_with,
    table_builds,
)
from vitrtl.sw.errors import UserError
from vitrtl.sw.ptq.calibration import calibrate
from vitrtl.sw.ptq.precision import Precision
from vitrtl.sw.ptq.quantize import export, resolve_methods
from vitrtl.sw.ptq.scheme import Scheme
from vitrtl.sw.ptq.sensitivity import CandidateNetworks


def test_defaults_are_the_catalogue_and_its_variants() -> None:
    builds = default_builds()
    assert {build.unit for build in builds} == set(UNITS)
    assert len(builds) == sum(1 + len(entry.golden.variants) for entry in UNITS.values())
    assert [b.spec.out_width for b in builds if b.unit == "requantize"] == [8, 16]
    assert [build.unit for build in default_builds(["gelu_ierf"])] == ["gelu_ierf"]


def test_the_table_has_vector_units_of_four_lanes_beside_the_defaults() -> None:
    builds = table_builds()
    added = [build for build in builds if build not in default_builds()]
    assert {build.unit for build in added} == set(UNITS) - {"matmul"}
    assert {build.spec.lanes for build in added} == {4}
    assert len({(build.unit, build.spec.digest) for build in builds}) == len(builds)


def test_network_needs_its_own_units_with_their_specs(network) -> None:
    builds = network_builds(network)
    assert {build.unit for build in builds} == set(network.units)
    assert all(build.spec in network.units[build.unit] for build in builds)


def test_candidates_are_all_methods_beside_what_has_no_choice(network) -> None:
    assert {build.unit for build in candidate_builds(network)} == set(UNITS)
    digests = {build.spec.digest for build in candidate_builds(network)}
    assert {build.spec.digest for build in network_builds(network)} <= digests


def test_candidates_are_those_that_a_search_asks_for(digits, float_model) -> None:
    pixels = digits.pixels[digits.calibration(2, seed=0)]
    calibration = calibrate(float_model, pixels, Scheme.plain(precision=Precision(6, 6)))
    base = resolve_methods(float_model, {}, {})
    networks = CandidateNetworks(float_model, lambda methods: export(calibration, methods), base)
    wanted = {(name, spec) for name, specs in networks.units.items() for spec in specs}
    network = networks.by_candidate["softmax_exp2"]
    assert wanted == {(build.unit, build.spec) for build in candidate_builds(network)}


def test_assignment_chooses_exactly_its_units(network, tmp_path) -> None:
    path = tmp_path / "assignment.json"
    layers = {name: "softmax_iexp" if "softmax" in name else op
              for name, op in network.methods.items()}
    assignment.save(assignment.Assignment(network.name, layers), path)
    assert {build.unit for build in assignment_builds(path, network)} == {
        *layers.values(), "requantize", "matmul"}


@pytest.mark.parametrize(("name", "layers", "complaint"), [
    ("other", {}, "is for other, not for digits_vit"),
    ("digits_vit", {"blocks.9.act": "gelu_ierf"}, "digits_vit has no layer 'blocks.9.act'"),
])
def test_assignment_of_something_else_is_refused(name, layers, complaint, network,
                                                 tmp_path) -> None:
    path = tmp_path / "assignment.json"
    assignment.save(assignment.Assignment(name, layers), path)
    with pytest.raises(UserError, match=complaint):
        assignment_builds(path, network)


def test_spec_fields_are_read_from_text() -> None:
    default = UNITS["matmul"].golden.spec()
    assert spec_with("matmul", {"rows": "4", "transposable": "false"}) == dataclasses.replace(
        default, rows=4, transposable=False)
    assert spec_with("softmax_bit_softmax", {"rounding": "floor"}).rounding == "floor"


@pytest.mark.parametrize(("changes", "complaint"), [
    ({"rows": "four"}, "^matmul rows must be an integer, not 'four'$"),
    ({"transposable": "1"}, "^matmul transposable must be true or false, not '1'$"),
    ({"cores": "4"}, "^MatMulSpec has no field 'cores'"),
    ({"rows": "1"}, "^rows must be 2..64, not 1$"),
])
def test_a_wrong_field_is_refused(changes, complaint) -> None:
    with pytest.raises(ValueError, match=complaint):
        spec_with("matmul", changes)
