"""The bare weight-stationary systolic array, used by `vitrtl.hw.matmul`."""

import dataclasses
from collections.abc import Sequence

from amaranth.hdl import Cat, Const, Module, Mux, Shape, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from vitrtl.hw.multiplier import Multiplier
from vitrtl.hw.paired_multiplier import PairedMultiplier
from vitrtl.hw.pipeline import Pipeline
from vitrtl.hw.shifter import Shifter
from vitrtl.hw.stream import shape_of
from vitrtl.sw.golden.matmul import MatMulSpec

__all__ = ["SystolicArray"]


class SystolicArray(wiring.Component):
    """Rows times columns of multipliers, or shifters for log2 codes, that hold a weight each.

    Activations enter all rows at once, are skewed inside, and travel to the right; sums travel
    down and leave all columns at once. Nothing in here ever stops: an enable to every register of
    a large array would be its slowest net. The next tile is written beside the one in use and taken
    over by a wave that runs with the first activation of a pass.

    Where weights are short enough, two neighbouring columns share a multiplier, and see an
    activation in the same cycle.

    Parameters
    ----------
    spec : its numbers.
    splits : a multiplier takes its weight as two halves, so that a tile can have two weights of
        half the bits in place of each. The upper half is signed. The lower one is so only if it is
        a weight; a whole weight's sum is that of the lower half, and that of the upper half
        times two to the power of the lower one's bits.

    Members
    -------
    load : write one beat of the next tile.
    load_index : which of its rows, or of its columns if `transposed`.
    transposed : beats of the next tile are its columns; may change from beat to beat.
    paired : with `splits`, there are two weights in place of each in this beat.
    weights : that row or column.
    swap : the activations of this cycle are the first to meet the next tile.
    activations : one per row.
    sums : one per column, or of each its lower and its upper half's; `latency` cycles after its
        activations.
    """

    def __init__(self, spec: MatMulSpec, *, splits: bool = False) -> None:
        self.spec, self.splits = spec, splits
        self._product = Shifter if spec.operand == "log2" else Multiplier
        weight = shape_of(spec.weight_format)
        shares = self._product is Multiplier and not splits and PairedMultiplier.fits(
            shape_of(spec.in_format), weight, weight)
        self._lanes = 2 if shares else 1
        super().__init__({
            "load": In(1),
            "load_index": In(range(spec.rows)),
            "transposed": In(1),
            **({"paired": In(1)} if splits else {}),
            "weights": In(data.ArrayLayout(weight, spec.columns)),
            "swap": In(1),
            "activations": In(data.ArrayLayout(shape_of(spec.in_format), spec.rows)),
            "sums": Out(data.ArrayLayout(shape_of(self.summed.sum_format), self.summed.columns)),
        })

    @property
    def summed(self) -> MatMulSpec:
        """Numbers of the sums.

        A lower half has a bit more, as it may have a sign or not. Results are as many bits shorter
        as weights are, and so hold sums over as long an inner dimension.
        """
        spec = self.spec
        if not self.splits:
            return spec
        width = spec.weight_width // 2 + 1
        return dataclasses.replace(
            spec, columns=2 * spec.columns, weight_width=width, transposable=False,
            out_width=spec.out_width - spec.weight_width + width)

    @property
    def latency(self) -> int:
        """Cycles from activations to their sums: skew, product, adder, and deskew."""
        return self.spec.rows + self._steps + self._product.LATENCY

    @property
    def wave(self) -> int:
        """Cycles after `swap` from which the next tile can be written, in either order."""
        return max(self.spec.rows, self._steps)

    @property
    def _steps(self) -> int:
        """Multipliers that an activation passes on its way to the right."""
        return -(-self.spec.columns // self._lanes)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spec = self.spec
        pipe = Pipeline(m, Const(1))
        above = [None] * self.summed.columns
        per_column = len(above) // spec.columns

        # Weight beats spread out from registers. The first weights to be used are not the last
        # to be written, so that this cycle is never waited for.
        weights = pipe.reg(Cat(self._held(weight) for weight in self.weights))
        transposed = pipe.reg(self.transposed)
        width = len(weights) // spec.columns
        by_row, by_column = Signal(spec.rows), Signal(spec.columns)
        with m.If(self.load & self.transposed):
            m.d.comb += by_column.eq(1 << self.load_index)
        with m.Elif(self.load):
            m.d.comb += by_row.eq(1 << self.load_index)
        write_row = pipe.reg(by_row, reset_less=False)
        write_column = pipe.reg(by_column, reset_less=False)

        for row in range(spec.rows):
            # Row r starts r cycles late, so that sums from above arrive with its products.
            activation = pipe.reg(self.activations[row], row + 1)
            swap = pipe.reg(self.swap, row + 1, reset_less=False)
            for first in range(0, spec.columns, self._lanes):
                held = []
                for column in range(first, min(first + self._lanes, spec.columns)):
                    # The next tile's weight waits in a register of its own.
                    waiting = Signal(Shape(width, signed=not self.splits), reset_less=True)
                    weight, write = weights[column * width:(column + 1) * width], write_row[row]
                    if spec.transposable:
                        along = weights[row * width:(row + 1) * width]
                        weight = Mux(transposed, along, weight)
                        write = write | write_column[column]
                    with m.If(write):
                        m.d.sync += waiting.eq(weight)
                    held += self._factors(waiting)

                place = first * per_column
                totals = self._multiply(m, f"pe_{row}_{first}", activation, swap, held,
                                        above[place:place + len(held)])
                for index, total in enumerate(totals, place):
                    sum_reg = Signal(shape_of(self.summed.sum_format), reset_less=True)
                    m.d.sync += sum_reg.eq(total)
                    above[index] = sum_reg

                activation = pipe.reg(activation)
                swap = pipe.reg(swap, reset_less=False)

        # A column is as late as its step; the others wait for the last one.
        last, per_step = self._steps - 1, self._lanes * per_column
        m.d.comb += [self.sums[index].eq(pipe.reg(total, last - index // per_step))
                     for index, total in enumerate(above)]
        return m

    def _held(self, weight: Value) -> Value:
        """Return a weight as multipliers hold it."""
        if not self.splits:
            return weight
        half = self.spec.weight_width // 2
        return Cat(weight[:half], weight[half - 1] & self.paired, weight[half:])

    def _factors(self, held: Value) -> list[Value]:
        """Return the signed integers by which a held weight multiplies."""
        if not self.splits:
            return [held]
        low = self.summed.weight_width
        return [held[:low].as_signed(), held[low:].as_signed()]

    def _multiply(self, m: Module, name: str, activation: Value, swap: Value,
                  weights: Sequence[Value], above: Sequence[Value | None]) -> list[Value]:
        """Return one step's products, one per weight, plus what comes from above.

        The weights in use stand in the multiplier's own register, until `swap`.
        """
        paired = len(weights) == 2
        product = (PairedMultiplier if paired else self._product)(
            shape_of(self.spec.in_format), *(weight.shape() for weight in weights))
        m.submodules[name] = product
        m.d.comb += [
            product.en.eq(1), product.a.eq(activation),
            product.en_b.eq(swap), Value.cast(product.b).eq(Cat(*weights)),
        ]
        if not paired:
            return [product.o if above[0] is None else product.o + above[0]]
        low, high = (Const(0) if sums is None else sums for sums in above)
        return [product.o_low + low, (product.o_high + Cat(Const(1), high).as_signed()) >> 1]
