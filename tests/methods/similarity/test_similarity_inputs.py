import gzip
import json
import zipfile

import numpy as np
import pytest

from custodes.errors import DataError
from custodes.methods.similarity.inputs import detect_format, read_answers
from custodes.methods.similarity.inputs.rows import Row, assemble, one_hot_row, softmax
from custodes.methods.similarity.inputs.trials import observer_kind


def write_lines(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def row(model, question, probabilities=(0.5, 0.5), label=0, **more):
    return Row(
        model=model,
        question=question,
        label=label,
        options=2,
        probabilities=probabilities,
        **more,
    )


def test_models_are_lined_up_by_question_whatever_the_order():
    rows = [
        row("a", "q1", (0.9, 0.1)),
        row("a", "q2", (0.8, 0.2), label=1),
        row("b", "q2", (0.3, 0.7), label=1),
        row("b", "q1", (0.6, 0.4), group="g"),
        row("b", "q3"),
    ]
    reading = assemble(rows)
    assert reading.questions == ("q1", "q2")
    assert reading.answers.row("b").tolist() == [[0.6, 0.4], [0.3, 0.7]]
    assert reading.answers.labels.tolist() == [0, 1]
    assert (reading.not_shared, reading.unanswered) == (1, 0)
    assert reading.answers.groups is None


def test_questions_without_an_answer_are_dropped_or_uniform():
    rows = [row("a", "q1", None), row("a", "q2", group=7), row("b", "q1"), row("b", "q2", group=7)]
    dropped = assemble(rows)
    assert dropped.questions == ("q2",) and dropped.unanswered == 1
    uniform = assemble(rows, unanswered="uniform")
    assert uniform.answers.row("a")[0].tolist() == [0.5, 0.5]
    assert uniform.answers.groups.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([], "no answers"),
        ([row("a", "q"), row("a", "q")], "two answers"),
        ([row("a", "q"), row("b", "q", label=1)], "label 1"),
        ([row("a", "q"), row("b", "p")], "no question"),
        ([row("a", "q", (0.2, 0.3, 0.5))], "3 probabilities"),
        ([row("a", "q", (float("nan"), 0.5))], "nan, 0.5.; expected finite numbers"),
    ],
)
def test_rows_that_do_not_fit_are_refused(rows, says):
    with pytest.raises(DataError, match=says):
        assemble(rows)


def test_unknown_ways_are_refused(tmp_path):
    with pytest.raises(DataError, match="'drop' or 'uniform'"):
        assemble([row("a", "q")], unanswered="guess")
    with pytest.raises(DataError, match="no such file"):
        read_answers(tmp_path / "none")
    with pytest.raises(DataError, match="expected one of auto"):
        read_answers(tmp_path, format="csv")
    with pytest.raises(DataError, match="no files"):
        read_answers(tmp_path)
    for bad in ([], [float("-inf")], [float("nan"), 0.0]):
        with pytest.raises(DataError, match="finite"):
            softmax(bad)
    with pytest.raises(DataError, match="choice 2"):
        one_hot_row(2, 2)


def test_arrays(tmp_path):
    path = tmp_path / "answers.npz"
    table = np.array([[[0.5, 0.5, 0.0], [0.2, 0.3, 0.5]], [[1.0, 0.0, 0.0], [0.1, 0.1, 0.8]]])
    extras = {"options": [2, 3], "names": ["a", "b"], "groups": ["x", "x"]}
    np.savez(path, probabilities=table, labels=[1, 2], **extras)
    answers = read_answers(path).answers
    assert answers.names == ("a", "b")
    assert np.array_equal(answers.probabilities, table)
    assert answers.options.tolist() == [2, 3] and answers.groups.tolist() == [0, 0]
    np.savez(path, probabilities=table[:, 1:], labels=[2])
    assert read_answers(path).answers.names == ("model 0", "model 1")


@pytest.mark.parametrize(
    "arrays",
    [
        {"labels": [0]},
        {"probabilities": np.ones((1, 1)), "labels": [0]},
        {"probabilities": np.full((1, 1, 2), 0.5), "labels": [0], "names": ["a", "b"]},
        {"probabilities": np.full((1, 1, 2), 0.5), "labels": [0], "groups": [1, 2]},
        {"probabilities": np.array([[[object()]]]), "labels": [0]},
    ],
)
def test_broken_arrays_are_refused(tmp_path, arrays):
    path = tmp_path / "answers.npz"
    np.savez(path, **arrays)
    with pytest.raises(DataError, match=r"answers.npz"):
        read_answers(path)
    path.write_bytes(b"no zip")
    with pytest.raises(DataError, match="cannot be read"):
        read_answers(path)


def test_json_lines_of_every_kind(tmp_path):
    rows = [
        {"model": "a", "question": 1, "label": 0, "probabilities": [0.7, 0.3]},
        {"model": "a", "question": 2, "label": 1, "choice": 2, "options": 3, "group": "g"},
        {"model": "b", "question": 1, "label": 0, "logprobs": [-1.0, -1.0]},
        {"model": "b", "question": 2, "label": 1, "probabilities": None, "options": 3},
    ]
    path = write_lines(tmp_path / "answers.jsonl", rows)
    reading = read_answers(path, unanswered="uniform")
    assert reading.answers.row("a")[1].tolist() == [0.0, 0.0, 1.0]
    assert reading.answers.row("b")[0].tolist() == [0.5, 0.5, 0.0]
    assert read_answers(path).unanswered == 1
    with gzip.open(tmp_path / "more.jsonl.gz", "wt") as file:
        file.write("\n" + json.dumps({**rows[0], "model": "c"}) + "\n")
    assert read_answers(tmp_path).answers.names == ("a", "b", "c")


@pytest.mark.parametrize("line", ["no json", "[1]", '{"model": "a"}', '{"model":"a","choice":"x"}'])
def test_broken_lines_name_their_place(tmp_path, line):
    path = tmp_path / "answers.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(DataError, match=r"answers.jsonl:1"):
        read_answers(path)
    path.write_bytes(b"\xff\xfe\n")
    with pytest.raises(DataError, match="as text"):
        read_answers(path)


def harness_sample(number, scores, target, **more):
    return {
        "doc_id": number,
        "doc": {"question": "?"},
        "target": target,
        "arguments": [["context", f" option {i}"] for i in range(len(scores))],
        "resps": [[[str(score), "False"]] for score in scores],
        "filtered_resps": [[score, False] for score in scores],
        **more,
    }


def test_harness_logs(tmp_path):
    stamp = "2024-05-01T10-00-00.000000"
    for model, first in (("org__small", -1.0), ("org__large", -0.1)):
        rows = [
            harness_sample(0, [first, -2.0], "0"),
            harness_sample(1, [-3.0, first, -2.0], "option 1"),
            harness_sample(2, [-3.0, first], "(B)", arguments={}),
            harness_sample(3, [-1.0, -1.0], None, doc={"answer_index": 1}, arguments=None),
            {**harness_sample(4, [-1.0, -2.0], 1), "arguments": {"a": {"arg_1": " x"}}},
        ]
        write_lines(tmp_path / model / f"samples_toy_{stamp}.jsonl", rows)
    (tmp_path / "org__small" / "samples_toy_2024-04-01T10-00-00.000000.jsonl").write_text("old")
    assert detect_format(tmp_path) == "lm-eval"
    answers = read_answers(tmp_path).answers
    assert answers.names == ("org__large", "org__small")
    assert answers.labels.tolist() == [0, 1, 1, 1, 1]
    assert answers.row("org__small")[0, 0] == pytest.approx(1 / (1 + np.exp(-1.0)))


NUMBERS = [["context", f" {option}"] for option in (5, 2, 3, 0)]


def numbers(number, scores, target, **more):
    return harness_sample(number, scores, target, arguments=NUMBERS, **more)


@pytest.mark.parametrize(
    ("acc", "label"),
    [(1.0, 2), (0.0, 1)],
    ids=["the index is right", "the text is right"],
)
def test_a_number_of_the_harness_is_an_index_unless_its_accuracy_says_otherwise(
    tmp_path, acc, label
):
    """Options 5, 2, 3, 0: the target "2" is option 2, which reads 3, or option 1, which reads 2."""
    chosen = [-3.0, -3.0, -1.0, -3.0]  # option 2
    write_lines(tmp_path / "m" / "samples_toy.jsonl", [numbers(0, chosen, "2", acc=acc)])
    assert read_answers(tmp_path).answers.labels.tolist() == [label]


def test_a_number_of_the_harness_is_read_as_the_rest_of_its_file(tmp_path):
    other = [-1.0, -3.0, -3.0, -3.0]  # option 0, which is neither reading of "2"
    doubtful = numbers(0, other, "2", acc=0.0)
    path = tmp_path / "m" / "samples_toy.jsonl"
    for clear, label in (("1", 2), ("5", 1)):  # no option reads 1; there is no option 5
        write_lines(path, [doubtful, numbers(1, other, clear)])
        assert read_answers(tmp_path).answers.labels[0] == label
    write_lines(path, [doubtful])
    with pytest.raises(DataError, match="an index and the text of another option"):
        read_answers(tmp_path)
    write_lines(path, [{**doubtful, "target": 2}])  # a number is an index, as a text may be either
    assert read_answers(tmp_path).answers.labels.tolist() == [2]


def test_harness_logs_as_one_array_and_with_flat_responses(tmp_path):
    sample = {**harness_sample(0, [-1.0, -2.0], 0), "resps": None}
    path = tmp_path / "model" / "samples_toy.json"
    path.parent.mkdir()
    path.write_text(json.dumps([sample]))
    reading = read_answers(path)
    assert reading.questions == ("toy/0",) and reading.answers.names == ("model",)


@pytest.mark.parametrize(
    "change",
    [
        {"resps": [[["text", "False"]], [["more", "False"]]]},
        {"resps": [["a reply"]]},
        {"resps": [["a"], ["b"]]},
        {"target": "neither", "arguments": None},
    ],
)
def test_harness_samples_without_options_are_refused(tmp_path, change):
    sample = {**harness_sample(0, [-1.0, -2.0], 0), **change}
    write_lines(tmp_path / "m" / "samples_toy.jsonl", [sample])
    with pytest.raises(DataError, match="multiple-choice"):
        read_answers(tmp_path)


def inspect_sample(number, answer, target="B", epoch=1, top=None):
    message = {"message": {"content": answer or ""}}
    if top is not None:
        others = [{"token": token, "logprob": value} for token, value in top.items()]
        message["logprobs"] = {"content": [{"token": answer, "logprob": 0, "top_logprobs": others}]}
    return {
        "id": number,
        "epoch": epoch,
        "choices": ["x", "y", "z"],
        "target": target,
        "output": {"choices": [message]},
        "scores": {"choice": {"value": "C", "answer": answer}},
    }


def inspect_log(model, samples):
    return {"eval": {"model": model, "task": "toy"}, "samples": samples}


def test_inspect_logs_in_both_forms(tmp_path):
    plain = [
        inspect_sample(1, "B"),
        inspect_sample(1, "A", ["B"], epoch=2),
        inspect_sample(2, None),
    ]
    soft = [
        inspect_sample(1, "B", top={"B": -0.1, " A": -2.0, "the": -3.0}),
        inspect_sample(1, "A", epoch=2, top={"q": -1.0}),
        inspect_sample(2, "C"),
    ]
    (tmp_path / "one.json").write_text(json.dumps(inspect_log("a", plain)))
    with zipfile.ZipFile(tmp_path / "two.eval", "w") as archive:
        archive.writestr("header.json", json.dumps({"eval": {"model": "b", "task": "toy"}}))
        for sample in soft:
            name = f"samples/{sample['id']}_epoch_{sample['epoch']}.json"
            archive.writestr(name, json.dumps(sample))
    assert detect_format(tmp_path) == "inspect"
    reading = read_answers(tmp_path)
    assert reading.questions == ("toy/1", "toy/1#2") and reading.unanswered == 1
    answers = reading.answers
    assert answers.groups.tolist() == [0, 0]
    assert answers.row("a").tolist() == [[0, 1, 0], [1, 0, 0]]
    assert answers.row("b")[0, 1] == pytest.approx(1 / (1 + np.exp(-1.9)))
    assert answers.row("b")[1].tolist() == [1, 0, 0]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("no json", "not an Inspect log"),
        ('{"eval": {}}', "not an Inspect log"),
        (json.dumps(inspect_log("a", [inspect_sample(1, "A", "yes")])), "sample 1"),
        (json.dumps(inspect_log("a", [{"id": 1}])), "sample 1"),
    ],
)
def test_broken_inspect_logs_are_refused(tmp_path, content, says):
    (tmp_path / "one.json").write_text(content)
    with pytest.raises(DataError, match=says):
        read_answers(tmp_path)


def test_leaderboard_details(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    def details(model, predictions, gold):
        folder = tmp_path / f"details_{model}"
        folder.mkdir(exist_ok=True)
        columns = {"predictions": predictions, "gold_index": gold, "example": ["q1", "q2"]}
        pq.write_table(pa.table(columns), folder / "details_arc|25_2023-08-01T10:00:00.parquet")

    details("org__a", [[-1.0, -2.0], [-1.0, -1.0]], [[0], [1]])
    details("org__b", [[-1.0, -1.0], [-3.0, -1.0]], [[0], [1]])
    answers = read_answers(tmp_path).answers
    assert answers.names == ("org__a", "org__b")
    assert answers.labels.tolist() == [0, 1]
    details("org__b", [[-1.0, -1.0], [-3.0, -1.0]], [0, 1])
    assert read_answers(tmp_path).answers.labels.tolist() == [0, 1]
    details("org__b", [[-1.0, -1.0], [-3.0, -1.0]], [[], []])
    with pytest.raises(DataError, match="gold_index"):
        read_answers(tmp_path)
    one = tmp_path / "details_org__a" / "details_arc|25_2023-08-01T10:00:00.parquet"
    assert read_answers(one).answers.names == ("org__a",)
    one.write_bytes(b"no parquet")
    with pytest.raises(DataError, match="Parquet"):
        read_answers(one)


def test_leaderboard_texts_that_come_twice_are_two_questions(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    for model, first in (("a", -1.0), ("b", -3.0)):
        columns = {
            "predictions": [[first, -2.0], [-1.0, -2.0]],
            "gold_index": [0, 1],
            "example": ["same", "same"],
        }
        (tmp_path / f"details_{model}").mkdir()
        pq.write_table(pa.table(columns), tmp_path / f"details_{model}" / "details_arc.parquet")
    answers = read_answers(tmp_path).answers
    assert answers.labels.tolist() == [0, 1]
    assert answers.probabilities.argmax(axis=-1).tolist() == [[0, 0], [1, 0]]


TRIALS = """subj,session,trial,rt,object_response,category,condition,imagename
{subject},1,1,0.5,{first},cat,0,{prefix}cat1-dog2.png
{subject},1,2,0.5,dog,dog,0,{prefix}dog1-cat2.png
"""


def test_trials_of_people_and_networks_meet_by_image(tmp_path):
    people = TRIALS.format(subject="subject-01", first="na", prefix="0001_x_s01_0_cat_00_")
    network = TRIALS.format(subject="resnet50", first="dog", prefix="")
    (tmp_path / "a.csv").write_text(people)
    (tmp_path / "b.csv").write_text(network)
    reading = read_answers(tmp_path)
    assert reading.questions == ("cat1-dog2.png", "dog1-cat2.png")
    assert reading.answers.options.tolist() == [3, 3]  # cat, dog, na
    assert reading.answers.row("subject-01")[0].tolist() == [0, 0, 1]
    (tmp_path / "a.csv").unlink()
    assert read_answers(tmp_path / "b.csv").answers.options.tolist() == [2, 2]
    (tmp_path / "b.csv").write_text("x,y\n1,2\n")
    with pytest.raises(DataError, match="expected subj"):
        read_answers(tmp_path)
    (tmp_path / "c.tar.gz").write_bytes(b"no archive")
    with pytest.raises(DataError, match="as trials"):
        read_answers(tmp_path / "c.tar.gz")
    assert [observer_kind(n) for n in ("subject-03", "vgg16", "resnet50-trained-on-SIN")] == [
        "person",
        "network",
        "stylized",
    ]


def test_a_folder_of_arrays_is_read_file_by_file(tmp_path):
    rng = np.random.default_rng(0)
    folder, labels = tmp_path / "npz", rng.integers(0, 3, 9)
    folder.mkdir()
    for name in "ab":
        np.savez(folder / f"{name}.npz", probabilities=rng.dirichlet(np.ones(3), (2, 9)),
                 labels=labels)  # fmt: skip
    answers = read_answers(folder).answers
    assert answers.names == ("a model 0", "a model 1", "b model 0", "b model 1")
    (folder / "b.npz").unlink()
    assert read_answers(folder).answers.names == ("model 0", "model 1")
    np.save(tmp_path / "x.npy", np.zeros(3))
    (tmp_path / "x.npy").rename(tmp_path / "x.npz")
    with pytest.raises(DataError, match=r"x\.npz: cannot be read as \.npz"):
        read_answers(tmp_path / "x.npz")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"group": ["x", 1]}, "got the group ..x., 1., expected a name or a number"),
        ({"label": 1.9}, "got 1.9, expected a whole number"),
        ({"choice": 0.5}, "got 0.5, expected a whole number"),
    ],
)
def test_values_of_jsonl_that_would_be_cut_or_cannot_be_compared(change, says, tmp_path):
    plain = {"model": "a", "question": "1", "label": 1.0, "choice": 0, "options": 3}
    assert read_answers(write_lines(tmp_path / "a.jsonl", [plain])).answers.labels.tolist() == [1]
    with pytest.raises(DataError, match=says):
        read_answers(write_lines(tmp_path / "a.jsonl", [{**plain, **change}]))


def test_backups_beside_jsonl_are_not_read(tmp_path):
    lines = [{"model": m, "question": "1", "label": 0, "choice": 0, "options": 2} for m in "ab"]
    write_lines(tmp_path / "a.jsonl", lines)
    write_lines(tmp_path / "a.jsonl.bak", lines)
    assert read_answers(tmp_path).answers.names == ("a", "b")


def test_cut_and_packed_samples_of_the_harness(tmp_path):
    sample = {"doc_id": 0, "target": 0, "resps": [[["-1", "False"]], [["-2", "False"]]]}
    write_lines(tmp_path / "m1" / "samples_x.jsonl", [sample])
    (tmp_path / "m2").mkdir()
    with gzip.open(tmp_path / "m2" / "samples_x.jsonl.gz", "wt") as file:
        file.write(json.dumps(sample) + "\n")
    answers = read_answers(tmp_path).answers
    assert answers.names == ("m1", "m2") and answers.row("m2")[0, 0] > 0.5
    assert detect_format(tmp_path / "m2") == "lm-eval"
    (tmp_path / "m2" / "samples_y.json").write_text('[{"doc_id":0,')
    with pytest.raises(DataError, match=r"samples_y\.json: cannot be read as a JSON array"):
        read_answers(tmp_path)


def test_inspect_samples_of_several_right_options_are_refused(tmp_path):
    def log(target):
        sample = {"id": 1, "epoch": 1, "choices": ["a", "b", "c"], "target": target,
                  "scores": {"choice": {"value": "C", "answer": "C"}}}  # fmt: skip
        path = tmp_path / "a.json"
        path.write_text(json.dumps({"eval": {"model": "m", "task": "t"}, "samples": [sample]}))
        return path

    assert read_answers(log(["C"])).answers.accuracy() == [1.0]
    with pytest.raises(DataError, match="sample 1: got the targets A, C; similarity needs one"):
        read_answers(log(["A", "C"]))
