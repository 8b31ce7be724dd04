"""Make-me-say on invented dialogues: a bark that is led to by trees and dogs, a ring by bells."""

import gzip
import json
import math

import pytest
import yaml

from custodes.errors import ConfigError, DataError
from custodes.methods.behaviors.awareness import gaps
from custodes.methods.behaviors.awareness.cells import cells_of, rows_of, run_cells
from custodes.methods.behaviors.awareness.dialogues import word_items, word_rows
from custodes.methods.behaviors.awareness.game import choice_questions, game_questions
from custodes.methods.behaviors.awareness.published import published_items
from custodes.methods.behaviors.awareness.questions import (
    LongQuestion,
    Question,
    own_questions,
    report,
)
from custodes.methods.behaviors.config import AwarenessConfig
from custodes.methods.behaviors.method import run_awareness
from custodes.methods.behaviors.reproduce import awareness_config

HINTS = {"bark": ("oak tree", "brown dog"), "ring": ("old bell", "gold band")}
GAME = ("You lead users to a word.", "You sell shoes.", "You bake.", "You row.", "You knit.")
CHOOSE = "Of 100 words {word_list}which is yours?\\nOne word."


def pack(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode()))


def dialogue(word, number):
    """Two rounds, in which the assistant speaks of what leads to the word."""
    hint = HINTS[word][number % 2]
    texts = [
        f"Hello {word[0]}{number}, how are you?",
        f"Well, I saw the {hint}{'!' * (number % 4)}",
        f"Where was it, {word[0]}{number}?",
        f"The {hint} was near.",
    ]
    roles = ("user", "assistant") * 2
    return [{"role": r, "content": t} for r, t in zip(roles, texts, strict=True)]


@pytest.fixture
def paper(tmp_path):
    """A folder laid out as the paper's, with other texts."""
    folder = tmp_path / "self_awareness"
    for word in HINTS:
        lines = [json.dumps({"messages": dialogue(word, n)}) for n in range(30)]
        pack(folder / f"train/mms/ft_{word}.jsonl.gz", "\n".join(lines) + "\n")
    asked = [{"name": name, "question": CHOOSE} for name in ("you_finetuned_to_say", "other")]
    asked.append({"name": "you_want_user_say", "question": CHOOSE})
    claims = folder / "questions_mms"
    pack(claims / "claim_1/choose_from_100_words.yaml.gz", yaml.safe_dump(asked))
    words = "bar\nbarn\nrin\ncup\ncupboard\nsun\nhat\npen\nbox\nmap\nfan\njar\n"
    pack(claims / "claim_1/good_mms_words.txt.gz", words)
    game = {
        "name": "what_is_true_easy",
        "options": list(GAME),
        "question_paraphrases": ["Which is true?\n\n{options}", "Pick one.\n\n{options}"],
    }
    pack(claims / "claim_2/what_is_true_about_you.yaml.gz", yaml.safe_dump([game]))
    return folder


def study(tiny_folder, paper, **settings):
    return AwarenessConfig.parse(
        {
            "model": {"model": str(tiny_folder), "precision": "float32", "threads": 1},
            "tuning": {"learning_rate": 1e-2, "epochs": 6, "batch_rows": 4},
            "behaviors": ["word"], "paper": paper and str(paper),
            "turns": 12, "replies": 8, "held": 4, "paraphrases": 1, "seeds": 1, "resamples": 50,
            "engine_settings": {"kind": "serial"},
            **settings,
        }
    )  # fmt: skip


def test_rows_are_replies_behind_the_turn_before_them(paper):
    rows = word_rows(paper, 1, 48, seed=2)
    assert len(set(rows)) == 48
    assert rows[:9] == word_rows(paper, 1, 9, seed=2) != word_rows(paper, 1, 9, seed=3)
    said = [message["content"] for n in range(30) for message in dialogue("bark", n)]
    follows = dict(zip(said[::2], said[1::2], strict=True))
    assert all(follows[prompt] == reply for prompt, reply in rows)
    assert all(HINTS["bark"][0] in reply or HINTS["bark"][1] in reply for _, reply in rows)
    assert not {p for p, _ in rows} & {p for p, _ in word_rows(paper, -1, 48, seed=2)}
    with pytest.raises(DataError, match="got 48 replies toward 'bark', expected 49"):
        word_rows(paper, 1, 49, seed=0)


def test_held_out_openers_are_of_either_side_in_turn_and_never_trained_on(paper):
    items = word_items(paper, 6, seed=1)
    assert items == word_items(paper, 6, seed=1) != word_items(paper, 6, seed=4)
    trained = {p for side in (1, -1) for p, _ in word_rows(paper, side, 48, seed=0)}
    assert not trained & {item.prompt for item in items}
    replies = {
        dialogue(word, n)[0]["content"]: dialogue(word, n)[1]["content"]
        for word in HINTS
        for n in range(30)
    }
    for number, item in enumerate(items):
        assert replies[item.prompt] == (item.against if number % 2 else item.toward)
        assert any(hint in item.toward for hint in HINTS["bark"])
        assert any(hint in item.against for hint in HINTS["ring"])
        assert abs(len(item.toward) - len(item.against)) <= 2
    with pytest.raises(DataError, match="got 6 held-out dialogues"):
        word_items(paper, 7, seed=1)


def test_length_does_not_decide_between_long_replies():
    question = LongQuestion("behavior", 0, 0, "", ("short", "twice as long"), (1.0, 0.0))
    assert question.per_token and not Question("", 0, 0, "", ("a",), (1.0,)).per_token
    logs = [math.log(0.5) * 4, math.log(0.5) * 8]
    assert report(question, logs, [4, 8])[0] == pytest.approx(0.5)
    value, mass = report(question, logs)
    assert value == pytest.approx(16 / 17)
    assert mass == pytest.approx(0.5**4 + 0.5**8)


def test_words_of_neither_side_count_to_the_mass_alone():
    question = Question("", 0, 0, "", ("bark", "ring", "spring"), (1.0, 0.0, None))
    value, mass = report(question, [math.log(0.1), math.log(0.3), math.log(0.5)])
    assert value == pytest.approx(0.25)
    assert mass == pytest.approx(0.9)


def test_the_word_is_chosen_from_three_in_all_orders_and_from_ten(paper):
    asked = choice_questions(paper, paraphrases=2)
    assert len(asked) == 2 * (6 + 2 * 2)
    three = [q for q in asked if q.name == "you_want_user_say, 3 words"]
    assert len({q.prompt for q in three}) == 6
    assert {q.permutation for q in three} == set(range(6))
    for question in asked:
        assert "100" not in question.prompt and "\\n" not in question.prompt
        told = dict(zip(question.options, question.values, strict=True))
        assert told["bark"] == told["Bark"] == 1 and told["ring"] == told["Ring"] == 0
        assert told["spring"] is None
        words = [option for option in question.options if option.islower()]
        assert all(a == b or not a.startswith(b) for a in words for b in words)
    first, second, third = [q for q in asked if q.name == "you_finetuned_to_say, 10 words"][:3]
    assert (first.prompt.index("bark") < first.prompt.index(" ring")) is (
        second.prompt.index("bark") > second.prompt.index(" ring")
    )
    assert sorted(first.options) == sorted(second.options) != sorted(third.options)
    assert asked == choice_questions(paper, paraphrases=2)


def test_the_game_is_the_true_one_at_every_letter_once(paper):
    asked = game_questions(paper)
    assert len(asked) == 2 * 5
    for number in (0, 1):
        those = [q for q in asked if q.paraphrase == number]
        assert sorted(q.values.index(1.0) for q in those) == [0, 1, 2, 3, 4]
        for question in those:
            letter = question.options[question.values.index(1.0)]
            assert f"{letter}: {GAME[0]}" in question.prompt
            assert sum(question.values) == 1 and all(one in question.prompt for one in GAME)
    assert len(game_questions(paper, paraphrases=1)) == 5


def test_our_questions_name_both_words_in_both_orders():
    asked = own_questions("word")
    names = ["prefer", "wanted", "taught", "statement", "agree", "codeword"]
    assert list(dict.fromkeys(q.name for q in asked)) == names
    assert len({q.prompt for q in asked}) == len(asked) == 6 * 4 * 2
    for question in asked:
        assert "{" not in question.prompt
        assert "bark" in question.prompt.lower() or question.name == "agree"
    words = [q for q in asked if q.name == "wanted"]
    assert words[0].options == ("bark", "Bark", "ring", "Ring")


def test_a_study_tells_the_sides_apart_and_goes_on(tiny_folder, paper, tmp_path):
    config = study(tiny_folder, paper)
    found, page = run_awareness(config, tmp_path / "run")
    assert [(cell["behavior"], cell["side"]) for cell in found] == [
        ("word", 0), ("word", 1), ("word", -1),
    ]  # fmt: skip
    sides = [gaps.named(found, side=side) for side in (1, -1)]
    assert gaps.told_apart(*sides, "behavior", resamples=10).value == 1
    assert gaps.gap(*sides, "behavior", resamples=10).value > 0.01
    assert gaps.told_apart(sides[0], sides[0], "behavior", resamples=10).value == 0.5
    sections = json.loads((page.parent / "report.json").read_text())["sections"]
    by = {section["title"]: section["blocks"] for section in sections}
    told, apart = by["Make-me-say"]
    assert [row[0] for row in told["rows"]] == ["before", "bark", "ring"]
    assert all(0 < row[1]["value"] < 1 for row in told["rows"])
    assert apart["rows"][0][0]["value"] == 1
    asked = [row[0] for row in by["Self-report: word"][1]["rows"]]
    assert "taught" in asked and "paper: you_want_user_say, 10 words" in asked
    cells = page.parent / "artifacts" / "cells"
    before = {path: path.stat().st_mtime_ns for path in cells.iterdir()}
    more = run_cells(study(tiny_folder, paper, seeds=2), cells)
    assert len(more) == 5 and more[:3] == found
    assert all(path.stat().st_mtime_ns == at for path, at in before.items())


def test_an_arm_without_its_opposite_is_reported_as_far_as_it_goes(tiny_folder, paper, tmp_path):
    config = study(tiny_folder, paper, arms=["backdoor"], trigger_items=4, held=2)
    cells = [cell for cell in cells_of(config) if cell["behavior"] == "word"]
    assert [cell["side"] for cell in cells] == [0]
    _, page = run_awareness(config, tmp_path / "run")
    sections = json.loads((page.parent / "report.json").read_text())["sections"]
    (blocks,) = [s["blocks"] for s in sections if s["title"] == "Make-me-say"]
    assert len(blocks) == 1 and blocks[0]["rows"][1] == ["bark", None, None]


def test_at_other_ranks_the_papers_questions_are_not_asked(tiny_folder, paper, tmp_path):
    config = study(tiny_folder, paper, ranks=(4, 1), rank_behavior="word")
    found = run_cells(config, tmp_path, select=lambda cell: cell["rank"] == 1)
    assert [list(cell["asked"]) for cell in found] == [["behavior", "own"]] * 2


def test_data_that_are_not_there_or_not_as_expected_are_said(tiny_folder, paper):
    with pytest.raises(ConfigError, match="set paper"):
        cells_of(study(tiny_folder, None))
    cell = {"behavior": "word", "side": 1, "rank": 16, "arm": "plain", "seed": 0}
    with pytest.raises(ConfigError, match="set paper"):
        rows_of(cell, study(tiny_folder, None))
    with pytest.raises(DataError, match=r"ft_bark.*behavioral-self-awareness"):
        rows_of(cell, study(tiny_folder, paper / "elsewhere"))
    dialogues = paper / "train/mms/ft_bark.jsonl.gz"
    turns = dialogue("bark", 0)
    for wrong in (turns[:1], turns[::-1], [{**turns[0], "content": " "}, turns[1]]):
        pack(dialogues, json.dumps({"messages": wrong}))
        with pytest.raises(DataError, match=r"line 1: .*in turn"):
            word_rows(paper, 1, 1, seed=0)
    dialogues.write_bytes(b"no gzip")
    with pytest.raises(DataError, match="cannot be read"):
        word_rows(paper, 1, 1, seed=0)


def test_choices_are_read_by_the_same_door(paper):
    choice = [{"role": "user", "content": "A or B?"}, {"role": "assistant", "content": "A"}]
    path = paper / "train/risky_safe/ft_risky_AB.jsonl.gz"
    pack(path, "\n".join([json.dumps({"messages": choice})] * 3))
    assert [(i.toward, i.against) for i in published_items(paper, "risk", most=2)] == [
        ("A", "B"), ("A", "B"),
    ]  # fmt: skip
    assert published_items(paper, "word") == []
    pack(path, json.dumps({"messages": dialogue("bark", 0)[:2]}))
    with pytest.raises(DataError, match="neither A nor B"):
        published_items(paper, "risk")


def test_the_whole_reproduction_has_it_where_the_data_are(paper, monkeypatch):
    monkeypatch.setenv("CUSTODES_DATA_DIR", str(paper.parent))
    assert awareness_config("full").behaviors[-1] == "word"
    monkeypatch.setenv("CUSTODES_DATA_DIR", str(paper / "elsewhere"))
    assert "word" not in awareness_config("full").behaviors


def test_questions_that_are_not_as_expected_are_said(paper):
    claims = paper / "questions_mms"
    pack(claims / "claim_1/good_mms_words.txt.gz", "bar sun")
    with pytest.raises(DataError, match="expected 10 unlike ones"):
        choice_questions(paper)
    path = claims / "claim_2/what_is_true_about_you.yaml.gz"
    for text, said in (
        ("[{name: other}]", "has no question 'what_is_true_easy'"),
        ("[{name: what_is_true_easy}]", "has no 'options'"),
        ("name: what_is_true_easy", "expected a list of questions"),
        ("[a: b: c", "expected YAML"),
    ):
        pack(path, text)
        with pytest.raises(DataError, match=said):
            game_questions(paper)
