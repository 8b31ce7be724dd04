import json
from collections import Counter

import numpy as np
import pytest

from custodes.errors import DataError
from custodes.methods.unlearning.capitals import CAPITALS, capitals
from custodes.methods.unlearning.facts import Fact, chance, read_facts, split_facts, write_facts
from custodes.methods.unlearning.grammar import RELATIONS, invent


def fact(**changes):
    values = {
        "id": "a",
        "relation": "r",
        "statements": ("It is",),
        "question": "What?",
        "answer": "one",
        "wrong": ("two", "three", "four"),
    }
    return Fact(**{**values, **changes})


def test_invented_facts_repeat_by_seed_and_hold_one_fact_an_entity():
    facts = invent(40, 24, seed=3)
    assert facts == invent(40, 24, seed=3)
    assert facts != invent(40, 24, seed=4)
    assert sum(one.neighbor for one in facts) == 24
    assert len({one.id.split(":")[1] for one in facts}) == 64
    for one in facts:
        name = one.id.split(":")[1]
        for text in (*one.statements, one.question, one.cloze):
            assert name in text and one.answer not in text
        assert one.question not in one.statements and one.cloze not in one.statements
        relation = next(r for r in RELATIONS if r.name == one.relation)
        assert {one.answer, *one.wrong} == set(relation.values)


def test_answers_tell_nothing_of_one_another():
    facts = invent(4000, 6, seed=0)
    for relation in RELATIONS:
        counts = Counter(one.answer for one in facts if one.relation == relation.name)
        shares = np.array([counts[value] for value in relation.values]) / sum(counts.values())
        assert np.abs(shares - 1 / len(relation.values)).max() < 0.03


def test_one_who_always_says_the_same_is_right_by_chance():
    facts = invent(4000, 6, seed=1)
    favorite = {relation.name: relation.values for relation in RELATIONS}
    right = []
    for one in facts:
        options = one.options(4, seed=0)
        assert len(set(options)) == 4 and one.answer in options
        right.append(min(options, key=favorite[one.relation].index) == one.answer)
    assert np.mean(right) == pytest.approx(0.25, abs=0.03)
    places = Counter(one.options(4, seed=0).index(one.answer) for one in facts)
    assert all(abs(count / 4000 - 0.25) < 0.03 for count in places.values())
    assert chance(facts) == pytest.approx(np.mean([1 / 16, 1 / 12, 1 / 16, 1 / 16]), abs=0.001)


def test_parts_are_apart_and_cover_everything():
    facts = invent(48, 30, seed=0)
    parts = split_facts(facts, seed=5)
    assert [len(part) for part in (parts.select, parts.taught, parts.held)] == [12, 18, 18]
    assert [len(part) for part in (parts.kept, parts.watched, parts.beside)] == [15, 6, 9]
    everything = [one.id for one in parts.forget + parts.neighbors]
    assert sorted(everything) == sorted(one.id for one in facts)
    assert not any(one.neighbor for one in parts.forget)
    assert parts == split_facts(facts, seed=5) != split_facts(facts, seed=6)


@pytest.mark.parametrize("seed", range(5))
def test_every_part_has_its_share_of_each_relation(seed):
    parts = split_facts(invent(48, 32, seed=seed), seed=seed)
    assert [len(part) for part in (parts.select, parts.taught, parts.held)] == [12, 18, 18]
    assert [len(part) for part in (parts.kept, parts.watched, parts.beside)] == [16, 6, 10]
    for part, share in ((parts.select, 3), (parts.taught, 4.5), (parts.held, 4.5)):
        counts = Counter(one.relation for one in part)
        assert len(counts) == 4
        assert all(abs(count - share) <= 1 for count in counts.values())


def test_a_facts_part_is_a_matter_of_the_seed():
    facts = invent(48, 32, seed=0)
    held = Counter(one.id for seed in range(400) for one in split_facts(facts, seed=seed).held)
    shares = [held[one.id] / 400 for one in facts if not one.neighbor]
    assert min(shares) > 0.25 and max(shares) < 0.5  # 0.375, give or take


def test_split_says_what_it_misses():
    with pytest.raises(DataError, match="0 neighbors"):
        split_facts([one for one in invent(12, 6, seed=0) if not one.neighbor], seed=0)
    with pytest.raises(DataError, match="twice"):
        split_facts([fact(), fact()], seed=0)


def test_capitals_are_belong_to_one_country_each():
    facts = capitals(seed=0)
    assert len(facts) == len(CAPITALS) == len(set(CAPITALS.values()))
    assert all(one.answer == CAPITALS[one.id.split(":")[1]] for one in facts)
    assert 0.3 < np.mean([one.neighbor for one in facts]) < 0.5
    assert {one.id for one in facts if one.neighbor} != {
        one.id for one in capitals(seed=1) if one.neighbor
    }


def test_files_come_back_as_they_were_written(tmp_path):
    facts = [*invent(8, 6, seed=0), fact(cloze=None)]
    write_facts(tmp_path / "facts.jsonl", facts)
    assert read_facts(tmp_path / "facts.jsonl") == facts


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"answer": ""}, "answer"),
        ({"wrong": ["one", "two"]}, "without"),
        ({"statements": []}, "statements"),
        ({"statements": "It is"}, "list of texts"),
        ({"neighbor": "no"}, "true or false"),
        ({"extra": 1}, "unknown"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, change, told):
    row = {
        "id": "a",
        "relation": "r",
        "statements": ["It is"],
        "question": "What?",
        "answer": "one",
        "wrong": ["two"],
        **change,
    }
    path = tmp_path / "facts.jsonl"
    path.write_text(json.dumps(row) + "\n")
    with pytest.raises(DataError, match=f"line 1.*{told}"):
        read_facts(path)


def test_more_options_than_answers_is_an_error():
    with pytest.raises(DataError, match="expected 2 to 4"):
        fact().options(5, seed=0)
