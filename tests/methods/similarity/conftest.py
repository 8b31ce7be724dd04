"""What the similarity tests share: the peer lm-sim where it is there, the public trials, tables."""

import importlib.util
import os
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from custodes.methods.similarity import Answers


@pytest.fixture(scope="session")
def lmsim():
    """lm-sim 0.1.1, from this environment or the site-packages that CUSTODES_PEER_LMSIM names."""
    folder = os.environ.get("CUSTODES_PEER_LMSIM")
    spec = importlib.util.find_spec("lmsim.metrics") if importlib.util.find_spec("lmsim") else None
    if spec is None and folder:
        path = Path(folder) / "lmsim" / "metrics.py"
        if path.exists():
            spec = importlib.util.spec_from_file_location("lmsim_metrics", path)
    if spec is None or spec.loader is None:
        pytest.skip(
            "the peer lm-sim 0.1.1 is not here: pip install --no-deps lm-sim==0.1.1 in an "
            "environment of its own and let CUSTODES_PEER_LMSIM name its site-packages"
        )
    module = importlib.util.module_from_spec(spec)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its docstrings hold invalid escapes
        spec.loader.exec_module(module)
    sys.modules.setdefault(spec.name, module)
    return module


@pytest.fixture(scope="session")
def trials() -> Path:
    """The folder of the published trials."""
    root = os.environ.get("CUSTODES_DATA_DIR")
    folder = Path(root or "/nonexistent") / "error_consistency"
    if not folder.is_dir():
        pytest.skip("error_consistency is not under CUSTODES_DATA_DIR")
    return folder


@pytest.fixture
def table() -> Answers:
    """Five models, 240 ragged questions, two questions a group; the later models know more."""
    return ragged_table(models=5, questions=240)


def ragged_table(*, models: int, questions: int, seed: int = 0) -> Answers:
    rng = np.random.default_rng(seed)
    options = rng.integers(2, 6, questions)
    labels = np.array([rng.integers(count) for count in options])
    rows = {
        f"model {index}": [
            rng.dirichlet(np.full(count, 0.5) + 0.4 * index * np.eye(count)[label])
            for count, label in zip(options, labels, strict=True)
        ]
        for index in range(models)
    }
    return Answers.of(rows, labels, groups=[question // 2 for question in range(questions)])
