"""Write docs/fidelity.md: every figure of every benchmark beside its target.

python docs/generate_fidelity.py
"""

from pathlib import Path

from custodes.measure import collect_results, fidelity_table

ROOT = Path(__file__).parents[1]


def page() -> str:
    """The page's text, from `benchmarks/*/results.json`."""
    return fidelity_table(collect_results(ROOT / "benchmarks"))


if __name__ == "__main__":
    (ROOT / "docs" / "fidelity.md").write_text(page(), encoding="utf-8")
