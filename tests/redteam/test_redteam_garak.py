import json
import runpy
import sys

from custodes.interop.garak import compare, generator_options


def report(path, hits):
    lines = [
        {
            "entry_type": "attempt",
            "status": 2,
            "probe_classname": probe,
            "prompt": "x",
            "outputs": ["y"],
            "detector_results": {"d": [float(hit)]},
        }
        for probe, hit in hits
    ]
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


def test_hits_before_and_after_are_counted_by_probe(tmp_path):
    before = report(tmp_path / "a.jsonl", [("dan.A", 1), ("dan.A", 1), ("enc.B", 0)])
    after = report(tmp_path / "b.jsonl", [("dan.A", 1), ("dan.A", 0), ("new.C", 1)])
    assert compare(before, after) == {
        "garak dan.A": (2, 1, 2),
        "garak enc.B": (0, 0, 1),
        "garak new.C": (0, 1, 1),
    }


def test_the_generators_options_are_printed(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["garak", "http://gateway/v1"])
    sys.modules.pop("custodes.interop.garak", None)
    runpy.run_module("custodes.interop.garak", run_name="__main__")
    printed = json.loads(capsys.readouterr().out)
    assert printed == generator_options("http://gateway/v1")
    assert printed["openai"]["OpenAICompatible"]["stop"] == []
