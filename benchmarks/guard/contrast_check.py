"""What contrast.jsonl holds, and how far style, length and single words give its labels away.

    python benchmarks/guard/contrast_check.py

Each pair is scored by a linear model fitted on all the other pairs (leave-pair-out). An AUROC
near 0.5 means that a guard has to read what is done to whom. It knows no guard and no other data.
"""

import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from custodes.constitution import read
from custodes.measure import auroc

HERE = Path(__file__).parent
FIELDS = {"pair", "id", "kind", "lang", "text", "label", "rule"}
# A Chinese character is a word here: the script writes no spaces.
WORD = r"[\u4e00-\u9fff]|[^\W\u4e00-\u9fff]+"


def check(rows: list[dict], polarity: dict[str, str]) -> None:
    """Raise ValueError unless rows are pairs, one of each label, beside rules of that polarity."""
    for field in ("text", "id"):
        if len({row[field] for row in rows}) != len(rows):
            raise ValueError(f"two rows share one {field}")
    for row in rows:
        if set(row) != FIELDS:
            raise ValueError(f"{row.get('id')}: fields {sorted(row)}, expected {sorted(FIELDS)}")
        if polarity.get(row["rule"]) != ("permitted", "restricted")[row["label"]]:
            raise ValueError(f"{row['id']}: rule {row['rule']} does not fit label {row['label']}")
    for first, second in zip(rows[::2], rows[1::2], strict=True):
        same = all(first[field] == second[field] for field in ("pair", "kind", "lang"))
        if not same or first["label"] + second["label"] != 1:
            raise ValueError(f"{first['id']} and {second['id']} are not a matched pair")


def features(rows: list[dict]) -> dict[str, np.ndarray]:
    """The cues that must not tell: words, two words in a row, pieces of words, length."""
    texts = [row["text"] for row in rows]
    spaces = {
        "single words": CountVectorizer(token_pattern=WORD, binary=True),
        "words and pairs of words": CountVectorizer(
            token_pattern=WORD, binary=True, ngram_range=(1, 2)
        ),
        "pieces of 2 to 4 characters": CountVectorizer(
            analyzer="char_wb", binary=True, ngram_range=(2, 4), min_df=2
        ),
    }
    found = {name: space.fit_transform(texts).toarray() for name, space in spaces.items()}
    marks = [
        [len(text), len(re.findall(WORD, text)), *(text.count(m) for m in ",.?!:;")]
        for text in texts
    ]
    values = np.log1p(np.array(marks, dtype=float))
    return {**found, "length and punctuation": values}


def leave_pair_out(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Scores of each pair (rows 2i, 2i + 1) by a model fitted on all the others."""
    # Rotated to at most as many columns as rows: the same ridge-penalized fit, much faster.
    left, spread, _ = np.linalg.svd(values - values.mean(axis=0), full_matrices=False)
    reduced = left * spread
    scores = np.zeros(len(labels))
    for start in range(0, len(labels), 2):
        rest = np.ones(len(labels), dtype=bool)
        rest[start : start + 2] = False
        model = LogisticRegression(max_iter=1000).fit(reduced[rest], labels[rest])
        scores[start : start + 2] = model.decision_function(reduced[~rest])
    return scores


def main() -> None:
    """Check the file, count it, print the floors."""
    lines = (HERE / "contrast.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    check(rows, {rule.id: str(rule.polarity.value) for rule in read("default").rules})
    labels = np.array([row["label"] for row in rows])
    for field in ("kind", "lang"):
        counts = Counter(row[field] for row in rows[::2])
        print(f"pairs by {field}:", ", ".join(f"{k} {n}" for k, n in counts.most_common()))
    lengths = np.array([len(re.findall(WORD, row["text"])) for row in rows])
    for label, name in ((1, "restricted"), (0, "permitted")):
        print(f"{name}: words, mean {lengths[labels == label].mean():.1f}")
    long = np.minimum(lengths[::2], lengths[1::2]) >= 55
    print(f"pairs of 55 words and more: {int(long.sum())}")
    for name, values in features(rows).items():
        scores = leave_pair_out(values, labels)
        gaps = (scores[::2] - scores[1::2]) * (2 * labels[::2] - 1)
        print(f"{name}: AUROC {auroc(labels, scores):.3f}, right way round {(gaps > 0).mean():.3f}")


if __name__ == "__main__":
    main()
