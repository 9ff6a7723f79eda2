"""Matrix multiplication: numbers, golden model and tiling. Gates: `vitrtl.hw.matmul`."""

import dataclasses

import numpy as np

from vitrtl.sw.golden.fixed_point import Format, require
from vitrtl.sw.golden.log2_code import CODE_FORMAT, FRACTION_BITS, log2_value
from vitrtl.sw.golden.unit import Golden, Register, Spec, check_range

__all__ = ["GOLDEN", "MatMulConstants", "MatMulSpec", "Tiles", "derive", "matmul", "tile",
           "untile"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class MatMulSpec(Spec):
    """Numbers of one weight-stationary systolic array.

    Results must fit the accumulator. No product over `longest_inner` elements overflows it; a
    longer one must have operands that see to that, as the probabilities of a softmax do, whose
    sum is near one.

    Parameters
    ----------
    rows : elements of the inner dimension held at once.
    columns : output columns held at once.
    operand : what activations are: `linear` for integers, `log2` for codes c that stand for
        `2**-c` (`vitrtl.sw.golden.log2_code`), whose products are shifts.
    in_width : linear activation, bits, signed.
    weight_width : weight, bits, signed.
    out_width : accumulator, bits, signed.
    longest_pass : output rows that the accumulators hold; a taller product is cut into several.
    transposable : whether weight tiles can also be loaded by columns, as `Q @ K.T` needs.
    """

    rows: int = 8
    columns: int = 8
    operand: str = "linear"
    in_width: int = 8
    weight_width: int = 8
    out_width: int = 32
    longest_pass: int = 256
    transposable: bool = True

    def __post_init__(self) -> None:
        check_range("rows", self.rows, 2, 64)
        check_range("columns", self.columns, 2, 64)
        if self.operand not in ("linear", "log2"):
            raise ValueError(f"operand must be linear or log2, not {self.operand!r}")
        check_range("in_width", self.in_width, 2, 16, "bits")
        check_range("weight_width", self.weight_width, 2, 8, "bits")
        check_range("out_width", self.out_width, self.sum_format.width, 32, "bits")
        check_range("longest_pass", self.longest_pass, 1, 4096, "rows")
        if self.transposable and self.rows != self.columns:
            raise ValueError(f"transposable must be false unless the array is square, "
                             f"not {self.rows} x {self.columns}")

    @property
    def in_format(self) -> Format:
        """Format of an activation."""
        return CODE_FORMAT if self.operand == "log2" else Format(self.in_width, True)

    @property
    def weight_format(self) -> Format:
        """Format of a weight."""
        return Format(self.weight_width, True)

    @property
    def product_format(self) -> Format:
        """Format of one product."""
        width = FRACTION_BITS if self.operand == "log2" else self.in_width
        return Format(width + self.weight_width, True)

    @property
    def sum_format(self) -> Format:
        """Format of a column's sum of products, before accumulation over tiles."""
        return Format(self.product_format.width + (self.rows - 1).bit_length(), True)

    @property
    def out_format(self) -> Format:
        """Format of a result."""
        return Format(self.out_width, True)

    @property
    def largest_product(self) -> int:
        """Largest magnitude of a product."""
        largest = 1 << FRACTION_BITS if self.operand == "log2" else -self.in_format.lo
        return largest * -self.weight_format.lo

    @property
    def longest_inner(self) -> int:
        """Longest inner dimension over which no operands overflow the accumulator."""
        return self.out_format.hi // self.largest_product

    @property
    def registers(self) -> tuple[Register, ...]:
        registers = (Register(name="inner_tiles", format=Format(12, False), address=0,
                              doc="passes over the inner dimension that make one result"),)
        if self.transposable:
            registers += (Register(name="transposed", format=Format(1, False), address=1,
                                   doc="1: a weight beat is a column of its tile, 0: a row"),)
        return registers


@dataclasses.dataclass(frozen=True, kw_only=True)
class MatMulConstants:
    """Run-time integers of one multiplication."""

    inner_tiles: int
    transposed: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Tiles:
    """One multiplication as the array takes it.

    Parameters
    ----------
    weights : (tiles, beats, lanes): weight beats in order, one tile per pass.
    passes : (rows of the pass, inner lanes) arrays, one per pass, in the order of the tiles.
    """

    weights: np.ndarray
    passes: list[np.ndarray]


def derive(spec: MatMulSpec, inner: int, transposed: bool = False) -> tuple[MatMulConstants, None]:
    """Return the constants of a multiplication over an inner dimension of `inner`."""
    check_range("inner", inner, 1, spec.rows * 4095)
    if transposed and not spec.transposable:
        raise ValueError("transposed must be false for an array that is not transposable")
    return MatMulConstants(inner_tiles=-(-inner // spec.rows), transposed=int(transposed)), None


def matmul(a: np.ndarray, b: np.ndarray, spec: MatMulSpec) -> np.ndarray:
    """Multiply exactly.

    Shape
    -----
    (..., M, K) by (..., K, N) to (..., M, N).

    Format
    ------
    s`in_width` or log2 code by s`weight_width` to s`out_width`; a log2 code counts in units of
    `2**-15`.

    Raises
    ------
    WidthError
        If an operand or a result does not fit.
    """
    a = require(a, spec.in_format, "activation").astype(np.int64)
    a = log2_value(a) if spec.operand == "log2" else a
    b = require(b, spec.weight_format, "weight").astype(np.int64)
    return require(a @ b, spec.out_format, "accumulator")


def tile(a: np.ndarray, b: np.ndarray, spec: MatMulSpec, transposed: bool = False) -> Tiles:
    """Cut `a @ b` into weight tiles and the activation passes over them, zero padded.

    Output columns go outermost, then blocks of `longest_pass` rows, then the inner dimension:
    the array emits a block's results during the last pass over the inner dimension.

    Shape
    -----
    a (M, K), b (K, N).
    """
    (m, k), n = a.shape, b.shape[1]
    k_tiles, n_tiles = -(-k // spec.rows), -(-n // spec.columns)
    a = np.pad(a, ((0, 0), (0, k_tiles * spec.rows - k)))
    b = np.pad(b, ((0, k_tiles * spec.rows - k), (0, n_tiles * spec.columns - n)))
    grid = b.reshape(k_tiles, spec.rows, n_tiles, spec.columns).transpose(2, 0, 1, 3)
    if transposed:
        grid = grid.swapaxes(2, 3)
    slices = a.reshape(m, k_tiles, spec.rows).transpose(1, 0, 2)
    blocks = [slice(i, min(i + spec.longest_pass, m)) for i in range(0, m, spec.longest_pass)]
    weights = np.repeat(grid[:, None], len(blocks), axis=1).reshape(-1, *grid.shape[2:])
    passes = [slices[j, block] for _ in range(n_tiles) for block in blocks for j in range(k_tiles)]
    return Tiles(weights, passes)


def untile(beats: np.ndarray, m: int, n: int, spec: MatMulSpec) -> np.ndarray:
    """Put result beats (beats, columns) back together to (M, N)."""
    n_tiles = -(-n // spec.columns)
    blocks = beats.reshape(n_tiles, m, spec.columns)
    return blocks.transpose(1, 0, 2).reshape(m, n_tiles * spec.columns)[:, :n]


GOLDEN = Golden(spec=MatMulSpec, constants=MatMulConstants, derive=derive, function=matmul,
                variants={"log2 codes": MatMulSpec(operand="log2"),
                          "s4 weights": MatMulSpec(weight_width=4)})
