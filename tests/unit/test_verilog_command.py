"""`vitrtl verilog`: the same text every time, exactly the chosen units."""

import pytest

from vitrtl.sw import assignment
from vitrtl.sw import network as network_files
from vitrtl.sw.cli import main


def written(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("device", ["generic", "ecp5"])
def test_two_generations_are_byte_identical(device, tmp_path) -> None:
    units = ["requantize", "gelu_ierf", "softmax_shiftmax"]
    for folder in "ab":
        assert main(["verilog", *units, "--device", device, "--out", str(tmp_path / folder)]) == 0
    assert written(tmp_path / "a") == written(tmp_path / "b")
    assert written(tmp_path / "a").keys() == {
        "requantize.v", "requantize_out_width16.v", "gelu_ierf.v", "softmax_shiftmax.v",
        "softmax_shiftmax_out_bits8.v"}


def test_an_equal_file_stays_untouched(tmp_path, capsys) -> None:
    main(["verilog", "gelu_ierf", "--out", str(tmp_path)])
    before = (tmp_path / "gelu_ierf.v").stat()
    main(["verilog", "gelu_ierf", "--out", str(tmp_path)])
    assert (tmp_path / "gelu_ierf.v").stat().st_mtime_ns == before.st_mtime_ns
    assert f"unchanged {tmp_path / 'gelu_ierf.v'}" in capsys.readouterr().out


def test_an_assignment_leaves_exactly_the_chosen_units(network, tmp_path) -> None:
    network_files.save(network, tmp_path / "network")
    layers = {name: op.replace("shiftmax", "iexp") for name, op in network.methods.items()}
    assignment.save(assignment.Assignment(network.name, layers), tmp_path / "assignment.json")
    out = tmp_path / "out"
    main(["verilog", "softmax_shiftmax", "--out", str(out)])
    (out / "mine.v").write_text("module mine; endmodule\n")
    assert main(["verilog", "--assignment", str(tmp_path / "assignment.json"), "--network",
                 str(tmp_path / "network"), "--out", str(out)]) == 0
    expected = {f"{name}.v" for name in layers.values()}
    assert written(out).keys() == expected | {
        "matmul.v", "requantize.v", "requantize_out_width16.v", "mine.v"}


@pytest.mark.parametrize(("arguments", "complaint"), [
    (["softmax"], "unit must be one of softmax_shiftmax"),
    (["matmul", "--network", "nowhere"], "--assignment and --network name the units"),
    (["--assignment", "nothing.json"], "there is no file"),
])
def test_a_wrong_option_is_one_line_and_exit_2(arguments, complaint, capsys, tmp_path,
                                               monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["verilog", *arguments]) == 2
    assert complaint in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
