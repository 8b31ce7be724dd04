"""Imports point down, and the light entrances stay light."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = {"torch", "transformers", "sklearn", "fastapi", "ray", "matplotlib", "scipy"}


def loaded_by(*arguments):
    code = (
        "import sys, runpy\n"
        f"sys.argv = {['custodes', *arguments[1:]]!r}\n"
        "try:\n"
        f"    {arguments[0]}\n"
        "except SystemExit:\n"
        "    pass\n"
        "print('\\n'.join(sorted({name.split('.')[0] for name in sys.modules})), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


@pytest.mark.parametrize(
    "entrance",
    [
        ("import custodes",),
        ("from custodes.cli import main; main()", "--help"),
        ("from custodes.cli import main; main()", "train", "--help"),
    ],
)
def test_the_light_entrances_load_nothing_heavy(entrance):
    assert loaded_by(*entrance) & HEAVY == set()


def lint(folder):
    return subprocess.run(
        [
            str(Path(sys.executable).parent / "lint-imports"),
            "--config",
            "pyproject.toml",
            "--no-cache",
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(folder / "src"), "PATH": "/usr/bin:/bin"},
    )


@pytest.fixture
def copy(tmp_path):
    if not (Path(sys.executable).parent / "lint-imports").exists():
        pytest.skip("import-linter is not installed (pip install --group lint)")
    shutil.copytree(
        ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__", "shipped")
    )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_layers_hold(copy):
    done = lint(copy)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("place", "line", "contract"),
    [
        ("types.py", "import custodes.config", "imports point down"),
        ("data/planted.py", "import custodes.guard", "imports point down"),
        ("guard/planted.py", "import custodes.cli", "imports point down"),
        ("stray.py", "", "imports point down"),
        ("methods/planted.py", "import custodes.guard", "methods know nothing of the flagship"),
        ("models/base.py", "import custodes.models.openai", "no cycles among siblings"),
    ],
)
def test_a_planted_violation_is_caught(copy, place, line, contract):
    path = copy / "src" / "custodes" / place
    path.write_text((path.read_text() if path.exists() else "") + f"\n{line}\n")
    done = lint(copy)
    assert done.returncode != 0, done.stdout
    assert f"{contract} BROKEN" in " ".join(done.stdout.split()) or "not listed" in (
        done.stdout + done.stderr
    ), done.stdout + done.stderr


def test_methods_may_not_know_one_another(copy):
    for name, line in (("one", "import custodes.methods.two"), ("two", "")):
        folder = copy / "src" / "custodes" / "methods" / name
        folder.mkdir()
        (folder / "__init__.py").write_text(f"{line}\n")
    assert "methods know nothing of one another BROKEN" in lint(copy).stdout


def test_every_module_sorts_its_all_and_says_what_it_is():
    modules = sorted((ROOT / "src").rglob("*.py"))
    assert len(modules) > 100
    for path in modules:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert ast.get_docstring(tree), f"{path} has no docstring"
        for node in tree.body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                names = ast.literal_eval(node.value)
                assert names == sorted(names, key=_ruff_order), f"{path}: __all__ is not sorted"


def _ruff_order(name):
    kind = 0 if name.isupper() else 1 if name[:1].isupper() else 2
    return (kind, name)


def test_no_file_is_long():
    limit = 600
    long = {
        str(path.relative_to(ROOT)): lines
        for path in (ROOT / "src").rglob("*.py")
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > limit
    }
    assert long == {}
