"""What type checkers are told of the compiled modules is so: names, parameters, defaults, and who can be inherited."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest

ROOT = Path(__file__).parents[3]
STUBS = [*sorted((ROOT / "engine" / "core").glob("*.pyi")), ROOT / "execution" / "desk" / "plain_orders.pyi"]
CAN_BE_INHERITED: Final = 1 << 10  # Py_TPFLAGS_BASETYPE

# (name, has a default, only by name)
Parameters = list[tuple[str, bool, bool]]


def _decorators(node: ast.FunctionDef | ast.ClassDef) -> set[str]:
    return {ast.unparse(decorator) for decorator in node.decorator_list}


def _told(function: ast.FunctionDef) -> Parameters:
    arguments = function.args
    places = [*arguments.posonlyargs, *arguments.args]
    required = len(places) - len(arguments.defaults)
    told = [(place.arg, number >= required, False) for number, place in enumerate(places)]
    named = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    told += [(place.arg, default is not None, True) for place, default in named]
    return [parameter for parameter in told if parameter[0] != "self"]


def _taken(thing: Any) -> Parameters | None:
    """What Cython wrote into the first line of the docstring; None where it wrote nothing."""
    line = (thing.__doc__ or "").partition("\n")[0]
    signature = re.fullmatch(r"[\w.]+\((.*?)\)(?: -> .*)?", line)
    if signature is None:
        return None
    text = re.sub(r"\[[^\]]*\]", "", signature[1])  # the shape of a memory view has commas
    taken, only_by_name = [], False
    for part in filter(None, map(str.strip, text.split(","))):
        if part == "*":
            only_by_name = True
            continue
        declared, _, default = part.partition("=")
        taken.append((declared.partition(":")[0].split()[-1], bool(default), only_by_name))
    return [parameter for parameter in taken if parameter[0] != "self"]


def _public(names: Any) -> set[str]:
    return {name for name in names if not name.startswith("_")}


def _defined(module: ModuleType) -> set[str]:
    """The functions and classes that a module is there for; Cython has no list of them."""
    return {
        name
        for name in _public(vars(module))
        if getattr(vars(module)[name], "__module__", None) == module.__name__
        and (isinstance(vars(module)[name], type) or callable(vars(module)[name]))
    }


def _methods(body: list[ast.stmt]) -> dict[str, list[ast.FunctionDef]]:
    found: dict[str, list[ast.FunctionDef]] = {}
    for node in body:
        if isinstance(node, ast.FunctionDef):
            found.setdefault(node.name, []).append(node)
    return found


# Used by the module next to it alone.
INTERNAL = {
    "engine.core.rows": {"Memory"},
    "engine.core.replay": {"Columns"},
    "execution.desk.plain_orders": {"Terms"},
}


@pytest.mark.parametrize("path", STUBS, ids=lambda path: path.stem)
def test_stubs_tell_what_is_there(path: Path) -> None:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    module = importlib.import_module(name)
    tree = ast.parse(path.read_text())
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    functions = _methods(tree.body)
    assert _defined(module) - INTERNAL.get(name, set()) == {*classes, *functions}
    for function, (node, *_) in functions.items():
        assert _taken(getattr(module, function)) == _told(node), function
    for class_name, node in classes.items():
        kind = getattr(module, class_name)
        assert ("final" in _decorators(node)) == (not kind.__flags__ & CAN_BE_INHERITED), class_name
        methods = _methods(node.body)
        attributes = {
            item.target.id
            for item in node.body
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
        }
        inherited = set().union(*(_public(vars(base)) for base in kind.__mro__[1:]))
        assert _public({*methods, *attributes}) | inherited == _public(vars(kind)) | inherited, class_name
        for method, (first, *_) in methods.items():
            where = f"{class_name}.{method}"
            if method == "__init__":
                assert _taken(kind) in (None, _told(first)), where
            elif "property" not in _decorators(first) and not method.startswith("__"):
                if "overload" not in _decorators(first):
                    assert _taken(getattr(kind, method)) == _told(first), where
            elif "property" in _decorators(first):
                assert not callable(vars(kind)[method]), where
