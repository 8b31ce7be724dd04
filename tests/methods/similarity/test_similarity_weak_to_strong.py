import gzip
import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from custodes.errors import ConfigError, DataError
from custodes.methods.similarity.config import WeakToStrongConfig
from custodes.methods.similarity.report import gain_report
from custodes.methods.similarity.reproduce import run_weak_to_strong
from custodes.methods.similarity.supervision import Crew, run_study
from custodes.methods.similarity.supervisors import (
    FeatureCache,
    FeatureSupervisor,
    TextSupervisor,
    layer_features,
)
from custodes.methods.similarity.tasks import read_persona_tasks, split_task
from custodes.methods.similarity.weak_to_strong import (
    Student,
    gain_study,
    gain_study_of_pairs,
    read_records,
    run_pairs,
)
from custodes.models import MODELS

CONFIG = WeakToStrongConfig(
    weak=("words", "characters"), strong=("smollm2@1", "smollm2@2"), tasks=8, train=24, test=24
)
TOPICS = ("tea", "rain", "chess", "maps", "bread", "trains", "cats", "songs")


def statement(topic, number, yes):
    feeling = ("love", "enjoy", "like", "adore") if yes else ("dislike", "avoid", "hate", "mind")
    again = "often" if number % 3 else "seldom"
    return f"I {feeling[number % 4]} {topic} {again} in week {number}"


@pytest.fixture
def persona(tmp_path):
    path = tmp_path / "persona.jsonl.gz"
    with gzip.open(path, "wt", encoding="utf-8") as file:
        for topic in TOPICS:
            for number in range(40):
                for yes in (True, False):
                    row = {
                        "task": f"likes-{topic}",
                        "statement": statement(topic, number, yes),
                        # Some labels are wrong, so that supervisors make mistakes.
                        "matching": "Yes" if yes != (number % 7 == 0) else "No",
                    }
                    file.write(json.dumps(row) + "\n")
    return path


def scripted():
    return MODELS.load("scripted")(MODELS.load("scripted").Config(depth=3, width=24))


def run(tasks, folder, config=CONFIG):
    return list(run_study(config, tasks, folder, scripted))


def test_tasks_are_read_and_split_apart(persona):
    tasks = read_persona_tasks(persona)
    assert [task.name for task in tasks] == sorted(f"likes-{topic}" for topic in TOPICS)
    assert all(len(task.texts) == 80 and set(task.labels) == {0, 1} for task in tasks)
    split = split_task(tasks[0], (20, 20, 30), seed=0)
    rows = np.concatenate([split.weak_train, split.strong_train, split.test])
    assert len(set(rows.tolist())) == 70
    again = split_task(tasks[0], (20, 20, 30), seed=0)
    assert np.array_equal(split.test, again.test)
    assert not np.array_equal(split.test, split_task(tasks[1], (20, 20, 30), seed=0).test)
    with pytest.raises(DataError, match="at least 90"):
        split_task(tasks[0], (30, 30, 30), seed=0)


def test_supervisors_learn_and_soft_targets_count(persona):
    task = read_persona_tasks(persona)[0]
    gold = task.labels.astype(np.float64)
    for supervisor in (
        TextSupervisor("words", analyzer="word", ngrams=(1, 1)),
        TextSupervisor("characters", analyzer="char_wb", ngrams=(2, 4)),
        FeatureSupervisor("scripted", lambda texts: layer_features(scripted(), texts, [2])[:, 0]),
    ):
        says = supervisor.fit(task.texts, gold, seed=0)(task.texts)
        assert ((says > 0.5) == gold).mean() > 0.8
        softer = supervisor.fit(task.texts, 0.5 + 0.2 * (gold - 0.5), seed=0)(task.texts)
        assert np.abs(softer - 0.5).mean() < np.abs(says - 0.5).mean()
    with pytest.raises(DataError, match="both answers"):
        TextSupervisor("words", analyzer="word", ngrams=(1, 1)).fit(task.texts, 0 * gold, seed=0)


def test_study_runs_every_pair_and_repeats(persona, tmp_path):
    tasks = read_persona_tasks(persona)
    records = run(tasks, tmp_path / "one")
    assert len(records) == 8 * 2 * 2
    assert records == run(tasks, tmp_path / "two")
    assert records == read_records(tmp_path / "one" / "gains.jsonl")
    one = records[0]
    assert one.gain == one.student_accuracy - one.base_accuracy
    assert one.gap == one.base_accuracy - one.weak_accuracy
    study = gain_study(records)
    assert study.clusters == 8 and study.rows == 32
    assert set(gain_study_of_pairs(records)) == {(r.weak, r.strong) for r in records}
    page = gain_report(records).html()
    assert "Partial regression" in page and "words → smollm2@1" in page


def test_a_killed_study_goes_on(persona, tmp_path):
    tasks = read_persona_tasks(persona)
    whole = run(tasks, tmp_path / "whole")
    first = run_study(CONFIG, tasks, tmp_path / "cut", scripted)
    for _ in range(5):
        next(first)
    first.close()
    log = tmp_path / "cut" / "gains.jsonl"
    assert len(read_records(log)) == 5
    log.write_text(log.read_text() + '{"task": "lik')
    assert len(read_records(log)) == 5
    assert run(tasks, tmp_path / "cut") == whole
    assert read_records(log) == whole


def test_records_that_are_none_are_refused(tmp_path):
    log = tmp_path / "gains.jsonl"
    log.write_text('{"task": 1}\n{"task": 2}\n')
    with pytest.raises(DataError, match=r"gains.jsonl:1"):
        read_records(log)


def test_a_supervisor_is_not_its_own_student(persona):
    tasks = read_persona_tasks(persona)[:1]
    words = TextSupervisor("words", analyzer="word", ngrams=(1, 1))
    pairs = run_pairs(tasks, [words], [Student("words", words, words)], sizes=(20, 20, 20), seed=0)
    assert list(pairs) == []


def test_features_are_computed_once(tmp_path):
    calls = []

    def compute(texts):
        calls.append(len(texts))
        return layer_features(scripted(), texts, [0, 3])

    texts = [f"text {number}" for number in range(10)]
    for expected in ([4, 4, 2], [4, 4, 2]):
        cache = FeatureCache(tmp_path, "scripted")
        assert list(cache.fill(texts, compute, chunk=4)) == [4, 8, 10]
        assert calls == expected
    assert cache.layer(1)(texts[:3]).shape == (3, 48)
    with pytest.raises(DataError, match="not computed"):
        cache.layer(0)(["unknown"])


def test_a_run_folder_with_its_report(persona, tmp_path):
    said = []
    page = run_weak_to_strong(
        CONFIG, tmp_path / "run", tasks=persona, model=scripted, say=said.append
    )
    assert page.name == "report.html" and len(said) == 8
    assert (tmp_path / "run" / "config.yaml").exists()
    with pytest.raises(ConfigError, match="seed = 0, got 1"):
        run_weak_to_strong(
            CONFIG.model_copy(update={"seed": 1}), tmp_path / "run", tasks=persona, model=scripted
        )


def test_a_study_does_not_go_on_with_other_tasks(persona, tmp_path):
    def killed(task):
        raise KeyboardInterrupt

    def goes_on(tasks):
        run_weak_to_strong(CONFIG, tmp_path / "run", tasks=tasks, model=scripted, say=killed)

    elsewhere = tmp_path / "same.jsonl.gz"
    elsewhere.write_bytes(persona.read_bytes())
    for same in (persona, elsewhere):
        with pytest.raises(KeyboardInterrupt):
            goes_on(same)
    text = gzip.decompress(persona.read_bytes()).replace(b"often", b"daily")
    persona.write_bytes(gzip.compress(text))
    with pytest.raises(ConfigError, match="holds a study with other tasks"):
        goes_on(persona)


def test_unknown_supervisors_and_small_tasks_are_refused(persona, tmp_path):
    for name in ("gpt", "smollm2@x"):
        config = CONFIG.model_copy(update={"weak": (name,)})
        with pytest.raises(ConfigError, match="expected one of words"):
            Crew(config, tmp_path, scripted)
    tasks = read_persona_tasks(persona)
    with pytest.raises(ConfigError, match=r"got 0 tasks .* smaller parts"):
        run(tasks, tmp_path, CONFIG.model_copy(update={"test": 500}))
    with pytest.raises(ConfigError, match=r"got 4 tasks .* at least 5"):
        run(tasks[:4], tmp_path)
    assert not (tmp_path / "gains.jsonl").exists()  # nothing was trained


def test_a_pair_without_similarities_is_left_open(persona, tmp_path):
    """Where weak and base are perfect κp is undefined; the rest of the report stands."""
    tasks = read_persona_tasks(persona)
    config = CONFIG.model_copy(update={"weak": ("words",), "strong": ("characters",)})
    records = [replace(one, capa=float("nan")) for one in run(tasks, tmp_path, config)]
    found = gain_study_of_pairs(records)["words", "characters"]
    assert np.isnan(found.value) and found.rows == 0
    assert "Accuracies" in gain_report(records).html()


@pytest.mark.parametrize(
    "line", ["[]", '{"task": "a"}', "no json", '{"task":"a","matching":"Maybe"}']
)
def test_broken_persona_files_are_refused(tmp_path, line):
    path = tmp_path / "persona.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(DataError, match=r"persona.jsonl:1"):
        read_persona_tasks(path)
    with pytest.raises(DataError, match="cannot be read"):
        read_persona_tasks(tmp_path / "none.jsonl")


def test_a_task_of_one_answer_in_training_is_left_out_by_name(persona, tmp_path):
    tasks = list(read_persona_tasks(persona))
    config = CONFIG.model_copy(update={"strong": ("characters",), "weak": ("words",)})
    whole = run(tasks, tmp_path / "whole", config)
    tasks[2] = replace(tasks[2], labels=0 * tasks[2].labels)
    said = []
    found = list(run_study(config, tasks, tmp_path / "rest", scripted, say=said.append))
    assert said == [f"{tasks[2].name}: left out: its training part has one answer only, 0"]
    assert found == [record for record in whole if record.task != tasks[2].name]


def test_records_of_other_sizes_or_another_seed_are_not_taken(persona, tmp_path):
    tasks, log = read_persona_tasks(persona)[:1], tmp_path / "gains.jsonl"
    words = TextSupervisor("words", analyzer="word", ngrams=(1, 1))
    letters = TextSupervisor("characters", analyzer="char_wb", ngrams=(2, 4))

    def pairs(sizes, seed):
        students = [Student("characters", letters, letters)]
        (one,) = run_pairs(tasks, [words], students, sizes=sizes, seed=seed, log=log)
        return one

    first = pairs((20, 20, 30), 0)
    assert (pairs((20, 20, 20), 0).test, pairs((20, 20, 30), 7).seed) == (20, 7)
    assert len(read_records(log)) == 3
    assert pairs((20, 20, 30), 0) == first and len(read_records(log)) == 3
    # a log of version 0.1 does not say its sizes: the folder's settings do
    old = {name: value for name, value in asdict(first).items() if name not in ("sizes", "seed")}
    log.write_text(json.dumps({**old, "capa": 0.125}) + "\n")
    assert pairs((20, 20, 30), 0).capa == 0.125
    assert pairs((20, 20, 20), 0).capa != 0.125


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ({"weak": ["words", "words"]}, "weak: got words more than once"),
        ({"strong": ["minilm", "smollm2@8", "minilm"]}, "strong: got minilm more than once"),
        ({"weak": ["words"], "strong": ["words"]}, "at least one pair of different models"),
        ({"weak": ["minilm"], "strong": ["lora:minilm"]}, "at least one pair of different models"),
    ],
)
def test_pairs_that_come_twice_or_not_at_all_are_refused(names, says):
    with pytest.raises(ConfigError, match=says):
        WeakToStrongConfig.parse(names)
