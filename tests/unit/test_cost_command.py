"""`vitrtl cost`: what it refuses."""

import pytest

from vitrtl.sw.cli import main


@pytest.mark.parametrize(("arguments", "complaint"), [
    (["softmax"], "unit must be one of softmax_shiftmax"),
    (["--target", "virtex"], "target must be one of ecp5-85k, xc7, not 'virtex'"),
    (["--jobs", "0"], "jobs must be at least 1, not 0"),
    (["--network", "nowhere"], "there is no file nowhere"),
    (["--candidates"], "--candidates needs the --network"),
    (["matmul", "--network", "nowhere"], "--network names the units and specs by itself"),
    (["--spec", "lanes=2"], "--spec is of one unit, not of all"),
    (["matmul", "--spec", "rows"], "--spec takes FIELD=VALUE, not 'rows'"),
    (["--ship", "matmul"], "--ship goes without units"),
])
def test_a_wrong_option_is_one_line_and_exit_2(arguments, complaint, capsys, tmp_path,
                                               monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["cost", *arguments]) == 2
    said = capsys.readouterr().err
    assert said.startswith("vitrtl cost: ") and complaint in said
    assert said.count("\n") == 1
    assert not list(tmp_path.iterdir())
