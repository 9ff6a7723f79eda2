"""The command `vitrtl`: one verb per file of `vitrtl.sw.commands`."""

import argparse
import importlib
import importlib.metadata
import os
import pkgutil
import sys

from vitrtl.sw import commands
from vitrtl.sw.errors import UserError

__all__ = ["main"]


def main(argv: list[str] | None = None) -> int:
    """Run one verb.  Returns the exit status: 0 done, 1 a check failed, 2 wrong input."""
    parser = argparse.ArgumentParser(
        prog="vitrtl", description="From a vision transformer to bit-exact, costed RTL.",
        epilog="`vitrtl VERB --help` explains each verb. VITRTL_DEBUG=1 shows tracebacks.")
    parser.add_argument("--version", action="version",
                        version=f"vitrtl {importlib.metadata.version('vitrtl')}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for module_info in sorted(pkgutil.iter_modules(commands.__path__), key=lambda m: m.name):
        verb = importlib.import_module(f"vitrtl.sw.commands.{module_info.name}")
        sub = verbs.add_parser(module_info.name, help=verb.HELP, description=verb.HELP,
                               formatter_class=argparse.RawDescriptionHelpFormatter,
                               epilog=getattr(verb, "EPILOG", None))
        verb.add_arguments(sub)
        sub.set_defaults(run=verb.run)
    args = parser.parse_args(argv)
    try:
        return args.run(args) or 0
    except KeyboardInterrupt:
        print("vitrtl: interrupted; finished work is kept", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output has gone, as in `vitrtl list | head -1`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (UserError, ValueError, TypeError, OSError) as error:
        if os.environ.get("VITRTL_DEBUG"):
            raise
        print(f"vitrtl {args.verb}: {error}", file=sys.stderr)
        return 2
