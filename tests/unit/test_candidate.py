"""Names of what a layer may be computed by, and everything that takes such a name."""

import dataclasses
import re

import numpy as np
import pytest

from vitrtl.sw import assignment
from vitrtl.sw.candidate import candidate, candidate_of, candidates_of
from vitrtl.sw.catalog import OPERATORS, UNITS, methods_of
from vitrtl.sw.cli import main
from vitrtl.sw.cost.builds import Build, assignment_builds, candidate_builds, network_builds
from vitrtl.sw.errors import UserError
from vitrtl.sw.golden.softmax_exp2 import Exp2Spec


def test_every_build_has_a_name_of_its_own():
    for operator in OPERATORS:
        found = candidates_of(operator, software=True)
        assert len({c.name for c in found}) == len({c.method for c in found}) == len(found)
        assert len(found) == sum(1 + len(entry.golden.variants)
                                 for entry in methods_of(operator, software=True))
        for c in found:
            assert candidate(c.name) == c
            assert re.fullmatch(r"[a-z0-9_]+(:[a-z0-9]+)?", c.name)


def test_a_name_is_the_unit_and_the_first_word_of_the_variant():
    chosen = candidate("softmax_exp2:s8")
    assert chosen.build == "s8 operand, carried" and chosen.method == "exp2:s8"
    assert chosen.changes == {"out_bits": 7, "carry": True}
    assert candidate("softmax_exp2").spec == Exp2Spec() and not candidate("softmax_exp2").changes
    assert candidate("requantize:16").spec.out_width == 16


@pytest.mark.parametrize(("name", "message"), [
    ("softmax", "unit must be one of .*, not 'softmax'"),
    ("softmax_exp2:16", "variant of softmax_exp2 must be one of 8, s8, not '16'"),
    ("softmax_exp2:", "variant of softmax_exp2 must be one of 8, s8, not ''"),
    ("gelu_pwl@3", "gelu_pwl@3: lanes must be 1, 2, 4 or 8, not 3"),
    ("gelu_pwl@many", "gelu_pwl@many: lanes must be 1, 2, 4 or 8, not 0"),
    ("softmax_iexp:s8", "softmax_iexp has no variants, but 'softmax_iexp:s8' asks for one"),
])
def test_an_unknown_name_is_refused_with_the_known_ones(name, message):
    with pytest.raises(UserError, match=f"^{message}$"):
        candidate(name)


def test_a_spec_is_known_whatever_its_row_length_and_input():
    for operator in OPERATORS:
        for c in candidates_of(operator):
            wide = dataclasses.replace(c.spec, lanes=2)
            assert candidate_of(c.unit.name, wide) == dataclasses.replace(c, lanes=2)
    long = Exp2Spec(longest_row=1024, in_width=6, out_bits=8, carry=True)
    assert candidate_of("softmax_exp2", long).name == "softmax_exp2:8"
    with pytest.raises(UserError, match="^matmul is no candidate: matmul offers no choice$"):
        candidate_of("matmul", UNITS["matmul"].golden.spec())


def test_lanes_are_part_of_the_name():
    wide = candidate("softmax_exp2:s8@4")
    assert wide.name == "softmax_exp2:s8@4" and wide.method == "exp2:s8@4"
    assert wide.spec == dataclasses.replace(candidate("softmax_exp2:s8").spec, lanes=4)
    assert candidate("gelu_pwl@1").name == "gelu_pwl"
    assert assignment.candidate_name("gelu", "pwl@8") == "gelu_pwl@8"


def test_builds_of_one_component_and_spec_have_equal_gates():
    poly4, refit, pwl, merged = (Build(c.unit.name, c.spec).gates for c in map(candidate, (
        "gelu_poly4", "gelu_poly4_refit", "gelu_pwl", "softmax_exp2:s8")))
    assert poly4 == refit and len({poly4, pwl, merged}) == 3


def test_a_method_is_named_alone_or_with_its_operator():
    for name in ("exp2:s8", "softmax_exp2:s8"):
        assert assignment.candidate_name("softmax", name) == "softmax_exp2:s8"
    with pytest.raises(UserError, match="^gelu method must be one of .*poly4.*, not 'exp2'$"):
        assignment.candidate_name("gelu", "exp2")


def test_an_assignment_file_may_name_variants(network, tmp_path):
    path = tmp_path / "assignment.json"
    layers = {name: "softmax_exp2:s8" for name in network.methods if "softmax" in name}
    assignment.save(assignment.Assignment(network.name, layers), path)
    assert assignment.load(path).layers == layers
    builds = assignment_builds(path, network)
    assert Build("softmax_exp2", candidate("softmax_exp2:s8").spec) in builds
    assert Build("softmax_exp2", Exp2Spec()) not in builds

    assignment.save(assignment.Assignment(network.name, dict.fromkeys(layers, "softmax_exp2:u8")),
                    path)
    with pytest.raises(UserError, match="^unit of blocks.0.attn.softmax in .*json: variant of "):
        assignment.load(path)


def test_all_candidates_are_built_for_a_network(network):
    wanted = {(c.unit.name, c.spec) for operator in OPERATORS for c in candidates_of(operator)}
    assert wanted <= {(build.unit, build.spec) for build in candidate_builds(network)}
    assert set(network_builds(network)) <= set(candidate_builds(network))


def test_list_and_apply_know_variants(capsys, tmp_path):
    assert main(["list"]) == 0
    assert "softmax_exp2:s8" in capsys.readouterr().out
    np.save(tmp_path / "x.npy", np.arange(-64, 64).reshape(2, 64).astype(np.int8))
    arguments = ["--scale", "0.05", str(tmp_path / "x.npy"), str(tmp_path / "y.npy")]
    assert main(["apply", "softmax_exp2:s8", *arguments]) == 0
    assert "softmax_exp2:s8: 2 rows of 64, s8 at 0.05 to u7" in capsys.readouterr().out
    assert 120 < np.load(tmp_path / "y.npy").sum(axis=-1).min() <= 128
    assert main(["apply", "softmax_exp2:u8", *arguments]) == 2
    assert "variant of softmax_exp2 must be one of 8, s8" in capsys.readouterr().err
