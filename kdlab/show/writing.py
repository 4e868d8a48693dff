"""Marks for functions that students write (``make student``): ``kdlab.check("05.pass_1", pass_1)``.

A function is called beside the chapter's own. ``writing.json`` says of each what it takes and gives (``ask``), and has the
code that makes its cases (``given``), and the ``calls``, in which it is called f.
"""

import ast
import inspect
import re
from collections.abc import Callable
from contextlib import suppress
from functools import cache, reduce
from itertools import combinations
from operator import attrgetter, getitem
from pathlib import Path
from types import FunctionType, SimpleNamespace
from typing import Any

import torch
from torch import nn

from kdlab.show.compare import fault_of, short
from kdlab.system import paths
from kdlab.system.files import read_json

_KEPT = ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef


@cache
def functions() -> dict[str, dict]:
    """All functions by name: ``NN.f`` is f of notebook NN, ``NN.A.f`` the method f of its class A."""
    return read_json(Path(__file__).with_suffix(".json"))


def fault_of_function(name: str, answer: object) -> str | None:
    """None if ``answer`` gives in all calls what the chapter's function gives, else how it differs in the first one.

    Raises ``ValueError`` where kdlab's notebooks are not there."""
    own = name.rpartition(".")[2]
    if isinstance(answer, type):
        answer = getattr(answer, own, answer)
    if not callable(answer):
        return f": this takes a function of yours, by its name, and got {short(answer)}"
    for call in functions()[name]["calls"]:
        said = re.sub(r"\bf\b", own, call)
        right, arguments = _outcome(name, call)
        try:
            yours, _ = _outcome(name, call, lambda names: _among(names, answer, name))
        except NotImplementedError:
            return f": {own} is not written yet"
        except (Exception, SystemExit) as error:
            return f": for {said} it raises {error!r:.200}"
        if why := _difference(yours, right, _factors(arguments)):
            return f": for {said} it {_slip(name, call, yours, arguments) or why}"
    return None


def _outcome(
    name: str, call: str, chosen: Callable | None = None, slip: Callable | None = None
) -> tuple[dict, dict]:
    """What f gives in a call, and the gradients through it; and the arguments of f by name. f is the chapter's own
    function, or what ``chosen`` makes of the chapter's names; ``slip`` changes its arguments."""
    names = _definitions(name[:2])
    torch.manual_seed(0)
    exec(functions()[name]["given"], names)
    own = attrgetter(name[3:])(SimpleNamespace(**names))
    function, arguments = chosen(names) if chosen else own, {}

    def f(*given):
        arguments.update(zip(inspect.signature(own).parameters, given, strict=False))
        return function(*(slip(arguments).values() if slip else given))

    torch.manual_seed(1)  # what both draw is the same
    given = {"its result": eval(call, names | {"f": f})}
    roots = [part.sum() for part in _parts(given).values() if getattr(part, "requires_grad", False)]
    leaves = _leaves(names)
    if roots and leaves:
        slopes = torch.autograd.grad(sum(roots), [*leaves.values()], materialize_grads=True)
        given["the gradient through it"] = dict(zip(leaves, slopes, strict=True))
    return given, arguments


def _definitions(chapter: str) -> dict[str, Any]:
    """What the code of a chapter imports and defines, and its constants; its other lines do not run."""
    names: dict[str, Any] = {"__name__": f"chapter {chapter}"}
    for line in _lines(chapter):
        with suppress(NameError):  # a picture's function may want the chapter's clips
            exec(line, names)
    return names


@cache
def _lines(chapter: str) -> list:
    files = [*(paths.project_root() / "notebooks").glob(f"{chapter}_*.ipynb")]
    if not files:
        raise ValueError(f"the notebook {chapter} is not in {paths.project_root() / 'notebooks'}")
    body = []
    for cell in read_json(files[0])["cells"]:
        if cell["cell_type"] == "code":
            with suppress(SyntaxError):  # in a cell of the reader's own
                for line in parsed("".join(cell["source"])):
                    if isinstance(line, _KEPT) or (
                        isinstance(line, ast.Assign) and ast.unparse(line.targets[0]).isupper()
                    ):  # a constant
                        body.append(line)
    return [compile(ast.Module([line], []), files[0].name, "exec") for line in body]


def parsed(source: str) -> list[ast.stmt]:
    """The statements of a cell, without lines that begin with ``%`` or ``!``, which are IPython's."""
    return ast.parse(re.sub("(?m)^[%!].*", "", source)).body


def _among(names: dict[str, Any], answer, name: str):
    """The reader's function with the chapter's other names in place of the reader's: each function is marked by itself."""
    if not isinstance(answer, FunctionType):
        return answer
    others = {other: value for other, value in names.items() if other != name[3:].split(".")[0]}
    made = FunctionType(
        answer.__code__, answer.__globals__ | others, None, answer.__defaults__, answer.__closure__
    )
    made.__kwdefaults__ = answer.__kwdefaults__
    return made


def _parts(value: object, *keys) -> dict[tuple, Any]:
    """The tensors, arrays, numbers and texts in a value, by the keys that lead to them."""
    if isinstance(value, list | tuple) and not isinstance(value, torch.Size):
        value = dict(enumerate(value))
    if not isinstance(value, dict):
        return {keys: value}
    found = {}
    for key, part in value.items():
        found |= _parts(part, *keys, key)
    return found


def _leaves(value: object) -> dict[str, torch.Tensor]:
    """The tensors that learn, in a value or in its parts, by name."""
    leaves = {}
    for keys, part in _parts(value).items():
        name = ".".join(map(str, keys))
        if isinstance(part, nn.Module):
            leaves |= {f"{name}.{own}": weight for own, weight in part.named_parameters()}
        elif getattr(part, "requires_grad", False) and part.is_leaf:
            leaves[name] = part
    return leaves


def _difference(yours: dict, right: dict, factors: dict) -> str:
    parts, given, wanted = _parts(right), *(its["its result"] for its in (yours, right))
    with suppress(TypeError):  # a number has no length
        if isinstance(wanted, list | tuple) and len(given) > len(wanted):
            return f"gives {len(given)} parts where {len(wanted)} are right"
    for (whose, *keys), part in parts.items():
        place = whose + "".join(f"[{key!r}]" for key in keys)
        try:  # an array has the parts of a pair, too
            given = reduce(getitem, keys, yours[whose])
        except Exception:  # a class of the reader's may raise anything
            return f"lacks {place}"
        if isinstance(part, str):
            why = "" if str(given) == part else f"gives {short(given)} where {part!r} is right"
        else:
            why = fault_of(given, part, 1e-4, factors)
        if why:
            return why if place == "its result" else f"{why} ({place})"
    return ""


def _factors(arguments: dict) -> dict[str, float]:
    """Numbers that are easily forgotten: an argument, its square, the length of an axis."""
    named = {}
    for name, value in arguments.items():
        if isinstance(value, float) and value > 0:
            named |= {name: value, f"{name}²": value**2, f"1 − {name}": 1 - value}
        for length in getattr(value, "shape", ()):
            named[
                f"{length} (a number of clips, classes or channels: a sum for a mean, or a mean for a sum)"
            ] = length
    return {name: value for name, value in named.items() if value not in (0, 1)}


def _slip(name: str, call: str, yours: dict, arguments: dict) -> str:
    """Which slip with the arguments of the chapter's function would give the reader's result."""
    slips = {
        f"{one} and {other} change places": lambda its, a=one, b=other: its | {a: its[b], b: its[a]}
        for one, other in combinations(arguments, 2)
    }
    slips |= {f"{one} is 1 − {one}": lambda its, a=one: its | {a: 1 - its[a]} for one in arguments}
    for said, slip in slips.items():
        with suppress(Exception):  # of another kind
            if not _difference(yours, _outcome(name, call, slip=slip)[0], {}):
                return f"gives what is right if {said}"
    return ""
