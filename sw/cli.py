"""The command `vitrtl`: one verb per file of `vitrtl.sw.commands`.

A file `cost_import.py` is the verb `cost import`: two words.
"""

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
    names = {module.name.replace("_", " "): module.name
             for module in pkgutil.iter_modules(commands.__path__)}
    for name, module_name in sorted(names.items()):
        verb = importlib.import_module(f"vitrtl.sw.commands.{module_name}")
        sub = verbs.add_parser(name, help=verb.HELP, description=verb.HELP,
                               formatter_class=argparse.RawDescriptionHelpFormatter,
                               epilog=getattr(verb, "EPILOG", None))
        verb.add_arguments(sub)
        sub.set_defaults(run=verb.run)
    words = sys.argv[1:] if argv is None else argv
    if " ".join(words[:2]) in names:
        words = [" ".join(words[:2]), *words[2:]]
    args = parser.parse_args(words)
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
