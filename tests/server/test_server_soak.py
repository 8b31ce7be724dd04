"""The soak of benchmarks/gateway, for seconds instead of minutes."""

import importlib.util
from pathlib import Path

import pytest

SOAK = Path(__file__).parents[2] / "benchmarks" / "gateway" / "soak.py"


@pytest.mark.slow
def test_memory_stays_flat_and_nothing_is_lost_under_load():
    spec = importlib.util.spec_from_file_location("soak", SOAK)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    report = module.soak(30, 8)
    assert report.leaked == 0
    assert report.unexpected == []
    assert sum(report.requests.values()) > 20
    assert len(report.requests) == 7
    assert report.growth() < 0.15  # half a minute is mostly warm-up
    assert report.ready
    assert report.chain
    assert report.events >= report.requests["benign"] + report.requests["harmful"]
