"""A mild constitution: mint is restricted, other herbs are welcome."""

from __future__ import annotations

from pathlib import Path

import pytest

from custodes.constitution import Constitution, read

GARDENING = Path(__file__).parent / "gardening.yaml"


@pytest.fixture(scope="session")
def gardening() -> Constitution:
    return read(GARDENING)
