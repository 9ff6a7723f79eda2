"""`vitrtl apply`: one unit on the user's own integers."""

import argparse
import dataclasses
import io
from fractions import Fraction
from pathlib import Path
from typing import Any

HELP = "Run one unit's golden function, or with --rtl its gates, on your own integer array."
EPILOG = """Rows lie along the last axis. OUT.npy receives the integer codes. For requantize the
scale is the ratio of input to output scale. layernorm needs --gamma and --beta, one float per
channel. What a method fits to calibration data is fitted to the input."""

BITS_FIELDS = {"out_bits": 0, "out_width": 0, "sigmoid_width": -1}
"""Fields of a spec that --bits stands for, and what is added to it: a sigmoid of k bits is below
one, so that it has k - 1 bits of fraction and no other."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("unit", metavar="UNIT",
                        help="name in `vitrtl list`: softmax_exp2, or a variant, softmax_exp2:s8")
    parser.add_argument("input", type=Path, metavar="IN.npy", help="integer array")
    parser.add_argument("output", type=Path, metavar="OUT.npy", help="integer array to write")
    parser.add_argument("--scale", required=True, metavar="S",
                        help="what an input code of 1 stands for: 0.05 or 1/20")
    parser.add_argument("--out-scale", metavar="S",
                        help="scale of the result, for a method that merges its requantizer")
    parser.add_argument("--bits", type=int, metavar="N",
                        help="width of the result (softmax: k of the paper; gelu: of its sigmoid)")
    parser.add_argument("--gamma", type=Path, metavar="G.npy", help="layernorm: factor per channel")
    parser.add_argument("--beta", type=Path, metavar="B.npy", help="layernorm: offset per channel")
    parser.add_argument("--rtl", action="store_true", help="simulate the gates in Verilator")
    parser.add_argument("--device", default="generic", choices=("generic", "ecp5"),
                        help="multipliers of the gates (default: %(default)s)")
    parser.add_argument("--build", type=Path, default=Path("build/sim"), metavar="FOLDER",
                        help="where simulations go (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Apply the unit, write the codes, print scale and error."""
    import numpy as np

    from vitrtl.sw.candidate import candidate
    from vitrtl.sw.errors import UserError
    from vitrtl.sw.files import write_if_changed
    from vitrtl.sw.reference import REFERENCES, real

    chosen = candidate(args.unit)
    entry = chosen.unit
    if entry.operator not in REFERENCES:
        raise UserError(f"apply takes units of one operand: {entry.name} multiplies two matrices")
    spec = spec_with_bits(chosen, args.bits)
    x = read_array(args.input, "input")
    if x.dtype.kind not in "iu":
        raise UserError(f"input {args.input} must hold integers, not {x.dtype}")
    if x.ndim < 1 or not x.size:
        raise UserError(f"input {args.input} must hold at least one row, not shape {x.shape}")
    scale = parse_scale(args.scale)
    parameters = layernorm_parameters(args, entry)
    if entry.operator == "requantize":
        constants, out_scale = entry.golden.derive(spec, scale)[0], Fraction(1)
    else:
        constants, out_scale = export(args, entry, spec, scale, x, parameters)

    y = entry.golden.function(x, spec, constants)
    if args.rtl:
        y, cycles = on_the_gates(args, entry, spec, constants, x)
    buffer = io.BytesIO()
    np.save(buffer, y.astype(storage(spec)))
    write_if_changed(args.output, buffer.getvalue())

    scales = np.array([float(s) for s in np.atleast_1d(out_scale)])
    wanted = REFERENCES[entry.operator](x * float(scale), **parameters)
    error = np.abs(real(y, scales, spec.operand) - wanted)
    rows = x.size // x.shape[-1]
    print(f"{chosen.name}: {rows} rows of {x.shape[-1]}, {spec.in_format} at {float(scale):g} to "
          f"{spec.out_format}, written to {args.output}")
    print(f"output scale: {describe(out_scale)}")
    print(f"error against float64: largest {error.max():.6g}, mean {error.mean():.6g}")
    if args.rtl:
        print(f"gates ({args.device}): {cycles} cycles, equal to the golden function")
    return 0


def export(args: argparse.Namespace, entry: Any, spec: Any, scale: Fraction, x: Any,
           parameters: dict[str, Any]) -> tuple[Any, Any]:
    """Return constants and output scale of the unit for this input."""
    from vitrtl.sw.errors import UserError

    golden = entry.golden
    if args.out_scale is not None and not spec.merges_requantizer:
        raise UserError(f"{entry.name} takes no output scale: a requantizer follows it")
    fitted = golden.fit_scale(spec, scale)
    if fitted != scale:
        raise UserError(f"scale of {entry.name} must be one that the method can take, such as "
                        f"{fitted}, the next larger one, not {args.scale}")
    return golden.export(
        spec, scale, x, None if args.out_scale is None else parse_scale(args.out_scale),
        **{name: array.tolist() for name, array in parameters.items()})


def parse_scale(text: str) -> Fraction:
    """Return the exact scale that a decimal number or a fraction stands for."""
    from math import isfinite

    from vitrtl.sw.errors import UserError
    from vitrtl.sw.golden.unit import scale_of

    try:
        # An exponent beyond float64 would keep the exact arithmetic busy for ever.
        if all(isfinite(float(part)) for part in text.split("/")):
            return scale_of(text)
    except (ValueError, ZeroDivisionError):
        pass
    raise UserError(f"scale must be a finite positive number, not {text!r}")


def spec_with_bits(chosen: Any, bits: int | None) -> Any:
    """Return the spec of a candidate, with the width that --bits asks for."""
    from vitrtl.sw.errors import UserError

    spec = chosen.spec
    if bits is None:
        return spec
    field = next((name for name in BITS_FIELDS if hasattr(spec, name)), None)
    if field is None:
        raise UserError(f"{chosen.name} has no width to choose")
    return dataclasses.replace(spec, **{field: bits + BITS_FIELDS[field]})


def read_array(path: Path, what: str) -> Any:
    """Read one array from a .npy file."""
    import numpy as np

    from vitrtl.sw.errors import UserError
    from vitrtl.sw.files import existing

    try:
        array = np.load(existing(path), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise UserError(f"{what} {path} is not a .npy file of numbers: {error}") from None
    if not isinstance(array, np.ndarray):
        raise UserError(f"{what} {path} must be one array in a .npy file")
    return array


def layernorm_parameters(args: argparse.Namespace, entry: Any) -> dict[str, Any]:
    """Return gamma and beta for a layernorm, nothing for the others."""
    import numpy as np

    from vitrtl.sw.errors import UserError

    given = {name: path for name, path in (("gamma", args.gamma), ("beta", args.beta))
             if path is not None}
    if entry.operator != "layernorm":
        if given:
            raise UserError(f"{entry.name} takes no {', no '.join(given)}")
        return {}
    if len(given) < 2:
        raise UserError(f"{entry.name} needs --gamma and --beta")
    arrays = {name: read_array(path, name) for name, path in given.items()}
    for name, array in arrays.items():
        if array.dtype.kind not in "iuf" or array.ndim != 1 or not np.isfinite(array).all():
            raise UserError(f"{name} {given[name]} must hold one finite number per channel, "
                            f"no NaN, not {array.dtype} of shape {array.shape}")
    return {name: array.astype(np.float64) for name, array in arrays.items()}


def on_the_gates(args: argparse.Namespace, entry: Any, spec: Any, constants: Any,
                 x: Any) -> tuple[Any, int]:
    """Simulate; return the codes that came out and the cycles that it took."""
    import numpy as np

    from vitrtl.sim.job import Job
    from vitrtl.sim.suite import run_suite
    from vitrtl.sw import vectors
    from vitrtl.sw.catalog import unit
    from vitrtl.sw.errors import UserError
    from vitrtl.sw.stimuli import answer

    unit(entry.name, gates=True)
    rows = list(x.reshape(-1, x.shape[-1]).astype(np.int64))
    golden = vectors.golden_digest(entry.name)
    case = answer(entry, spec, "network", str(args.input), constants, rows)
    path = vectors.vector_path(args.build.resolve() / "apply", entry.name, spec)
    vectors.save(vectors.VectorSet(unit=entry.name, spec=spec, network=None, golden=golden,
                                   made_from=golden, cases=(case,)), path)
    job = Job(unit=entry.name, spec_digest=spec.digest, device=args.device, vectors=path,
              build=args.build.resolve(), label="apply", tests=r"source=none/sink=none")
    result, = run_suite([job], lambda job, stage: None)
    if not result.passed:
        raise UserError(f"the gates differ from the golden function: {result.failures[0]}")
    return np.load(job.folder / "output.npy").reshape(x.shape), result.record["cycles"]


def storage(spec: Any) -> str:
    """Return the narrowest NumPy type of the output format."""
    fmt = spec.out_format
    width = next(w for w in (8, 16, 32, 64) if fmt.width <= w)
    return f"{'int' if fmt.signed else 'uint'}{width}"


def describe(scale: Any) -> str:
    """Return a scale, or the range of the scales per channel, for people."""
    if isinstance(scale, Fraction):
        return f"{scale} = {float(scale):.10g}" if scale.denominator < 10**12 else (
            f"{float(scale):.10g}")
    values = [float(s) for s in scale]
    return f"per channel, {min(values):.6g} to {max(values):.6g}"
