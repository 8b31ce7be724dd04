import numpy as np
import pytest

from custodes.engine import ENGINES
from custodes.errors import DataError
from custodes.methods.similarity import (
    METRICS,
    AnswerFile,
    Answers,
    Pair,
    similarities,
    stream_similarities,
    tiled_similarities,
)
from custodes.methods.similarity.gram import MATRIX_METRICS, Gram
from custodes.methods.similarity.metrics import pair_ceiling


def blocks_of(table, size):
    for start in range(0, len(table.labels), size):
        part = slice(start, start + size)
        yield table.probabilities[:, part], table.labels[part], table.options[part]


def test_every_pair_of_every_metric_is_the_pairs_own(table):
    found = similarities(table, MATRIX_METRICS)
    for i in range(5):
        for j in range(5):
            pair = Pair(table.probabilities[i], table.probabilities[j], table.labels, table.options)
            for name in MATRIX_METRICS:
                assert found.values[name][i, j] == pytest.approx(METRICS[name].of(pair), abs=1e-12)
            assert found.ceiling[i, j] == pytest.approx(pair_ceiling(pair), abs=1e-12)
    assert np.allclose(found.accuracy, table.accuracy())
    assert np.array_equal(found.pairs("capa"), found.values["capa"][np.triu_indices(5, 1)])


def test_perfect_models_are_nan_in_the_matrix_too():
    perfect = np.eye(3)
    answers = Answers.of({"a": perfect, "b": perfect, "c": np.roll(perfect, 1, 1)}, [0, 1, 2])
    found = similarities(answers, MATRIX_METRICS)
    for name in ("capa", "capa-discrete", "error-consistency", "both-wrong", "error-correlation"):
        assert np.isnan(found.values[name][0, 1])
    assert found.values["capa"][0, 2] == 0.0


@pytest.mark.parametrize("size", [1, 7, 240])
def test_streaming_in_any_blocks_is_the_whole(table, size):
    whole = similarities(table, MATRIX_METRICS)
    parts = stream_similarities(blocks_of(table, size), table.names, MATRIX_METRICS)
    for name in MATRIX_METRICS:
        assert np.allclose(whole.values[name], parts.values[name], atol=1e-12, rtol=0)
    assert parts.questions == 240


def test_tensors_stream_like_arrays(table):
    torch = pytest.importorskip("torch")
    blocks = [(torch.tensor(p), y, o) for p, y, o in blocks_of(table, 100)]
    found = stream_similarities(blocks, table.names, MATRIX_METRICS)
    whole = similarities(table, MATRIX_METRICS)
    for name in MATRIX_METRICS:
        assert np.allclose(whole.values[name], found.values[name], atol=1e-12, rtol=0)
    bad = [(2 * blocks[0][0], *blocks[0][1:])]
    with pytest.raises(DataError, match="sum"):
        stream_similarities(bad, table.names)
    even = torch.full((5, 3, 2), 0.5, dtype=torch.float64)
    labels, options = np.zeros(3, dtype=np.int64), np.full(3, 2)
    assert stream_similarities([(even, labels, options)], table.names).questions == 3
    with pytest.raises(DataError, match="sum"):
        stream_similarities([(even * 2, labels, options)], table.names)


@pytest.mark.parametrize("tile", [2, 3, 5])
def test_tiles_on_an_engine_are_the_whole(table, tmp_path, tile):
    path = tmp_path / "answers.npy"
    np.save(path, table.probabilities)
    local = ENGINES.load("local")
    engine = local(local.Config(kind="thread", workers=2, batch_size=1))
    metrics = ("capa", "error-consistency", "both-wrong")
    source = AnswerFile(path, table.labels, table.options)
    found = tiled_similarities(source, metrics, engine=engine, tile=tile)
    whole = similarities(table, metrics)
    for name in metrics:
        assert np.allclose(whole.values[name], found.values[name], atol=1e-12, rtol=0)
    assert np.allclose(whole.ceiling, found.ceiling, atol=1e-12, rtol=0)
    assert np.allclose(whole.accuracy, found.accuracy)
    assert np.allclose(whole.mass, found.mass)
    assert found.names[0] == "model 0"


def test_tiles_in_worker_processes(table, tmp_path):
    path = tmp_path / "answers.npy"
    np.save(path, table.probabilities)
    local = ENGINES.load("local")
    engine = local(local.Config(kind="process", workers=1, batch_size=2))
    source = AnswerFile(path, table.labels, table.options, table.names)
    found = tiled_similarities(source, engine=engine, tile=3)
    assert np.allclose(similarities(table).values["capa"], found.values["capa"], atol=1e-12)


@pytest.mark.slow
# Ray asks itself for settings that it has deprecated, and leaves sockets to the process's end.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_tiles_on_ray(table, tmp_path):
    pytest.importorskip("ray")
    path = tmp_path / "answers.npy"
    np.save(path, table.probabilities)
    ray = ENGINES.load("ray")
    source = AnswerFile(path, table.labels, table.options, table.names)
    found = tiled_similarities(source, engine=ray(ray.Config()), tile=3)
    assert np.allclose(similarities(table).values["capa"], found.values["capa"], atol=1e-12)


def test_wrong_input_is_refused(table, tmp_path):
    with pytest.raises(DataError, match="jensen-shannon"):
        similarities(table, ("jensen-shannon",))
    with pytest.raises(DataError, match="metrics"):
        similarities(table, ())
    with pytest.raises(DataError, match="5 models for 4"):
        stream_similarities(blocks_of(table, 50), table.names[:4])
    with pytest.raises(DataError, match="no questions"):
        stream_similarities([], table.names)
    with pytest.raises(DataError, match="computed were capa"):
        similarities(table).matrix("cohen")
    with pytest.raises(DataError, match="no questions"):
        Gram(("capa",)).values()
    local = ENGINES.load("local")
    engine = local(local.Config(kind="serial"))
    path = tmp_path / "a.npy"
    for content in (np.zeros((2, 2)), table.probabilities):
        np.save(path, content)
        with pytest.raises(DataError, match="one name a model"):
            tiled_similarities(AnswerFile(path, table.labels, table.options, ["a"]), engine=engine)
    whole = AnswerFile(path, table.labels, table.options)
    with pytest.raises(DataError, match="tile"):
        tiled_similarities(whole, engine=engine, tile=0)
    with pytest.raises(DataError, match="mapped"):
        AnswerFile(tmp_path / "no.npy", table.labels, table.options).open()


def test_tables_are_checked():
    rows = [[0.5, 0.5], [0.2, 0.8]]
    with pytest.raises(DataError, match="different questions"):
        Answers.of({"a": rows, "b": rows[:1]}, [0, 1])
    with pytest.raises(DataError, match="at least one model"):
        Answers.of({}, [])
    with pytest.raises(DataError, match="groups"):
        Answers.of({"a": rows}, [0, 1], groups=[1])
    with pytest.raises(DataError, match="one name"):
        Answers(
            names=("a", "a"),
            probabilities=np.array([rows, rows]),
            labels=np.array([0, 1]),
            options=np.array([2, 2]),
        )
    with pytest.raises(DataError, match="does not have"):
        Answers(
            names=("a",),
            probabilities=np.array([[[0.5, 0.25, 0.25]]]),
            labels=np.array([0]),
            options=np.array([2]),
        )
    found = Answers.of({"a": rows, "b": rows}, [0, 1], groups=["x", "x"])
    assert found.groups.tolist() == [0, 0]
    assert found.take(["b"]).names == ("b",)
    with pytest.raises(DataError, match="expected one of a, b"):
        found.row("c")


def one_hots(kind, models=3, questions=3000):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, questions)
    choices = [
        np.where(rng.random(questions) < 0.6, labels, rng.integers(0, 4, questions))
        for _ in range(models)
    ]
    return np.eye(4)[np.stack(choices)].astype(kind), labels, np.full(questions, 4)


@pytest.mark.parametrize("kind", ["float32", "float16", "int64", "int8", "uint8", "bool"])
def test_types_that_are_too_narrow_for_sums_give_the_same_figures(kind, tmp_path):
    local = ENGINES.load("local")
    engine = local(local.Config(kind="serial"))
    found = {}
    for name in ("float64", kind):
        rows, labels, options = one_hots(name)
        np.save(tmp_path / f"{name}.npy", rows)
        source = AnswerFile(tmp_path / f"{name}.npy", labels, options)
        found[name] = tiled_similarities(source, MATRIX_METRICS, engine=engine)
    for name in MATRIX_METRICS:
        assert np.allclose(found[kind].values[name], found["float64"].values[name], atol=1e-6)
    assert np.allclose(found[kind].mass, found["float64"].mass)
    assert np.allclose(found[kind].ceiling, found["float64"].ceiling, atol=1e-6)


def test_sums_of_single_precision_do_not_stop_growing():
    """2^24 + 1 is no float32: sums over blocks are kept as float64."""
    gram = Gram(("capa",))
    rows = np.array([[[1.0, 0.0]], [[1.0, 0.0]]], dtype=np.float32)
    labels, options = np.zeros(1, dtype=np.int64), np.full(1, 2)
    for _ in range(3):
        gram.update(rows, None, labels, options)
    assert gram._overlap.dtype == gram._first.mass.dtype == np.float64


def test_answers_that_are_no_numbers_are_refused():
    rows, labels, options = one_hots("float64", questions=5)
    with pytest.raises(DataError, match="complex128; expected numbers"):
        stream_similarities([(rows.astype(complex), labels, options)], "abc")


def test_a_file_has_as_many_questions_as_there_are_labels(tmp_path):
    rows, labels, options = one_hots("float64", questions=50)
    np.save(tmp_path / "t.npy", rows)
    with pytest.raises(DataError, match="got 20 labels and 20 option counts for 50 questions"):
        AnswerFile(tmp_path / "t.npy", labels[:20], options[:20]).open()


def with_silence(models=4, questions=200):
    """Ragged answers of which some rows are level, some questions' in every model but one."""
    rng = np.random.default_rng(3)
    options = rng.integers(2, 5, questions)
    labels = np.array([rng.integers(count) for count in options])
    rows = {}
    for model in range(models):
        rows[f"m{model}"] = [
            np.full(count, 1 / count)
            if rng.random() < 0.2 or (model and n % 9 == 0)
            else rng.dirichlet(np.ones(count) + 2 * np.eye(count)[label])
            for n, (count, label) in enumerate(zip(options, labels, strict=True))
        ]
    rows["silent"] = [np.full(count, 1 / count) for count in options]
    return Answers.of(rows, labels)


@pytest.mark.parametrize("kind", ["float64", "float32", "tensor"])
def test_pairs_of_metrics_of_choices_leave_out_level_rows(kind):
    table = with_silence()
    whole = similarities(table, MATRIX_METRICS)

    def block(rows):
        if kind == "tensor":
            return pytest.importorskip("torch").tensor(rows)
        return rows.astype(kind)

    parts = stream_similarities(
        [(block(p), y, o) for p, y, o in blocks_of(table, 7)], table.names, MATRIX_METRICS
    )
    near = 1e-12 if kind == "float64" else 1e-5
    for i in range(5):
        for j in range(5):
            a, b = table.probabilities[i], table.probabilities[j]
            level = [row.max(axis=1) * table.options < 1 + 1e-9 for row in (a, b)]
            kept = ~(level[0] | level[1])
            pair = Pair(a, b, table.labels, table.options)
            alone = Pair(a[kept], b[kept], table.labels[kept], table.options[kept])
            for name in MATRIX_METRICS:
                expected = METRICS[name].of(pair)
                if name != "capa" and kept.any():
                    assert expected == pytest.approx(METRICS[name].of(alone), nan_ok=True)
                elif name != "capa":
                    assert np.isnan(expected)
                for found in (whole, parts):
                    assert found.values[name][i, j] == pytest.approx(
                        expected, abs=near, nan_ok=True
                    )
    assert np.allclose(whole.accuracy, table.accuracy())
    assert np.allclose(parts.accuracy, table.accuracy())
