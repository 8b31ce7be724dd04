import dataclasses
import random

import numpy as np
import pytest

from custodes.classifiers import (
    Calibration,
    StageConfig,
    fit_stage,
    labelled_rows,
    load_scorer,
    save_scorer,
)
from custodes.classifiers.features import Tokens, hashed
from custodes.classifiers.fitting import HeadFit, Targets, TrainingSet
from custodes.classifiers.heads import Head
from custodes.classifiers.segments import segments
from custodes.classifiers.training import balanced_weights
from custodes.errors import ArtifactError, ConfigError, DataError
from custodes.types import Example, Message, Mode

BENIGN = ["plant tulips", "bake bread", "paint a fence", "walk the dog"]
HARMFUL = ["steal tulips", "poison bread", "burn a fence", "kick the dog"]
RULES = ("garden", "kitchen")


def examples(rows=240):
    rng = random.Random(0)
    made = []
    for index in range(rows):
        label = index % 2
        act = rng.choice(HARMFUL if label else BENIGN)
        asking, when = rng.choice(["Please", "Could you", "How do I"]), rng.choice(["now", "today"])
        text = f"{asking} {act} {when}"
        rule = RULES[act.endswith("bread")] if label else None
        made.append(
            Example(
                id=str(index), source="t", kind="k", text=f"{text} {index}", label=label, rule=rule
            )
        )
    return made


@pytest.fixture(scope="module")
def rows():
    return labelled_rows(examples())


@pytest.fixture(scope="module", params=["linear", "mlp"])
def scorer(request, rows):
    config = StageConfig(
        name="hashed",
        features="hashed",
        settings={"bits": 14},
        head=request.param,
        hidden=8,
        epochs=20,
        learning_rate=0.02,
    )
    return fit_stage(rows, config, rules=RULES, seed=0)


def logits(scorer, rows):
    points = scorer.score([row.judged.conversation for row in rows], Mode.INPUT)
    return np.array([point.logit for point in points])


def test_it_learns_what_the_rows_show(scorer, rows):
    labels = np.array([row.label for row in rows])
    assert ((logits(scorer, rows) > 0) == labels).mean() > 0.95


def test_what_one_text_alone_holds_is_not_learned_by_heart(rows):
    (odd,) = labelled_rows([Example(id="odd", source="t", kind="k", text="Qumph zilv", label=1)])
    config = StageConfig(name="hashed", features="hashed", settings={"bits": 18}, epochs=2)
    scorer = fit_stage([*rows, odd], config, rules=RULES, seed=0)
    said, unsaid = (
        scorer.score([(Message("user", text),)], Mode.INPUT)[0].logit
        for text in ("Qumph zilv", "Blergh vrask")
    )
    assert said == unsaid


def test_it_names_the_rule(scorer):
    points = scorer.score([(Message("user", "Please poison bread now"),)], Mode.INPUT)
    assert points[0].rules.argmax() == RULES.index("kitchen")
    assert points[0].rules.sum() == pytest.approx(1.0)


@pytest.mark.parametrize("text", ["", " ", "How do I burn a fence today?" * 30, "\ud800\0 x" * 9])
@pytest.mark.parametrize("mode", list(Mode))
def test_every_chunking_gives_the_very_same_points(scorer, text, mode):
    rng = random.Random(1)
    whole = scorer.open((), mode)
    expected = whole.push(text) + whole.finish()
    for _ in range(3):
        stream, found, start = scorer.open((), mode), [], 0
        while start < len(text):
            cut = rng.randint(1, 9)
            found += stream.push(text[start : start + cut])
            start += cut
        found += stream.finish()
        assert [(p.end, p.logit, p.rules.tolist()) for p in found] == [
            (p.end, p.logit, p.rules.tolist()) for p in expected
        ]
    assert expected[-1].end == len(text)


def test_the_score_of_a_whole_text_is_the_greatest_of_its_stream(scorer):
    text = "How do I bake bread today? " * 20 + "And how do I burn a fence? " * 10
    stream = scorer.open((), Mode.OUTPUT)
    points = stream.push(text) + stream.finish()
    decisive = scorer.score([(Message("assistant", text),)], Mode.OUTPUT)[0]
    best = max(points, key=lambda point: point.logit)
    assert (decisive.end, decisive.logit) == (best.end, pytest.approx(best.logit, abs=1e-5))


def test_one_seed_gives_one_scorer(rows):
    config = StageConfig(name="h", features="hashed", settings={"bits": 10}, epochs=2)
    first, second, other = (fit_stage(rows, config, rules=RULES, seed=s) for s in (0, 0, 1))
    assert np.array_equal(first.head.first, second.head.first)
    assert not np.array_equal(first.head.first, other.head.first)


@pytest.mark.parametrize("head", ["linear", "mlp"])
def test_several_fits_are_averaged(rows, head):
    settings = {"bits": 10}
    config = StageConfig(
        name="h", features="hashed", settings=settings, head=head, hidden=4, epochs=2, fits=3
    )
    alone = config.model_copy(update={"fits": 1})
    mean, *each = (
        fit_stage(rows, which, rules=RULES, seed=seed)
        for which, seed in ((config, 0), (alone, 0), (alone, 1000), (alone, 2000))
    )
    tokens = mean.features.extract([row.judged for row in rows[:9]])
    for some in tokens:
        expected = np.mean([scorer.head.logits(some) for scorer in each], axis=0)
        assert mean.head.logits(some) == pytest.approx(expected, abs=1e-5)


def test_fits_of_an_adapter_are_refused():
    with pytest.raises(ValueError, match="got 2 with an adapter"):
        StageConfig(name="h", features="encoder", adapter={}, fits=2)


def test_rows_of_an_edited_rule_weigh_more_and_labels_stay_balanced(rows):
    some = rows[:40] + rows[40:80:2]  # more benign than harmful ones
    plain = balanced_weights(some, {})
    pushed = balanced_weights(some, {"garden": 5.0})
    garden = np.array([row.rule == "garden" for row in some])
    kitchen = np.array([row.rule == "kitchen" for row in some])
    assert pushed[garden][0] == pytest.approx(5 * pushed[kitchen][0])
    for weights in (plain, pushed):
        labels = np.array([row.label for row in some])
        assert weights[labels == 1].sum() == pytest.approx(weights[labels == 0].sum())
        assert weights.mean() == pytest.approx(1)


def test_rows_of_a_source_may_weigh_more(rows):
    few = [dataclasses.replace(row, example=dataclasses.replace(row.example, source="people"))
           for row in rows[:40]]  # fmt: skip
    weights = balanced_weights([*few, *rows[40:]], {}, {"people": 8.0})
    labels = np.array([row.label for row in rows])
    benign = weights[labels == 0]
    assert benign.max() == pytest.approx(8 * benign.min())
    assert weights[labels == 1].sum() == pytest.approx(benign.sum())


def test_a_guard_follows_the_rule_that_was_edited(rows):
    """The same words stand under both rules' labels; the emphasised rule decides."""
    told = Example(id="", source="t", kind="k", text="water the roses now", label=1, rule="garden")
    rival = dataclasses.replace(told, label=0, rule="kitchen")
    both = [dataclasses.replace(one, id=str(n)) for one in (told, rival) for n in range(30)]
    mixed = [*rows, *labelled_rows(both)]
    config = StageConfig(
        name="hashed", features="hashed", settings={"bits": 14}, learning_rate=0.02
    )
    asked = labelled_rows([told])

    def says(emphasis):
        found = fit_stage(mixed, config, rules=RULES, seed=0, emphasis=emphasis)
        return logits(found, asked)[0]

    assert says({"garden": 8.0}) > says({}) > says({"kitchen": 8.0})


def test_one_class_alone_is_refused(rows):
    config = StageConfig(name="h", features="hashed")
    with pytest.raises(DataError, match="both 0"):
        fit_stage([row for row in rows if row.label], config, rules=RULES, seed=0)


def test_a_stage_for_some_kinds_does_not_learn_of_others():
    made = [
        dataclasses.replace(row, kind="bread" if row.text and "bread" in row.text else "other")
        for row in examples()
    ]
    config = StageConfig(
        name="bread",
        features="hashed",
        settings={"bits": 14},
        epochs=20,
        learning_rate=0.02,
        kinds=("bread",),
        serves=(Mode.INPUT,),
    )
    scorer = fit_stage(labelled_rows(made), config, rules=RULES, seed=0)
    assert scorer.modes == (Mode.INPUT,)
    said = {
        text: scorer.score([(Message("user", f"Please {text} now"),)], Mode.INPUT)[0].logit
        for text in (*BENIGN, *HARMFUL)
    }
    assert said["poison bread"] > 0 > max(said[text] for text in BENIGN)
    assert said["poison bread"] > max(said[text] for text in HARMFUL if text != "poison bread") + 1


def neighbors():
    """Rows whose benign half was written for rules of its own."""
    return [
        dataclasses.replace(row, rule=row.rule or ("baking" if "bread" in row.text else "tending"))
        for row in examples()
    ]


@pytest.mark.parametrize("head", ["linear", "mlp"])
def test_permitted_rules_are_told_apart_too(head, tmp_path):
    config = StageConfig(
        name="both",
        features="hashed",
        settings={"bits": 14},
        head=head,
        hidden=8,
        epochs=20,
        learning_rate=0.02,
        rules="both",
        fits=2,
    )
    rows = labelled_rows(neighbors())
    scorer = fit_stage(rows, config, rules=RULES, seed=0)
    assert scorer.head.sides.tolist() == [0, 1, 1, -1, -1]
    labels = np.array([row.label for row in rows])
    assert ((logits(scorer, rows) > 0) == labels).mean() > 0.95
    points = scorer.score([(Message("user", "Please poison bread now"),)], Mode.INPUT)
    assert points[0].rules.shape == (2,)
    assert points[0].rules.argmax() == RULES.index("kitchen")
    save_scorer(scorer, tmp_path / "g", features="hashed")
    assert logits(load_scorer(tmp_path / "g"), rows) == pytest.approx(
        logits(scorer, rows), abs=0.02
    )


def test_the_harmful_logit_is_what_restricted_rules_have_over_permitted_ones():
    head = Head(
        first=np.eye(4, dtype=np.float32),
        first_bias=np.zeros(4, np.float32),
        sides=np.array([0, 1, 1, -1], np.float32),
    )
    told = np.array([[0.5, 1.0, 2.0, 3.0], [0.0, 700.0, 0.0, -700.0]], np.float32)
    found = head.logits(Tokens(np.arange(2), told))
    assert found[0] == pytest.approx([0.5 + np.log(np.exp(1) + np.exp(2)) - 3, 1, 2], abs=1e-5)
    assert found[1, 0] == pytest.approx(1400)


def test_without_permitted_rules_there_is_nothing_to_set_against(rows):
    config = StageConfig(name="both", features="hashed", settings={"bits": 10}, rules="both")
    assert fit_stage(rows, config, rules=RULES, seed=0).head.sides is None


def test_training_on_some_tokens_is_like_training_on_all():
    rng = np.random.default_rng(0)
    labels = np.arange(64) % 2
    tokens = [
        Tokens(np.arange(n), rng.normal(label, 1.0, (n, 4)).astype(np.float32))
        for label, n in zip(labels, rng.integers(1, 40, 64), strict=True)
    ]
    data = TrainingSet(
        tokens=tokens,
        targets=Targets(
            labels=labels.astype(np.float32),
            rules=np.full(64, -1),
            weights=np.ones(64, np.float32),
            windows=np.full(64, 16),
        ),
        dim=4,
    )
    thin = data.thinned(3, 4)
    assert [len(t) for t in thin.tokens] == [max(1, -(-(len(t) - 3) // 4)) for t in tokens]
    assert set(thin.targets.windows) == {4}
    heads = [
        HeadFit(
            StageConfig(name="t", features="t", epochs=20, learning_rate=0.05, every=every),
            outputs=1,
            seed=0,
        ).run(data, lambda share: None)
        for every in (1, 4)
    ]
    said = [np.concatenate([h.logits(t)[:, 0] for t in tokens]) for h in heads]
    assert np.corrcoef(*said)[0, 1] > 0.98
    sparse = StageConfig(name="t", features="hashed", settings={"bits": 10}, every=2)
    with pytest.raises(ConfigError, match="every: got 2 for sparse features"):
        fit_stage(labelled_rows(examples(8)), sparse, rules=RULES, seed=0)


def test_a_kind_that_no_harmful_row_has_is_named(rows):
    config = StageConfig(name="none", features="hashed", kinds=("jailbreak_prompt",))
    with pytest.raises(DataError, match="the harmful ones of kinds jailbreak_prompt"):
        fit_stage(rows, config, rules=RULES, seed=0)


def test_which_modes_are_served_is_saved_where_it_is_not_all(scorer, tmp_path):
    save_scorer(scorer, tmp_path / "all", features="hashed")
    assert "serves" not in (tmp_path / "all" / "scorer.json").read_text()
    some = dataclasses.replace(scorer, serves=(Mode.INPUT,))
    save_scorer(some, tmp_path / "some", features="hashed")
    assert load_scorer(tmp_path / "some").modes == (Mode.INPUT,)


def test_a_saved_scorer_says_the_same(scorer, rows, tmp_path):
    fitted = dataclasses.replace(
        scorer, calibration={Mode.INPUT: Calibration(slope=2.0, intercept=-1.0)}
    )
    version = save_scorer(fitted, tmp_path, features="hashed")
    loaded = load_scorer(tmp_path)
    assert loaded.version == version
    assert loaded.rules == RULES
    found = loaded.score([row.judged.conversation for row in rows[:20]], Mode.INPUT)
    expected = 2.0 * logits(scorer, rows[:20]) - 1.0
    assert [p.logit for p in found] == pytest.approx(list(expected), abs=0.05)


@pytest.mark.parametrize("name", ["scorer.json", "weights.safetensors"])
def test_a_missing_file_is_named(scorer, tmp_path, name):
    save_scorer(scorer, tmp_path, features="hashed")
    (tmp_path / name).unlink()
    with pytest.raises(ArtifactError, match=name):
        load_scorer(tmp_path)


def test_a_flipped_byte_is_refused(scorer, tmp_path):
    save_scorer(scorer, tmp_path, features="hashed")
    path = tmp_path / "weights.safetensors"
    data = bytearray(path.read_bytes())
    for place in (0, len(data) // 2, len(data) - 1):
        changed = bytearray(data)
        changed[place] ^= 1
        path.write_bytes(changed)
        with pytest.raises(ArtifactError, match="sha256"):
            load_scorer(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ("[]", "format"),
        ('{"format": 99}', "format 99"),
        ('{"format": 1}', "name"),
    ],
)
def test_another_format_is_refused(scorer, tmp_path, content, message):
    save_scorer(scorer, tmp_path, features="hashed")
    (tmp_path / "scorer.json").write_text(content)
    with pytest.raises(ArtifactError, match=message):
        load_scorer(tmp_path)


def test_a_wrong_setting_of_features_is_a_config_error(rows):
    config = StageConfig(name="h", features="hashed", settings={"bitz": 3})
    with pytest.raises(ConfigError, match="bitz"):
        fit_stage(rows, config, rules=RULES, seed=0)


def test_rows_of_an_exchange_and_its_parts():
    turns = (Message("user", "Hello"), Message("assistant", "Hi"))
    exchange = Example(id="1", source="s", kind="benign_exchange", messages=turns, label=0)
    found = [(row.judged.mode, row.label) for row in labelled_rows([exchange])]
    assert found == [(Mode.EXCHANGE, 0), (Mode.OUTPUT, 0), (Mode.INPUT, 0)]
    harmful = dataclasses.replace(exchange, kind="harmful_exchange", label=1)
    assert [row.judged.mode for row in labelled_rows([harmful])] == [Mode.EXCHANGE, Mode.OUTPUT]
    unlabelled = dataclasses.replace(exchange, kind="moderation", label=None)
    assert labelled_rows([unlabelled]) == []


def test_a_device_that_is_not_there_is_named_first(rows):
    config = StageConfig(name="hashed", features="hashed", device="cuda:99")
    with pytest.raises(ConfigError, match="device: got 'cuda:99', which cannot be used"):
        fit_stage(rows, config, rules=RULES, seed=0)


def test_what_is_remembered_of_words_is_bounded_by_its_size(monkeypatch):
    """Hostile text has as many different long segments as it likes."""
    monkeypatch.setattr(hashed, "_CACHED_IDS", 1000)
    features = hashed.HashedFeatures(hashed.HashedConfig())
    rng = random.Random(0)
    for _ in range(50):
        word = "".join(rng.choices("abcdefghijklmnop", k=40)) + "\u200b" * 300
        first = features.tokens(segments(word), "")[0]
        again = features.tokens(segments(word), "")[0]
        assert first.values.tolist() == again.values.tolist()
        known = features._words.items()
        assert sum(len(word) + len(ids) for word, (ids, _) in known) <= 1000
