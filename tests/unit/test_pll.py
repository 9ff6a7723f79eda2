"""Clock multipliers: settings that known tools give too, ranges kept, what cannot be refused."""

import pytest

from vitrtl.hw.pll import PLLS, pll_settings


@pytest.mark.parametrize(("kind", "into", "out", "settings"), [
    # As `ecppll -i 25 -o 80` and `icepll -i 12 -o 24` print them.
    ("ecp5", 25, 80, (5, 16, 7)),
    ("ice40", 12, 24, (1, 64, 32)),
])
def test_settings_are_those_of_the_vendors_rules(kind, into, out, settings):
    found = pll_settings(kind, into, out)
    assert (found.reference, found.multiplier, found.output) == settings
    assert found.output_mhz == out


@pytest.mark.parametrize("kind", PLLS)
@pytest.mark.parametrize("out", [25, 50, 75, 80, 100, 125])
def test_every_setting_is_within_its_ranges(kind, out):
    pll, found = PLLS[kind], pll_settings(kind, 25, out)
    assert 0.99 * out <= found.output_mhz <= out + 1e-6
    assert found.reference in pll.reference
    assert found.multiplier in pll.multiplier
    assert found.output in pll.output
    assert pll.phase_mhz[0] <= found.input_mhz / found.reference <= pll.phase_mhz[1]
    assert pll.oscillator_mhz[0] <= found.oscillator_mhz <= pll.oscillator_mhz[1]


def test_a_rate_out_of_reach_is_refused():
    with pytest.raises(ValueError, match="^clock must be a rate that SB_PLL40_CORE makes of "
                                         "12 MHz, not 2 MHz \\(none\\)$"):
        pll_settings("ice40", 12, 2)
    with pytest.raises(ValueError, match="^pll must be one of ecp5, ice40, xc7, usp, "
                                         "not 'gowin'$"):
        pll_settings("gowin", 27, 54)
