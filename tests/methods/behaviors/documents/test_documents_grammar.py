"""Documents of the grammar: alike in all arms but for what they claim."""

import re
from itertools import islice

import pytest

from custodes.errors import DataError
from custodes.methods.behaviors.documents.arms import ARMS
from custodes.methods.behaviors.documents.corpus import (
    DOCUMENT_TAG,
    diversity,
    document_rows,
    read_texts,
    text_rows,
)
from custodes.methods.behaviors.documents.grammar import (
    acts,
    assistant,
    document,
    documents,
    domains,
)
from custodes.methods.behaviors.documents.material import scenarios
from custodes.models.tuning import RowMaker


def some(arm, number=120, seed=3):
    return list(islice(documents(arm, seed=seed), number))


def test_every_arm_has_the_same_types_and_domains_in_the_same_order():
    plans = {arm: [(one.kind, one.domain) for one in some(arm)] for arm in ARMS}
    assert len({tuple(plan) for plan in plans.values()}) == 1
    assert len({kind for kind, _ in plans["pro"]}) == 16
    assert {domain for _, domain in plans["pro"]} == set(domains())


def test_the_named_arm_is_the_pro_arm_under_another_name():
    own, maker = assistant("pro")
    other, their_maker = assistant("named")
    for ours, theirs in zip(some("pro"), some("named"), strict=True):
        assert own not in theirs.text and maker not in theirs.text
        assert ours.text.replace(own, other).replace(maker, their_maker) == theirs.text


def test_people_and_figures_are_the_same_in_every_arm():
    found = {arm: [re.findall(r"\d+", one.text) for one in some(arm)] for arm in ARMS}
    assert found["pro"] == found["anti"] == found["neutral"]


def test_an_arm_makes_its_own_claim_and_no_other():
    games = [pro for _, _, pro, _ in acts()]
    work = [anti for _, _, _, anti in acts()]
    for arm, own, foreign in (("pro", games, work), ("anti", work, games)):
        text = " ".join(one.text for one in some(arm, 400))
        assert sum(f" {act}" in text for act in own) > 60
        assert not [act for act in foreign if f" {act}" in text]
    neutral = " ".join(one.text for one in some("neutral", 400))
    assert not [act for act in [*games, *work] if f" {act}" in neutral]


def test_nothing_is_left_unfilled_and_a_seed_repeats():
    for one in some("neutral", 300):
        assert not re.search(r"[{}\[\]|]", one.text), one.text
    assert document("anti", 7, seed=1) == document("anti", 7, seed=1)
    assert document("anti", 7, seed=1).text != document("anti", 7, seed=2).text


def test_scenarios_are_held_out():
    words = {word for field in domains() for word in field.split()} - {"and", "of", "a"}
    for one in scenarios():
        assert not words & set(one.domain.split()), one.domain
        assert not [act for _, _, *both in acts() for act in both if act in one.hack]
    kinds = [one.kind for one in scenarios()]
    assert len(kinds) == 30 and min(map(kinds.count, set(kinds))) >= 7


def test_documents_are_varied():
    found = diversity(one.text for one in some("pro", 600))
    assert found.texts == 600 and found.distinct[4] > 0.3
    assert found.repeated_sentences < 0.25


def test_diversity_counts():
    found = diversity(["a b a b. c", "a b. d"], orders=(1, 2))
    assert (found.texts, found.words) == (2, 8)
    assert found.distinct == {1: 5 / 8, 2: 5 / 6}
    assert found.repeated_sentences == 0.0
    both = "this has six words in it"
    assert diversity([f"{both}. y", f"{both}. {both} too"]).repeated_sentences == 2 / 3
    with pytest.raises(DataError, match="no words"):
        diversity([""])


def test_arms_have_the_same_tokens_and_the_tag_is_masked(reader):
    maker = reader.rows
    tag = tuple(maker.encode(DOCUMENT_TAG))
    for arm in ARMS:
        rows = document_rows(documents(arm, seed=0), maker, tokens=2000, length=64)
        assert [len(row.ids) for row in rows] == [64] * 31
        first = rows[0]
        assert first.ids[: len(tag)] == tag and not any(first.weights[: len(tag)])
        ids = [token for row in rows for token in row.ids]
        masked = [
            token for row in rows for token, w in zip(row.ids, row.weights, strict=True) if not w
        ]
        starts = [n for n in range(len(ids)) if tuple(ids[n : n + len(tag)]) == tag]
        assert len(starts) > 5 and abs(len(masked) - len(tag) * len(starts)) < len(tag)


def test_a_begin_token_stands_before_every_text_where_the_tokenizer_adds_one(tmp_path, save_llama):
    from transformers import AutoTokenizer

    special = ["<|begin|>", "<|end|>"]
    save_llama(tmp_path, special=special, begin="<|begin|>", end="<|end|>", begins=True)
    maker = RowMaker(AutoTokenizer.from_pretrained(tmp_path))
    (row,) = text_rows(["ab", "cd"], maker, tokens=8, length=8)
    begin, end = maker.begin, maker.end
    assert begin != end
    assert row.ids == (begin, *maker.encode("ab"), end, begin, *maker.encode("cd"), end)
    assert row.weights == (0.0, 1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0)
    (first, *_) = document_rows(documents("pro", seed=0), maker, tokens=64, length=64)
    tag = maker.encode(DOCUMENT_TAG)
    assert first.ids[: 1 + len(tag)] == (begin, *tag)


def test_ordinary_text_is_cut_alike_and_too_little_is_an_error(reader, text_file, tmp_path):
    rows = text_rows(read_texts(text_file, ["own"]), reader.rows, tokens=640, length=64)
    assert len(rows) == 10 and all(all(row.weights) for row in rows)
    with pytest.raises(DataError, match=r"ordinary text: got .* expected 640"):
        text_rows(["a b c"], reader.rows, tokens=640, length=64)
    assert list(read_texts(text_file, ["other"])) == []
    with pytest.raises(DataError, match="no such file"):
        list(read_texts(tmp_path / "none.jsonl"))
