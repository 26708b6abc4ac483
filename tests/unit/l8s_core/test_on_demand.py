"""Names of a package that are looked up when they are used: the same as if they had been imported."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import l8s_core
import l8s_core.model

PACKAGES = [l8s_core, l8s_core.model]


def _typed(package: ModuleType) -> dict[str, str]:
    """The names that type checkers see, with the modules that they see them in."""
    assert package.__file__ is not None
    found = {}
    for node in ast.walk(ast.parse(Path(package.__file__).read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{package.__name__}."):
            found |= {alias.name: str(node.module) for alias in node.names}
    found.pop("names_of", None)  # the mechanism itself, in the package that holds it
    return found


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_type_checkers_and_python_see_the_same(package: ModuleType) -> None:
    typed = _typed(package)
    assert set(typed) == set(package.__all__) - {"__version__"}
    for name, module in typed.items():
        assert getattr(package, name) is getattr(importlib.import_module(module), name)
    assert set(package.__all__) <= set(dir(package))


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_what_is_not_there_is_an_ordinary_error(package: ModuleType) -> None:
    with pytest.raises(AttributeError, match=f"module '{package.__name__}' has no attribute 'Nonsense'"):
        _ = package.Nonsense
    with pytest.raises(ImportError):
        exec(f"from {package.__name__} import Nonsense")


def test_one_name_imports_its_own_module_and_is_found_at_once_from_then_on() -> None:
    code = (
        "import sys, l8s_core\n"
        "before = {name for name in sys.modules if name.startswith('l8s_core.')}\n"
        "assert before == {'l8s_core.on_demand'}, before\n"
        "assert 'L8sError' not in vars(l8s_core)\n"
        "l8s_core.L8sError\n"
        "assert 'L8sError' in vars(l8s_core)\n"
        "new = {name for name in sys.modules if name.startswith('l8s_core.')} - before\n"
        "assert new == {'l8s_core.errors'}, new\n"
        "assert 'attr' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_a_module_of_the_package_is_still_a_module() -> None:
    from l8s_core import errors, names

    assert errors.__name__ == "l8s_core.errors"
    assert names.__name__ == "l8s_core.names"
