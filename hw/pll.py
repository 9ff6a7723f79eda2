"""Clock multipliers of the devices: which settings give a rate, and the primitive that has them."""

import dataclasses
from collections.abc import Iterable

from amaranth.hdl import Const, Instance, Signal

__all__ = ["PLLS", "PllKind", "PllSettings", "pll_instance", "pll_settings"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PllKind:
    """What a family's clock multiplier can do.

    The input is divided by `reference`, the oscillator runs at `multiplier` times that (times
    `output` as well, where the feedback is taken behind the output divider), and the result is the
    oscillator divided by `output`.

    Parameters
    ----------
    primitive : name of the cell.
    source : the data sheet with these ranges.
    reference, multiplier, output : the values that each can have.
    phase_mhz : least and largest rate of the divided input.
    oscillator_mhz : least and largest rate of the oscillator, of the slowest speed grade.
    feedback_of_output : whether the feedback is taken behind the output divider.
    """

    primitive: str
    source: str
    reference: range
    multiplier: range
    output: tuple[int, ...]
    phase_mhz: tuple[float, float]
    oscillator_mhz: tuple[float, float]
    feedback_of_output: bool = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PllSettings:
    """One setting of a clock multiplier, see `PllKind`."""

    kind: str
    input_mhz: float
    reference: int
    multiplier: int
    output: int

    @property
    def oscillator_mhz(self) -> float:
        """Rate of the oscillator."""
        rate = self.input_mhz / self.reference * self.multiplier
        return rate * self.output if PLLS[self.kind].feedback_of_output else rate

    @property
    def output_mhz(self) -> float:
        """Rate of the result."""
        return self.oscillator_mhz / self.output


PLLS = {
    "ecp5": PllKind(
        primitive="EHXPLLL", source="Lattice FPGA-DS-02012; phase_mhz as in Project Trellis",
        reference=range(1, 129), multiplier=range(1, 129), output=tuple(range(1, 129)),
        phase_mhz=(3.125, 400), oscillator_mhz=(400, 800), feedback_of_output=True),
    "ice40": PllKind(
        primitive="SB_PLL40_CORE", source="Lattice FPGA-DS-02008, sysCLOCK PLL timing",
        reference=range(1, 17), multiplier=range(1, 129),
        output=tuple(1 << i for i in range(1, 7)),
        phase_mhz=(10, 133), oscillator_mhz=(533, 1066)),
    "xc7": PllKind(
        primitive="MMCME2_BASE", source="AMD DS181, MMCM switching characteristics, grade -1",
        reference=range(1, 107), multiplier=range(2, 65), output=tuple(range(1, 129)),
        phase_mhz=(10, 450), oscillator_mhz=(600, 1200)),
    "usp": PllKind(
        primitive="MMCME4_BASE", source="AMD DS925, MMCM switching characteristics, grade -1",
        reference=range(1, 107), multiplier=range(2, 129), output=tuple(range(1, 129)),
        phase_mhz=(10, 450), oscillator_mhz=(800, 1600)),
}
"""Clock multipliers, by family."""


def pll_settings(kind: str, input_mhz: float, output_mhz: float) -> PllSettings:
    """Return the settings whose rate is the highest that is not above the wanted one.

    Among equals the fastest divided input wins, which gives the least jitter, then the oscillator
    nearest to the middle of its range.

    Raises
    ------
    ValueError
        For an unknown kind, and if no setting comes within 1 % of the wanted rate.
    """
    if kind not in PLLS:
        raise ValueError(f"pll must be one of {', '.join(PLLS)}, not {kind!r}")
    middle = sum(PLLS[kind].oscillator_mhz) / 2
    best = max((s for s in _possible(kind, input_mhz) if s.output_mhz <= output_mhz * (1 + 1e-9)),
               key=lambda s: (round(s.output_mhz, 6), -s.reference,
                              -abs(s.oscillator_mhz - middle)),
               default=None)
    if best is None or best.output_mhz < 0.99 * output_mhz:
        near = "none" if best is None else f"{best.output_mhz:g} MHz at best"
        raise ValueError(f"clock must be a rate that {PLLS[kind].primitive} makes of "
                         f"{input_mhz:g} MHz, not {output_mhz:g} MHz ({near})")
    return best


def pll_instance(settings: PllSettings, source: Signal, result: Signal, locked: Signal) -> Instance:
    """Return the primitive with these settings.

    Parameters
    ----------
    source : the clock pin.
    result : the multiplied clock.
    locked : high once its rate is right.
    """
    return {"ecp5": _ecp5, "ice40": _ice40, "xc7": _amd, "usp": _amd}[settings.kind](
        settings, source, result, locked)


def _possible(kind: str, input_mhz: float) -> Iterable[PllSettings]:
    """Yield all settings within the ranges."""
    pll = PLLS[kind]
    for reference in pll.reference:
        if not pll.phase_mhz[0] <= input_mhz / reference <= pll.phase_mhz[1]:
            continue
        for multiplier in pll.multiplier:
            for output in pll.output:
                settings = PllSettings(kind=kind, input_mhz=input_mhz, reference=reference,
                                       multiplier=multiplier, output=output)
                if pll.oscillator_mhz[0] <= settings.oscillator_mhz <= pll.oscillator_mhz[1]:
                    yield settings


def _ecp5(settings: PllSettings, source: Signal, result: Signal, locked: Signal) -> Instance:
    # The phase counters start where the output divider puts its edge on that of the input.
    phase = settings.output - 1
    return Instance(
        "EHXPLLL", a_FREQUENCY_PIN_CLKI=f"{settings.input_mhz:g}",
        a_FREQUENCY_PIN_CLKOP=f"{settings.output_mhz:g}",
        a_ICP_CURRENT="12", a_LPF_RESISTOR="8", a_MFG_ENABLE_FILTEROPAMP="1",
        a_MFG_GMCREF_SEL="2",
        p_PLLRST_ENA="DISABLED", p_INTFB_WAKE="DISABLED", p_STDBY_ENABLE="DISABLED",
        p_DPHASE_SOURCE="DISABLED", p_OUTDIVIDER_MUXA="DIVA", p_OUTDIVIDER_MUXB="DIVB",
        p_OUTDIVIDER_MUXC="DIVC", p_OUTDIVIDER_MUXD="DIVD", p_CLKI_DIV=settings.reference,
        p_CLKOP_ENABLE="ENABLED", p_CLKOP_DIV=settings.output, p_CLKOP_CPHASE=phase,
        p_CLKOP_FPHASE=0, p_FEEDBK_PATH="CLKOP", p_CLKFB_DIV=settings.multiplier,
        i_CLKI=source, i_CLKFB=result, o_CLKOP=result, o_LOCK=locked,
        i_RST=Const(0), i_STDBY=Const(0), i_PHASESEL0=Const(0), i_PHASESEL1=Const(0),
        i_PHASEDIR=Const(1), i_PHASESTEP=Const(1), i_PHASELOADREG=Const(1),
        i_PLLWAKESYNC=Const(0), i_ENCLKOP=Const(0))


def _ice40(settings: PllSettings, source: Signal, result: Signal, locked: Signal) -> Instance:
    # The loop filter goes by the rate of the divided input, in steps that the data sheet gives.
    phase_mhz = settings.input_mhz / settings.reference
    steps = (17, 26, 44, 66, 101)
    return Instance(
        "SB_PLL40_CORE", p_FEEDBACK_PATH="SIMPLE", p_DIVR=Const(settings.reference - 1, 4),
        p_DIVF=Const(settings.multiplier - 1, 7),
        p_DIVQ=Const(settings.output.bit_length() - 1, 3),
        p_FILTER_RANGE=Const(1 + sum(phase_mhz >= step for step in steps), 3),
        i_REFERENCECLK=source, o_PLLOUTGLOBAL=result, o_LOCK=locked,
        i_RESETB=Const(1), i_BYPASS=Const(0))


def _amd(settings: PllSettings, source: Signal, result: Signal, locked: Signal) -> Instance:
    feedback = Signal(name="pll_feedback")
    return Instance(
        PLLS[settings.kind].primitive, p_CLKIN1_PERIOD=1000 / settings.input_mhz,
        p_DIVCLK_DIVIDE=settings.reference, p_CLKFBOUT_MULT_F=float(settings.multiplier),
        p_CLKOUT0_DIVIDE_F=float(settings.output),
        i_CLKIN1=source, i_CLKFBIN=feedback, o_CLKFBOUT=feedback, o_CLKOUT0=result,
        o_LOCKED=locked, i_RST=Const(0), i_PWRDWN=Const(0))
