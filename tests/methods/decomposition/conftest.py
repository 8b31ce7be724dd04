"""Small targets and settings, and the plain formulas that the benchmark keeps."""

import importlib.util
from pathlib import Path

import pytest
import torch

from custodes.methods.decomposition.config import TMSConfig
from custodes.methods.decomposition.targets.base import generators
from custodes.methods.decomposition.targets.tms import build_tms

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def plain():
    path = ROOT / "benchmarks" / "decomposition" / "plain.py"
    spec = importlib.util.spec_from_file_location("decomposition_plain", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def tms():
    """Two instances of an untrained TMS 8-3 whose features are often present."""

    def build(instances=2, *, identity=False, seed=0, features=8, hidden=3):
        config = TMSConfig(features=features, hidden=hidden, identity=identity, probability=0.3)
        draw = torch.Generator().manual_seed(seed)
        return build_tms(
            config,
            {
                "embed": torch.randn(instances, features, hidden, generator=draw),
                "bias": 0.1 * torch.randn(instances, features, generator=draw),
            },
        )

    return build


@pytest.fixture
def draws():
    return lambda instances=2, purpose=9: generators(range(instances), "cpu", purpose=purpose)
