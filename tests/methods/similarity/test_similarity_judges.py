import json

import numpy as np
import pytest
from typer.testing import CliRunner

from custodes.errors import ConfigError, DataError
from custodes.methods.similarity.command import app
from custodes.methods.similarity.config import JudgeConfig, JudgesConfig
from custodes.methods.similarity.judge_study import run_judge_study
from custodes.methods.similarity.judges import (
    Question,
    RepliesOnly,
    affinity,
    answer_table,
    answers_of_model,
    marks_of_judge,
    run_judges,
)
from custodes.methods.similarity.marks import read_marks
from custodes.methods.similarity.replies import named
from custodes.models import MODELS
from custodes.models.scripted import ScriptedModel


def scripted(**settings):
    model = MODELS.load("scripted")
    return model(model.Config(**settings))


class Known:
    """Answers from a table: right with a given mass, its mistakes where it is told to make them."""

    def __init__(self, seed, skill):
        self.seed, self.skill = seed, skill

    def answer(self, questions):
        found = []
        for question in questions:
            rng = np.random.default_rng([self.seed, int(question.id[1:])])
            row = rng.dirichlet(np.full(len(question.options), 0.6))
            right = np.eye(len(question.options))[question.label]
            found.append(self.skill * right + (1 - self.skill) * row)
        return found


def reply_only(**settings):
    return RepliesOnly(scripted(**settings))


@pytest.fixture
def questions():
    rng = np.random.default_rng(0)
    return [
        Question(f"q{i}", f"Which number is right, {i}?", ("one", "two", "three"), int(label))
        for i, label in enumerate(rng.integers(0, 3, 120))
    ]


def test_answers_come_by_letters(questions):
    model = scripted(log_probabilities={"A": -1.0, "B": -2.0, "C": -9.0})
    rows = answers_of_model(model, questions[:2], JudgeConfig())
    assert rows[0].argmax() == 0 and rows[0].sum() == pytest.approx(1.0)
    assert rows[0][1] / rows[0][0] == pytest.approx(np.exp(-1.0))
    replies = answers_of_model(reply_only(otherwise="(B) two"), questions[:1], JudgeConfig())
    assert replies[0].tolist() == [0, 1, 0]
    said = answers_of_model(reply_only(otherwise="The answer: C."), questions[:1], JudgeConfig())
    assert said[0].tolist() == [0, 0, 1]
    unread = answers_of_model(reply_only(otherwise="Dunno"), questions[:1], JudgeConfig())
    assert np.isnan(unread[0]).all()
    table = answer_table({"a": reply_only(otherwise="Dunno")}, questions[:2], JudgeConfig())
    assert table.probabilities.tolist() == [[[1 / 3] * 3] * 2]
    with pytest.raises(DataError, match="got a int"):
        answers_of_model(3, questions[:1], JudgeConfig())


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        ("I think the answer is B.", "B"),
        ("A careful reading shows (C).", "C"),
        ("**Answer:** (D)", "D"),
        ("B. I am sure of it", "B"),
        ("A\nThe reason is plain.", "A"),
        ("Option A is right", "A"),
        ("I'd go with A.", "A"),
        ("I", "I"),
        ("I'm for C", "C"),
        ("I like A or B", None),
        ("(A) is wrong, (B) is right", None),
        ("A. one\nB. two", None),
        ("It is not B", None),
        ("A good question, I admit", None),
    ],
)
def test_a_reply_is_read_by_the_letter_that_it_names(reply, letter):
    """The pronoun I and the article A are no letters, and of several none is the answer."""
    found = named(reply, "ABCDEFGHIJ")
    assert found == (None if letter is None else "ABCDEFGHIJ".index(letter))


def test_marks_in_replies_are_whole_numbers():
    replies = ["1", "**0**", "My answer is 1.", "0.9", "I give 0 out of 1", "10"]
    assert [named(reply, "01") for reply in replies] == [1, 0, 1, None, None, None]


def test_marks_come_by_probability_or_decision(questions):
    sure = scripted(log_probabilities={"1": -0.1, "0": -2.0})
    soft = marks_of_judge(sure, questions[:2], [0, 1], JudgeConfig())
    assert soft[0] == pytest.approx(1 / (1 + np.exp(-1.9)))
    hard = marks_of_judge(sure, questions[:2], [0, 1], JudgeConfig(marks="decision"))
    assert hard.tolist() == [1.0, 1.0]
    replies = reply_only(script=({"when": "answer: two", "reply": "1"},), otherwise="0")
    assert marks_of_judge(replies, questions[:2], [0, 1], JudgeConfig()).tolist() == [0.0, 1.0]
    assert np.isnan(
        marks_of_judge(reply_only(otherwise="yes"), questions[:1], [0], JudgeConfig())
    ).all()
    known = Known(0, 0.9)
    choices = [question.label for question in questions]
    assert marks_of_judge(known, questions, choices, JudgeConfig()).min() > 0.85
    decided = marks_of_judge(known, questions, choices, JudgeConfig(marks="decision"))
    assert set(decided) == {1.0}


def test_a_judge_favors_what_errs_alike(questions):
    """Judged models mix the judge's own mistakes with others, all about as accurate."""

    class Mixed(Known):
        def __init__(self, seed, share):
            super().__init__(seed, 0.3)
            self.share = share

        def answer(self, asked):
            own, other = Known(99, 0.3).answer(asked), super().answer(asked)
            found = []
            for question, a, b in zip(asked, own, other, strict=True):
                rng = np.random.default_rng([self.seed, 1000, int(question.id[1:])])
                found.append(a if rng.random() < self.share else b)
            return found

    judged = {f"m{i}": Mixed(i, share) for i, share in enumerate(np.linspace(0, 0.9, 12))}
    run = run_judges({"judge": Known(99, 0.3)}, {**judged, "judge": Known(99, 0.3)}, questions)
    assert run.marks.shape == (1, 13) and run.by_question.shape == (1, 13, 120)
    (found,) = affinity(run)
    assert found.plain.rows == 12  # not itself
    assert found.partial.interval.low > 0.5
    assert found.judged == tuple(judged)
    assert found.plain.value == pytest.approx(np.corrcoef(found.similarity, found.marks)[0, 1])
    assert [slope.name for slope in found.slopes] == ["constant", "similarity", "accuracy"]


def test_the_whole_study_from_a_file(tmp_path):
    questions = tmp_path / "questions.jsonl"
    rows = [
        {"id": i, "question": f"item {i}", "options": ["x", "y"], "label": i % 2} for i in range(12)
    ]
    questions.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def model(a):
        return {"backend": "scripted", "settings": {"log_probabilities": {"A": -a, "B": -1.0}}}

    config = JudgesConfig.parse(
        {
            "judges": {"judge": model(0.5)},
            "judged": {"judge": model(0.5), **{f"m{i}": model(0.3 + 0.2 * i) for i in range(6)}},
            "questions": str(questions),
        }
    )
    page = run_judge_study(config, tmp_path / "run").read_text()
    assert "Judge affinity" in page
    assert "Partial regression" in page and "Judges that resemble the judged" in page
    assert "Every answer and every mark was read" in page
    log = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(log[0])["judge"] == "judge"
    wrong = [
        ({}, "expected id"),
        ({**rows[0], "options": ["x"]}, "got 1 options; expected 2 to 26"),
        ({**rows[0], "options": list(map(str, range(27)))}, "got 27 options; expected 2 to 26"),
        ({**rows[0], "label": 2}, "the label 2; expected 0 to 1"),
        ({**rows[0], "label": 0.7}, "got 0.7, expected a whole number"),
        ({**rows[0], "options": "yes"}, "options are 'yes', no list"),
        (rows[1], "'1' again"),
    ]
    for row, says in wrong:
        questions.write_text(json.dumps(rows[1]) + "\n" + json.dumps(row) + "\n")
        with pytest.raises(DataError, match=f"jsonl:2: .*{says}"):
            run_judge_study(config, tmp_path / "again")
    questions.write_text("\n")
    with pytest.raises(DataError, match="no questions"):
        run_judge_study(config, tmp_path / "again")
    assert not (tmp_path / "again").exists()  # nobody was asked


def study(tmp_path, judge, judged):
    questions = tmp_path / "questions.jsonl"
    rows = [
        {"id": i, "question": f"item {i}", "options": ["x", "y"], "label": i % 2} for i in range(12)
    ]
    questions.write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = {"judges": {"judge": judge}, "judged": judged, "questions": str(questions)}
    return JudgesConfig.parse(given)


def replying(otherwise, *script):
    settings = {"otherwise": otherwise, "script": [{"when": w, "reply": r} for w, r in script]}
    return {"backend": "scripted", "settings": settings, "reading": "reply"}


def test_a_judge_is_not_one_of_its_own_five(tmp_path):
    judge, others = replying("A"), {f"m{i}": replying("B") for i in range(5)}
    study(tmp_path, judge, {**others, "judge": judge})
    del others["m0"]
    with pytest.raises(ConfigError, match="got 4 models beside the judge 'judge'; expected at"):
        study(tmp_path, judge, {**others, "judge": judge})
    with pytest.raises(ConfigError, match="with other settings"):
        study(tmp_path, judge, {**others, "m0": judge, "judge": replying("B")})


def test_what_was_answered_is_kept_and_what_was_not_read_is_said(tmp_path):
    """m0 and m1 never answer readably: four rows remain, too few for a correlation."""
    judge = replying("1", ("item 3", "Hm."))
    judged = {f"m{i}": replying("Dunno" if i < 2 else "AB"[i % 2]) for i in range(6)}
    said = []
    page = run_judge_study(study(tmp_path, judge, judged), tmp_path / "run", say=said.append)
    assert said[:2] == [
        "m0: 100.0% of its answers could not be read, or chose nothing; they are not marked",
        "m1: 100.0% of its answers could not be read, or chose nothing; they are not marked",
    ]
    assert len(said) == 3 and said[2].startswith("judge: ")
    report = json.loads((page.parent / "report.json").read_text())
    text = json.dumps(report)
    assert "that could not be read" in text and "NaN" not in text
    (line,) = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    logged = json.loads(line)
    assert logged["partial"]["rows"] == 4 and logged["partial"]["interval"]["value"] is None
    assert logged["unread"]["m0"] == 0 and logged["unread"]["m2"] > 0

    kept = tmp_path / "run" / "artifacts"
    lines = [json.loads(row) for row in (kept / "marks.jsonl").read_text().splitlines()]
    assert {row["judged"] for row in lines} == {"m2", "m3", "m4", "m5"}
    again = ["affinity", str(kept / "answers.jsonl"), str(kept / "marks.jsonl")]
    done = CliRunner().invoke(
        app, [*again, "--unanswered", "uniform", "--out", str(tmp_path / "again")]
    )
    assert done.exit_code == 0, done.output


def test_a_study_that_failed_asks_nobody_again_who_answered(tmp_path, monkeypatch):
    judged = {f"m{i}": replying("A") for i in range(5)}
    config = study(tmp_path, replying("1"), judged)
    lost = config.model_copy(
        update={
            "asking": JudgeConfig().model_copy(update={"question": "{nothing}"})
        }  # fails when judges are asked
    )
    with pytest.raises(KeyError):
        run_judge_study(lost, tmp_path / "run")
    answers = tmp_path / "run" / "artifacts" / "answers.jsonl"
    kept = answers.read_text().splitlines()
    assert len(kept) == 6 * 12

    asked = []
    generate = ScriptedModel.generate

    def counted(self, conversations, sampling):
        asked.append([turns[-1].content for turns in conversations])
        return generate(self, conversations, sampling)

    monkeypatch.setattr(ScriptedModel, "generate", counted)
    run_judge_study(config, tmp_path / "run")
    assert answers.read_text().splitlines() == kept
    assert len(asked) == 1  # the judge, for its marks
    assert all("Is the proposed answer correct?" in text for text in asked.pop())
    marks = (tmp_path / "run" / "artifacts" / "marks.jsonl").read_text()
    run_judge_study(config, tmp_path / "run")
    assert not asked
    assert (tmp_path / "run" / "artifacts" / "marks.jsonl").read_text() == marks
    other = {**judged, "m5": replying("B")}
    run_judge_study(study(tmp_path, replying("1"), other), tmp_path / "run")
    assert len(asked) == 2  # the new one, and the judge


def test_marks_that_are_there_already(tmp_path, questions):
    judged = {f"m{i}": Known(i, 0.1 * i) for i in range(7)}
    run = run_judges({"judge": Known(99, 0.3)}, judged, questions)
    lines = [
        {"judge": "judge", "judged": name, "mark": float(mark)}
        for name, marks in zip(run.judged, run.by_question[0], strict=True)
        for mark in marks
    ]
    path = tmp_path / "marks.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    given = read_marks(path, run.answers)
    assert np.allclose(given.marks, run.marks)
    assert affinity(given)[0].partial.value == pytest.approx(affinity(run)[0].partial.value)

    answers = tmp_path / "answers.npz"
    table = {"probabilities": run.answers.probabilities, "labels": run.answers.labels}
    np.savez(answers, names=np.array(run.answers.names), options=run.answers.options, **table)
    command = ["affinity", str(answers), str(path), "--out", str(tmp_path / "run")]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "Partial regression" in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("", "no marks"),
        ('{"judge": "m0", "judged": "m1"}', "expected judge, judged and mark"),
        ('{"judge": "m0", "judged": "m1", "mark": NaN}', "the mark nan"),
        ('{"judge": "m0", "judged": "nobody", "mark": 1}', "'nobody'"),
    ],
)
def test_marks_that_are_none_are_refused(tmp_path, questions, line, says):
    answers = answer_table({"m0": Known(0, 0.1), "m1": Known(1, 0.1)}, questions, JudgeConfig())
    path = tmp_path / "marks.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(DataError, match=says):
        read_marks(path, answers)


def test_an_answer_that_cannot_be_read_is_neither_marked_nor_credited(questions):
    """Its uniform row's argmax is option A, which it never gave."""
    judge = Known(99, 0.9)
    readable = {f"m{i}": Known(i, 0.1 * i) for i in range(6)}
    run = run_judges({"judge": judge}, {"silent": reply_only(otherwise="Dunno"), **readable},
                     questions)  # fmt: skip
    assert np.isnan(run.marks[0, 0]) and np.isnan(run.by_question[0, 0]).all()
    assert run.unanswered.tolist() == [1.0] + [0.0] * 6 and not run.unread.any()
    assert run.answers.accuracy()[run.answers.index("silent")] == pytest.approx(1 / 3)
    (found,) = affinity(run)
    assert found.judged == tuple(readable)


def test_marks_that_cannot_be_read_are_left_out_and_counted(questions):
    judge = reply_only(script=({"when": "answer: two", "reply": "Hm."},), otherwise="1")
    judged = {f"m{i}": Known(i, 0.1 * i) for i in range(6)}
    run = run_judges({"judge": judge}, judged, questions)
    assert (run.unread > 0).all() and (run.marks == 1.0).all()
    silent = run_judges({"judge": reply_only(otherwise="Hm.")}, judged, questions)
    assert np.isnan(silent.marks).all() and (silent.unread == 1.0).all()


class Single(Known):
    """A model of single precision, whose numbers `json` does not know."""

    def answer(self, questions):
        return [row.astype(np.float32) for row in super().answer(questions)]


def archived(folder, questions):
    from custodes.methods.similarity.judge_study import _Archive

    model = {"backend": "scripted"}
    config = JudgesConfig.parse({
        "judges": {"judge": model}, "judged": {f"m{i}": model for i in range(5)},
        "questions": "questions.jsonl",
    })  # fmt: skip
    folder.mkdir(exist_ok=True)
    return _Archive(folder, config, questions)


def test_answers_of_single_precision_are_kept(tmp_path, questions):
    archive = archived(tmp_path, questions)
    said = archive.answers("m0", lambda: Single(0, 0.5).answer(questions))
    again = archived(tmp_path, questions).answers("m0", lambda: pytest.fail("asked again"))
    assert all(np.array_equal(one, other) for one, other in zip(said, again, strict=True))


def test_what_an_earlier_version_kept_is_laid_aside(tmp_path, questions):
    for name in ("answers", "marks"):
        (tmp_path / f"{name}.jsonl").write_text(f"{name} that were paid for\n")
    archived(tmp_path, questions)
    archived(tmp_path, questions)  # a second start that failed before anybody answered
    for name in ("answers", "marks"):
        kept = tmp_path / f"{name}.earlier.jsonl"
        assert kept.read_text() == f"{name} that were paid for\n"
    archived(tmp_path, questions).answers("m0", lambda: Known(0, 0.5).answer(questions))
    archived(tmp_path, questions)
    assert "paid for" in (tmp_path / "answers.earlier.jsonl").read_text()


@pytest.mark.parametrize(
    ("field", "prompt", "says"),
    [
        ("ask", '{question} {options} Answer as {"letter": "A"}', "expected {question}"),
        ("ask", "hello", "got a prompt with no fields; expected {question}"),
        ("ask", "{question} {", "write {{ and }} for braces"),
        ("question", "{question} {options}", "expected {question} and {answer}"),
        ("question", "{question} {answer} {truth}", "{truth}"),
    ],
)
def test_a_prompt_that_cannot_be_filled_is_refused_before_anybody_is_asked(field, prompt, says):
    with pytest.raises(ConfigError) as found:
        JudgeConfig.parse({field: prompt})
    assert says in str(found.value)
    JudgeConfig.parse({"ask": '{question} Reply as {{"letter": "A"}}.'})


def test_marks_count_on_the_questions_of_the_answers_only(tmp_path, questions):
    judged = {f"m{i}": Known(i, 0.1 * i) for i in range(6)}
    run = run_judges({"judge": Known(99, 0.3)}, judged, questions)
    lines = [
        {"judge": "judge", "judged": name, "question": f"q{at}", "mark": float(mark)}
        for name, marks in zip(run.judged, run.by_question[0], strict=True)
        for at, mark in enumerate(marks)
    ]
    path, said = tmp_path / "marks.jsonl", []
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    half = [f"q{at}" for at in range(0, len(questions), 2)]
    given = read_marks(path, run.answers, questions=half, say=said.append)
    assert np.allclose(given.marks, run.by_question[:, :, ::2].mean(axis=2))
    left = len(lines) - len(half) * 6
    assert said == [f"left out: {left} marks of questions that not every model answered"]
    assert np.allclose(read_marks(path, run.answers).marks, run.marks)
    with pytest.raises(DataError, match="none of a question that all models answered"):
        read_marks(path, run.answers, questions=["other"])
    path.write_text(path.read_text() + json.dumps(lines[0]) + "\n")
    with pytest.raises(DataError, match="a second mark of 'judge' for 'm0' on the question 'q0'"):
        read_marks(path, run.answers, questions=half)
