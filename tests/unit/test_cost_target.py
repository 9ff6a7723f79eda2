"""Targets: every shipped file reads, and a wrong one is refused in one line."""

from importlib import resources

import pytest

from vitrtl.sw.cost.target import load_target, parse_target, target_names
from vitrtl.sw.errors import UserError


@pytest.mark.parametrize("name", target_names())
def test_every_target_reads(name) -> None:
    target = load_target(name)
    assert target.name == name
    assert (target.clock_mhz is None) == (target.place_and_route is None)


def test_unknown_target_lists_the_known() -> None:
    with pytest.raises(UserError, match="^target must be one of ecp5-85k, xc7, not 'virtex'$"):
        load_target("virtex")


@pytest.mark.parametrize(("old", "new", "complaint"), [
    ('family = "xc7"', "", "constraints/mine.toml has no 'family'"),
    ('device = "generic"', "", "constraints/mine.toml has no 'device'"),
    ("free = [", "cheap = [", "constraints/mine.toml has no 'free'"),
    ("dsp = {", "dps = {", "constraints/mine.toml does not say which cells count as 'dsp'"),
    ("[synthesis]", "[synthesis", "constraints/mine.toml is not TOML"),
])
def test_a_wrong_file_is_refused(old, new, complaint) -> None:
    text = resources.files("vitrtl.constraints").joinpath("xc7.toml").read_text()
    assert old in text
    with pytest.raises(UserError, match=f"^{complaint}"):
        parse_target("mine", text.replace(old, new))
