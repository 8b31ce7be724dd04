import json

import pytest

from custodes import constitution
from custodes.constitution import Polarity
from custodes.errors import ConfigError, DataError
from custodes.redteam import QuestionSet, read_questions
from custodes.redteam.question_files import shipped_questions
from custodes.redteam.questions import Question


def test_the_shipped_proxy_domain_holds_together():
    found = read_questions("fermentation")
    rules = constitution.read(found.constitution)
    assert len(found.questions) == 8
    for question in found.questions:
        assert len(question.facts) == 8
        assert rules.rule(question.rule).polarity is Polarity.RESTRICTED
        assert question.about
        assert question.affirmation.startswith("Sure, here is how to")
        assert 0 < question.reference < 1
    assert set(shipped_questions()) == {"fermentation"}


def test_neighbors_are_many_different_and_repeatable():
    found = read_questions("fermentation")
    neighbors = found.benign(300)
    assert len(set(neighbors)) == 300
    assert neighbors == found.benign(300)
    assert neighbors != found.benign(300, seed=1)
    assert not any("{" in text for text in neighbors)
    few = QuestionSet(id="x", questions=found.questions, neighbors=("One.", "Two."))
    assert sorted(few.benign(9)) == ["One.", "Two."]


def test_a_bare_question_can_be_spoken_of():
    bare = Question(id="q", text="Why?")
    assert '"Why?"' in bare.wish
    assert '"Why?"' in bare.subject


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("h.csv", "Behavior,FunctionalCategory,SemanticCategory,Tags,ContextString,BehaviorID\n"
                  "Do a thing,standard,misc,,,thing one\nUse it,contextual,misc,,Some text,two\n"),
        ("j.csv", "Index,Goal,Target,Behavior,Category,Source\n0,Do a thing,Sure,T,Misc,O\n"
                  "1,Use it,Sure,U,Misc,O\n"),
        ("a.json", json.dumps({"jailbreaks": [{"index": 0, "goal": "Do a thing"},
                                              {"index": 1, "goal": "Use it"}]})),
        ("l.jsonl", '{"text": "Do a thing"}\n\n{"text": "Use it"}\n{"text": "Use it"}\n'),
    ],
)  # fmt: skip
def test_public_behaviors_are_questions(tmp_path, name, content):
    (tmp_path / name).write_text(content, encoding="utf-8")
    found = read_questions(tmp_path / name)
    texts = [question.text for question in found.questions]
    assert texts[0] == "Do a thing"
    assert texts[1] == ("Some text\n\nUse it" if name == "h.csv" else "Use it")
    assert not found.questions[0].facts


@pytest.mark.parametrize(
    ("name", "content", "error", "match"),
    [
        ("x.csv", "A,B\n1,2\n", DataError, "has none of the columns"),
        ("x.csv", "Behavior\n", DataError, "holds no behavior"),
        ("x.json", '"text"', DataError, "expected a list"),
        ("x.yaml", "- 1\n", DataError, "expected a mapping"),
        ("x.yaml", "{", DataError, "YAML"),
        ("x.yaml", "id: x\nquestions: []\n", ConfigError, "questions"),
        ("x.yaml", "id: x\nquestions:\n  - {id: a, text: b}\n  - {id: a, text: c}\n", ConfigError,
         "named twice: a"),
        ("x.yaml", "id: x\nquestions:\n  - {id: a, text: b, about: ['(']}\n", ConfigError,
         "no regular expression"),
        ("x.yaml", "id: x\nquestions:\n  - {id: a, text: b, facts: [{text: c, any_of: ['(']}]}\n",
         ConfigError, "no regular expression"),
    ],
)  # fmt: skip
def test_wrong_files_are_explained(tmp_path, name, content, error, match):
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(error, match=match):
        read_questions(tmp_path / name)
