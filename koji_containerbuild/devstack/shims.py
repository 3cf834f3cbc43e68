"""What Koji 1.30 expects of Python, and newer Pythons have dropped; loaded before its source.

Koji 1.30 is run unmodified: everything that has to give way gives way here.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import inspect
import sys
import types
from collections import namedtuple
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

_ArgSpec = namedtuple("_ArgSpec", "args varargs keywords defaults")


def restore_inspect() -> None:
    """Put back inspect.getargspec and formatargspec, gone in Python 3.11 (hub and web use them)."""
    put_back: dict[str, Callable[..., Any]] = {
        "getargspec": lambda function: _ArgSpec(*inspect.getfullargspec(function)[:4]),
        "formatargspec": _format_argspec,
    }
    for name, function in put_back.items():
        if not hasattr(inspect, name):
            setattr(inspect, name, function)


def stub_missing(names: Iterable[str]) -> None:
    """Empty modules for imports at the top of kojid which container and repo tasks never use."""
    for name in names:
        if name in sys.modules or _can_import(name):
            continue
        module = sys.modules[name] = types.ModuleType(name)
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, module)


def load_file(name: str, path: Path) -> types.ModuleType:
    """Load a file that is not on the path, or has no .py in its name, as a module."""
    loader = importlib.machinery.SourceFileLoader(name, str(path))
    spec = importlib.util.spec_from_loader(name, loader)
    assert spec is not None  # noqa: S101  we gave the loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    loader.exec_module(module)
    return module


def _can_import(name: str) -> bool:
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return True


def _format_argspec(
    args: list[str],
    varargs: str | None = None,
    varkw: str | None = None,
    defaults: tuple[Any, ...] | None = None,
    *_rest: object,
) -> str:
    """As inspect.formatargspec did, for what the hub's API page shows.

    >>> _format_argspec(["a", "b"], None, "kw", (1,))
    '(a, b=1, **kw)'
    """
    plain = len(args) - len(defaults or ())
    shown = args[:plain]
    shown += [f"{name}={value!r}" for name, value in zip(args[plain:], defaults or ())]
    shown += [f"*{varargs}"] if varargs else []
    shown += [f"**{varkw}"] if varkw else []
    return f"({', '.join(shown)})"
