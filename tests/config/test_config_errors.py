"""What is said of settings that cannot be read and of plug-ins that cannot be imported."""

import pytest

from custodes.config import Config, Registry, load, override
from custodes.errors import ConfigError


def test_a_date_that_the_calendar_lacks_is_told_by_name(tmp_path):
    with pytest.raises(ConfigError, match="--set a: the value '2026-02-30' is not YAML"):
        override({}, ["a=2026-02-30"])
    (tmp_path / "bad.yaml").write_text("a: 2026-02-30\n")
    with pytest.raises(ConfigError, match=r"bad\.yaml: not YAML"):
        load(Config, tmp_path / "bad.yaml")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import math\nx = math.no_such\n", "failed: AttributeError: module 'math'"),
        ("from math import no_such\n", "failed: ImportError: cannot import name 'no_such'"),
        ("x = 1\n", "the module plugged has no 'make'"),
        ("import not_there_at_all\n", "cannot import 'not_there_at_all'"),
    ],
)
def test_a_plug_in_s_own_error_is_told_as_what_it_is(code, said, tmp_path, monkeypatch):
    (tmp_path / "plugged.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "plugged", raising=False)
    with pytest.raises(ConfigError) as found:
        Registry("target", {}).load("plugged:make")
    assert said in str(found.value)
    assert "PYTHONPATH" not in str(found.value)


def test_a_module_that_is_not_found_is_told_where_python_looks():
    with pytest.raises(ConfigError, match=r"cannot import 'mymod_of_nobody'.*PYTHONPATH"):
        Registry("target", {}).load("mymod_of_nobody:make")
