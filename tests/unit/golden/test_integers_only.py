"""No float in the golden model, by its text: neither on the data path nor in what is exported.

`derive` divides exact fractions, and float() only prints a number in the message of an error.
"""

import ast
import importlib.resources

import pytest

GOLDEN = importlib.resources.files("vitrtl.sw.golden")
MODULES = sorted(path.name for path in GOLDEN.iterdir() if path.name.endswith(".py"))


def tree(name: str) -> ast.Module:
    return ast.parse((GOLDEN / name).read_text())


def floats(node: ast.AST) -> list[str]:
    """Return what makes a float: literals, float(), NumPy's or math's float functions."""
    found = []
    for part in ast.walk(node):
        match part:
            case ast.Constant(value=float()):
                found.append(f"line {part.lineno}: {part.value}")
            case ast.Call(func=ast.Name(id="float")):
                found.append(f"line {part.lineno}: float()")
            case ast.Attribute(value=ast.Name(id="np"), attr=name) if name.startswith(
                    ("float", "double", "sqrt", "exp", "log", "true_divide", "mean")):
                found.append(f"line {part.lineno}: np.{name}")
            case ast.Attribute(value=ast.Name(id="math"), attr=name) if name not in (
                    "gcd", "isqrt", "comb", "ceil", "floor", "prod", "lcm"):
                found.append(f"line {part.lineno}: math.{name}")
    return found


def in_errors(module: ast.Module) -> set[str]:
    return {one for part in ast.walk(module) if isinstance(part, ast.Raise) for one in floats(part)}


@pytest.mark.parametrize("name", MODULES)
def test_a_float_is_only_printed(name):
    module = tree(name)
    limits = {one for part in ast.walk(module) if isinstance(part, ast.Call)
              and getattr(part.func, "id", "") == "ErrorLimit" for one in floats(part)}
    assert set(floats(module)) <= in_errors(module) | limits


@pytest.mark.parametrize("name", MODULES)
def test_what_computes_on_codes_never_divides_into_a_fraction(name):
    for function in ast.walk(tree(name)):
        if isinstance(function, ast.FunctionDef) and any(
                argument.annotation is not None and "np.ndarray" in ast.unparse(argument.annotation)
                for argument in function.args.args):
            divided = [part.lineno for part in ast.walk(function)
                       if isinstance(part, (ast.BinOp, ast.AugAssign))
                       and isinstance(part.op, ast.Div)]
            assert not divided, f"{function.name} divides in lines {divided}"
