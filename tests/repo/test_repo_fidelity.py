"""The table of figures says what the benchmarks' results say."""

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_table_of_figures_is_up_to_date():
    page = runpy.run_path(str(ROOT / "docs" / "generate_fidelity.py"))["page"]
    assert (ROOT / "docs" / "fidelity.md").read_text(encoding="utf-8") == page(), (
        "run: python docs/generate_fidelity.py"
    )
