"""`vitrtl onnx`: an integer network as an ONNX model."""

import argparse
from pathlib import Path

HELP = "Export an integer network to ONNX, and compare the two."
EPILOG = """Matrix products, requantizers, element-wise units and everything that moves integers
become standard operators. Integer softmax and LayerNorm, for which ONNX has none, become nodes of
the domain `vitrtl`, which hold spec and constants; `vitrtl.sw.onnx_session` gives onnxruntime
their reference functions. Needs the extra: pip install 'vitrtl[onnx]'."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("network", nargs="?", type=Path, default=Path("build/network"),
                        metavar="NETWORK", help="folder that `vitrtl quantize` wrote "
                                                "(default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("build/network.onnx"), metavar="FILE",
                        help="model to write (default: %(default)s)")
    parser.add_argument("--check", type=int, default=4, metavar="N",
                        help="compare every value of N random images with the integer network, in "
                             "onnxruntime; 0 does not (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the images (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Export, compare, write."""
    import importlib.util

    from vitrtl.sw.errors import UserError
    from vitrtl.sw.files import write_if_changed
    from vitrtl.sw.network import load

    if args.check < 0:
        raise UserError(f"images to check must be 0 or more, not {args.check}")
    if args.out.is_dir():
        raise UserError(f"--out must be a file, but {args.out} is a folder")
    network = load(args.network)
    needed = ["onnx", *(["onnxruntime", "onnxruntime_extensions"] if args.check else [])]
    if missing := [name for name in needed if importlib.util.find_spec(name) is None]:
        raise UserError(f"export to ONNX needs {', '.join(missing)}: pip install 'vitrtl[onnx]'")

    from vitrtl.sw.onnx_graph import DOMAIN, to_onnx

    compared = 0
    if args.check:
        from vitrtl.sw.onnx_check import compare

        compared = compare(network, args.check, args.seed)
    model = to_onnx(network)
    own = sum(node.domain == DOMAIN and node.op_type != "requantize" for node in model.graph.node)
    write_if_changed(args.out, model.SerializeToString(deterministic=True))
    print(f"wrote {args.out}: {len(model.graph.node)} nodes, {own} of them in the domain {DOMAIN}"
          + (f"; {compared:,} values of {args.check} random images equal in onnxruntime"
             if compared else "; not compared"))
    return 0
