"""Vectors from a network, and which of them a simulation accepts."""

import json
from pathlib import Path

import numpy as np
import pytest

from vitrtl.sim.plan import plan
from vitrtl.sw.capture import record, specs_to_test, write_index, write_vectors
from vitrtl.sw.catalog import UNITS, unit
from vitrtl.sw.errors import UserError
from vitrtl.sw.files import read_json
from vitrtl.sw.network import save
from vitrtl.sw.vectors import load

BOTH = ("generic", "ecp5")


@pytest.fixture(scope="module")
def activations(network, digits):
    return record(network, digits.pixels[digits.test[:2]])


@pytest.fixture
def folder(tmp_path):
    """Write the vectors of one unit, as if they were all."""
    entry = unit("gelu_ierf")
    path = write_vectors(tmp_path / "vectors", entry, entry.golden.spec(), None)
    write_index(tmp_path / "vectors", None, [path])
    return tmp_path / "vectors"


def test_every_unit_of_the_network_is_tested(network):
    pairs = specs_to_test(network)
    assert {entry.name for entry, _ in pairs} == set(UNITS)
    used = {(name, spec.digest) for name, specs in network.units.items() for spec in specs}
    assert used <= {(entry.name, spec.digest) for entry, spec in pairs}


def test_all_rows_of_all_layers_are_there(network, activations, tmp_path):
    """Also for a method that the network itself does not use."""
    for name in ("softmax_exp2", "softmax_shiftmax_pow2"):
        entry = unit(name)
        spec = next(s for e, s in specs_to_test(network) if e is entry)
        cases = load(write_vectors(tmp_path, entry, spec, activations)).of_kind("network")
        layers = [n for n in network.nodes if n.op.startswith("softmax")]
        assert [case.name for case in cases] == [layer.name for layer in layers]
        for case, layer in zip(cases, layers, strict=True):
            np.testing.assert_array_equal(case.x, activations.seen[layer.name][0][0].ravel())


def test_every_product_is_there(network, activations, tmp_path):
    entry = unit("matmul")
    spec, = network.units["matmul"]
    cases = load(write_vectors(tmp_path, entry, spec, activations)).of_kind("network")
    products = sum(activations.seen[n.name][1][..., 0, 0].size for n in network.nodes
                   if n.op == "matmul")
    assert len(cases) == products
    assert any(case.transposed for case in cases)
    for case in cases[::50]:
        np.testing.assert_array_equal(case.a @ case.b, case.expected)


def test_vectors_that_are_up_to_date_are_kept(folder):
    entry = unit("gelu_ierf")
    path = next(folder.glob("*.npz"))
    before = path.stat().st_mtime_ns
    write_vectors(folder, entry, entry.golden.spec(), None)
    assert path.stat().st_mtime_ns == before


def test_damaged_vectors_are_made_again(folder):
    entry = unit("gelu_ierf")
    path = next(folder.glob("*.npz"))
    path.write_bytes(path.read_bytes()[:100])
    write_vectors(folder, entry, entry.golden.spec(), None)
    assert load(path).cases


def test_plan_has_each_unit_on_each_device(folder, tmp_path):
    jobs = plan(folder, tmp_path / "sim", tmp_path / "network", [], BOTH)
    assert [job.device for job in jobs] == ["ecp5", "generic"]
    assert len({job.name for job in jobs}) == 2


def test_no_vectors_is_an_error(tmp_path):
    with pytest.raises(UserError, match="^there are no vectors in .*; run `vitrtl vectors`$"):
        plan(tmp_path, tmp_path, tmp_path, [], BOTH)


def test_unit_without_vectors_is_an_error(folder, tmp_path):
    with pytest.raises(UserError, match="^there are no vectors of requantize in "):
        plan(folder, tmp_path, tmp_path, ["requantize"], BOTH)


def test_unknown_unit_is_an_error(folder, tmp_path):
    with pytest.raises(ValueError, match="^unit must be one of .*, not 'gelu'$"):
        plan(folder, tmp_path, tmp_path, ["gelu"], BOTH)


def test_vectors_of_another_network_are_refused(network, folder, tmp_path):
    save(network, tmp_path / "network")
    index = read_json(folder / "index.json") | {"network": "0123456789abcdef"}
    (folder / "index.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match=f"must be of network {network.digest}, .* not of "
                                        f"0123456789abcdef; run `vitrtl vectors`$"):
        plan(folder, tmp_path, tmp_path / "network", [], BOTH)


def test_vectors_older_than_the_golden_function_are_refused(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("vitrtl.sim.plan.golden_digest", lambda name: "changed")
    with pytest.raises(UserError, match="is older than its golden function; run `vitrtl vectors`"):
        plan(folder, tmp_path, tmp_path, [], BOTH)


def test_index_keeps_the_other_units_of_the_same_network(folder):
    write_index(folder, None, [Path("other.npz")], merge=True)
    assert len(read_json(folder / "index.json")["files"]) == 2
    write_index(folder, "another", [Path("other.npz")], merge=True)
    assert read_json(folder / "index.json")["files"] == ["other.npz"]
