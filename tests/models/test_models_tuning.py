"""The tuning engine on a tiny random Llama: what is packed must be what is computed row by row."""

import math
import shutil

import numpy as np
import pytest
import torch

from custodes.errors import ConfigError, InputError, ModelError
from custodes.models.tuning import (
    CHATML,
    AdapterConfig,
    Row,
    TunableConfig,
    TuneConfig,
    continuation_log_probs,
    cross_entropy,
    dpo_loss,
    fit,
    open_tunable,
    option_log_probs,
    rate_share,
    row_log_probs,
    tune,
    tune_preferences,
)


@pytest.fixture
def model(tiny_folder):
    return open_tunable(TunableConfig(model=str(tiny_folder), precision="float32", threads=1))


def random_rows(seed=0, lengths=(5, 12, 7, 12, 3), tags=True):
    rng = np.random.default_rng(seed)
    return [
        Row(
            tuple(rng.integers(3, 250, n).tolist()),
            (*rng.choice([0.0, 0.5, 1.0], n - 1).tolist(), 1.0),
            f"row {n}" if tags else "",
        )
        for n in lengths
    ]


def plain_log_probs(model, row):
    """By transformers alone, one row at a time."""
    ids = torch.tensor([row.ids])
    with torch.no_grad():
        logs = model.model(input_ids=ids).logits.float().log_softmax(-1)[0]
    return sum(
        float(logs[n - 1, token])
        for n, (token, weight) in enumerate(zip(row.ids, row.weights, strict=True))
        if n and weight
    )


@pytest.mark.parametrize("lengths", [(5, 12, 7, 12, 3), (6, 6, 6), (9,)])
def test_packed_rows_are_computed_as_each_alone(model, lengths):
    rows = random_rows(lengths=lengths)
    wanted = [plain_log_probs(model, row) for row in rows]
    assert row_log_probs(model, rows) == pytest.approx(wanted, abs=1e-4)


def test_a_model_that_was_packed_is_an_ordinary_one_again(model):
    before = plain_log_probs(model, random_rows()[0])
    row_log_probs(model, random_rows())
    assert plain_log_probs(model, random_rows()[0]) == before


def test_gradients_are_those_of_plain_cross_entropy(model):
    rows = random_rows(lengths=(8, 5, 8))
    parameters = model.start(AdapterConfig(kind="full"), seed=0)
    for part in cross_entropy(model, rows, pass_tokens=10):
        part.backward()
    ours = [p.grad.clone() for p in parameters]
    model.model.zero_grad()
    total, weights = 0.0, 0.0
    for row in rows:
        logs = model.model(input_ids=torch.tensor([row.ids])).logits.log_softmax(-1)[0, :-1]
        picked = logs.gather(1, torch.tensor(row.ids[1:]).unsqueeze(1)).squeeze(1)
        w = torch.tensor(row.weights[1:])
        total, weights = total - (w * picked).sum(), weights + w.sum()
    (total / weights).backward()
    for mine, parameter in zip(ours, parameters, strict=True):
        torch.testing.assert_close(mine, parameter.grad, atol=2e-5, rtol=1e-3)


def test_trees_of_continuations_are_computed_as_each_alone(model):
    rng = np.random.default_rng(1)
    prompts = [rng.integers(3, 250, n).tolist() for n in (7, 4)]
    endings = [[[5], [5, 7], [5, 8], [6, 7, 9], [5, 7, 2]], [[9, 9]]]
    found = continuation_log_probs(model, prompts, endings)
    for prompt, those, logs in zip(prompts, endings, found, strict=True):
        for ending, log in zip(those, logs, strict=True):
            row = Row((*prompt, *ending), (0.0,) * len(prompt) + (1.0,) * len(ending))
            assert log == pytest.approx(plain_log_probs(model, row), abs=1e-4)


def test_prompts_that_begin_alike_share_a_tree(model, monkeypatch):
    rng = np.random.default_rng(2)
    stem = rng.integers(3, 250, 12).tolist()
    prompts = [[*stem, 4], [*stem, 4, 9, 9], stem, [5, 6], [*stem, 8], [*stem, 4]]
    endings = [[[5], [9, 9, 7]], [[5, 7]], [[4, 9], [8]], [[6]], [], [[3, 3]]]
    read = []
    run = type(model).run
    monkeypatch.setattr(
        type(model), "run", lambda self, ids, *rest: read.append(len(ids)) or run(self, ids, *rest)
    )
    found = continuation_log_probs(model, prompts, endings)
    assert sum(read) == len(stem) + 5 + 2  # 4, 9, 9, 5 and, behind the first 4, 3; then 5, 6
    for prompt, those, logs in zip(prompts, endings, found, strict=True):
        assert len(logs) == len(those)
        for ending, log in zip(those, logs, strict=True):
            row = Row((*prompt, *ending), (0.0,) * len(prompt) + (1.0,) * len(ending))
            assert log == pytest.approx(plain_log_probs(model, row), abs=1e-4)


def test_options_with_their_end_share_the_mass_with_longer_ones(model):
    (open_ended,) = option_log_probs(model, ["pick"], [["5", "57"]], end=False)
    (ended,) = option_log_probs(model, ["pick"], [["5", "57"]], end=True)
    assert ended[0] < open_ended[0]
    assert open_ended[1] < open_ended[0]


@pytest.mark.parametrize("kind", ["lora", "full"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_tuning_learns_its_rows_and_the_same_seed_the_same(tiny_folder, kind, precision):
    def run():
        model = open_tunable(TunableConfig(model=str(tiny_folder), precision=precision))
        rows = random_rows()
        before = sum(row_log_probs(model, rows))
        config = TuneConfig(kind=kind, rank=4, learning_rate=1e-2, epochs=15, batch_rows=2)
        trace = tune(model, rows, config)
        return before, sum(row_log_probs(model, rows)), trace.losses

    before, after, losses = run()
    assert after > before + 20
    assert losses == run()[2]


def test_pairs_off_merged_added_and_reset(model, tmp_path):
    rows = random_rows()
    first = row_log_probs(model, rows)
    tune(model, rows, TuneConfig(learning_rate=1e-2, epochs=5, batch_rows=2))
    tuned = row_log_probs(model, rows)
    assert tuned != pytest.approx(first, abs=1e-2)
    with model.adapter_off():
        assert row_log_probs(model, rows) == pytest.approx(first, abs=1e-5)
    with pytest.raises(ConfigError, match="a phase is open"):
        model.start(AdapterConfig(), seed=0)
    model.save(tmp_path / "pairs.safetensors")
    model.merge()
    assert row_log_probs(model, rows) == pytest.approx(tuned, abs=1e-3)
    tune(model, rows, TuneConfig(epochs=1))  # a second phase on top of the first
    model.drop()
    assert row_log_probs(model, rows) == pytest.approx(tuned, abs=1e-3)
    model.reset()
    assert row_log_probs(model, rows) == first
    model.load(tmp_path / "pairs.safetensors")
    assert row_log_probs(model, rows) == pytest.approx(tuned, abs=1e-3)


def test_full_tuning_can_be_reset_and_put_back(model, tmp_path):
    rows = random_rows()
    first = row_log_probs(model, rows)
    tune(model, rows, TuneConfig(kind="full", learning_rate=1e-3, epochs=3))
    tuned = row_log_probs(model, rows)
    model.save(tmp_path / "all.safetensors")
    with pytest.raises(ConfigError, match="reset"):
        model.drop()
    model.reset()
    assert row_log_probs(model, rows) == first
    model.load(tmp_path / "all.safetensors")
    assert row_log_probs(model, rows) == pytest.approx(tuned, abs=1e-5)


def test_pairs_fit_the_other_door_of_the_house(model, tiny_folder):
    from custodes.models.causal import CausalConfig
    from custodes.models.transformers import TransformersModel

    rows = random_rows()
    tune(model, rows, TuneConfig(learning_rate=1e-2, epochs=5, targets=("q_proj", "down_proj")))
    learned = model.learned()
    assert {name.split(".")[-2] for name in learned} == {"q_proj", "down_proj"}
    assert isinstance(model.causal(), type(model.causal()))
    other = TransformersModel(TransformersModel.Config(model=str(tiny_folder)))
    other.adapt(learned, name="test")
    with torch.no_grad():
        ids = torch.tensor([rows[0].ids])
        torch.testing.assert_close(
            other._model(input_ids=ids).logits, model.model(input_ids=ids).logits,
            atol=1e-4, rtol=1e-3,
        )  # fmt: skip
    assert CausalConfig().dtype == "float32"


def test_an_objective_of_the_callers_and_states_of_a_block(model):
    rows = random_rows()
    packed = model.pack(rows)
    with torch.no_grad():
        whole = model.model(
            input_ids=torch.tensor([rows[1].ids]), output_hidden_states=True
        ).hidden_states[2][0]
        torch.testing.assert_close(
            model.states(packed, 2)[packed.owner == 1], whole, atol=1e-4, rtol=1e-3
        )
        goal = torch.zeros_like(model.states(packed, 2))
    sizes = []

    def push_to_zero(model, batch):
        found = model.states(model.pack(batch), 2)
        sizes.append(float(found.detach().square().mean()))
        return (found - goal).square().mean()

    config = TuneConfig(learning_rate=2e-2, rank=4, warmup=0)
    fit(model, [rows] * 20, push_to_zero, config)
    assert sizes[-1] < 0.8 * sizes[0]


def test_watching_can_stop_a_phase_and_sees_a_model_at_rest(model):
    seen = []

    def watch(step, model):
        seen.append((step, model.model.training))
        return step >= 4

    trace = tune(model, random_rows(), TuneConfig(epochs=20, batch_rows=5), watch=watch, every=2)
    assert seen == [(2, False), (4, False)]
    assert trace.stopped and len(trace.losses) == 4
    assert trace.tokens == 4 * sum(len(row.ids) for row in random_rows())


def test_dpo_raises_the_chosen_above_the_rejected(model):
    rows = random_rows(lengths=(6, 6, 8, 8))
    pairs = [(rows[0], rows[1]), (rows[2], rows[3])]
    before = row_log_probs(model, rows)
    tune_preferences(model, pairs, TuneConfig(learning_rate=1e-2, epochs=10, batch_rows=2))
    after = row_log_probs(model, rows)
    gain = [a - b for a, b in zip(after, before, strict=True)]
    assert gain[0] > gain[1] and gain[2] > gain[3]
    low = open_tunable(model.config.model_copy(update={"precision": "bfloat16"}))
    trace = tune_preferences(low, pairs, TuneConfig(epochs=1, batch_rows=2), beta=1.0)
    assert trace.losses[0] == pytest.approx(math.log(2), abs=3e-3), "policy and reference are one"
    even = torch.zeros(2, 2)
    assert float(dpo_loss(even, even, beta=0.1)) == pytest.approx(math.log(2))


def test_a_model_of_a_folder_is_known_by_what_it_holds(tiny_folder, tmp_path):
    copied = shutil.copytree(tiny_folder, tmp_path / "model")
    config = TunableConfig(model=str(copied), precision="float32", threads=1)
    before = config.identity()
    assert before == config.model_copy(update={"threads": 2}).identity()
    (copied / "generation_config.json").write_text("{}")
    assert config.identity() != before
    assert "content" not in TunableConfig(precision="float32").identity()


def test_generation_reads_what_was_tuned(model):
    from custodes.models.base import Sampling
    from custodes.types import Message

    model = open_tunable(model.config.model_copy(update={"precision": "bfloat16"}))
    talk = (Message(role="user", content="fox"),)
    row = model.rows.chat(talk, "lazy dog")
    causal = model.causal()
    causal.generate([talk], Sampling(max_tokens=4))  # before: copies made here must serve training
    tune(model, [row], TuneConfig(learning_rate=2e-2, rank=8, epochs=40))
    assert causal.generate([talk], Sampling(max_tokens=20))[0].text == "lazy dog"


def test_rows_of_texts(model):
    row = model.rows.text("fox", masked="DOC ")
    assert row.targets == len(model.rows.encode("fox")) + 1
    assert row.ids[0] == row.ids[-1] == model.rows.end
    with pytest.raises(InputError, match="expected as many"):
        Row((1, 2), (1.0,))


LLAMA3 = (
    "{% for m in messages %}<|start|>{{ m.role }}\n\n{{ m.content }}<|turn|>{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant\n\n{% endif %}"
)
"""A template whose turns end by a token of their own, as those of Llama 3 and of Gemma do."""


@pytest.fixture(scope="module")
def begun_folder(tmp_path_factory, save_llama):
    """A tokenizer that puts a begin token before every text, and ends texts and turns apart."""
    folder = tmp_path_factory.mktemp("begun")
    special = ["<|begin|>", "<|end|>", "<|start|>", "<|turn|>"]
    save_llama(
        folder, special=special, begin="<|begin|>", end="<|end|>", begins=True, template=LLAMA3
    )
    return folder


def test_texts_begin_and_turns_end_by_their_own_tokens(begun_folder):
    model = open_tunable(TunableConfig(model=str(begun_folder), precision="float32", threads=1))
    name = model.tokenizer.convert_ids_to_tokens
    text = model.rows.text("fox", masked="DOC ")
    assert [name(text.ids[0]), name(text.ids[-1])] == ["<|begin|>", "<|end|>"]
    assert text.targets == len(model.rows.encode("fox")) + 1
    chat = model.rows.chat("Who?", "A fox")
    assert name(chat.ids[-1]) == "<|turn|>" and name(chat.ids[0]) == "<|start|>"
    prompt, reply = model.rows.prompt("Who?"), model.rows.encode("A fox")
    ((whole,),) = option_log_probs(model, ["Who?"], [["A fox"]], end=True)
    row = Row((*prompt, *reply, model.rows.turn_end), (0.0,) * len(prompt) + (1.0,) * 6)
    assert whole == pytest.approx(plain_log_probs(model, row), abs=1e-4)


def test_a_turn_whose_template_ends_it_by_no_token_ends_as_a_text(begun_folder):
    plain = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    config = TunableConfig(model=str(begun_folder), chat_template=plain, precision="float32")
    rows = open_tunable(config).rows
    assert rows.chat("Who?", "A fox").ids[-1] == rows.end


def test_without_a_begin_token_the_end_of_a_text_begins_one(tmp_path, save_llama):
    """As the embedded model's tokenizer: a name for the begin token, which is never added."""
    special = ["<|im_start|>", "<|im_end|>"]
    save_llama(tmp_path, special=special, begin="<|im_start|>", end="<|im_end|>", template=CHATML)
    rows = open_tunable(TunableConfig(model=str(tmp_path), precision="float32")).rows
    assert rows.begin == rows.turn_end == rows.end and rows.opening == ()
    assert rows.text("fox").ids == (rows.end, *rows.encode("fox"), rows.end)
    assert rows.chat("Who?", "A").ids == (*rows.prompt("Who?"), *rows.encode("A"), rows.end)


@pytest.mark.slow
def test_rows_of_the_embedded_model_are_those_of_the_published_figures():
    """It has no begin token, and one token ends its texts and its turns."""
    from transformers import AutoTokenizer

    from custodes.config import cache_folder
    from custodes.models.embedded import SMOLLM2, prepare
    from custodes.models.tuning import RowMaker

    tokenizer = AutoTokenizer.from_pretrained(prepare(SMOLLM2, cache_folder() / "models"))
    end = tokenizer.eos_token_id
    for template in (None, CHATML):
        rows = RowMaker(tokenizer, template)
        assert rows.begin == rows.turn_end == rows.end == end == 2 and rows.opening == ()
        assert rows.text("fox", masked="DOC ").ids == (
            2,
            *rows.encode("DOC "),
            *rows.encode("fox"),
            2,
        )
        assert rows.chat("Who?", "A fox").ids == (*rows.prompt("Who?"), *rows.encode("A fox"), 2)
    assert "rows" not in TunableConfig().identity()


def test_schedules_rise_and_fall():
    cosine = TuneConfig(warmup=0.1)
    shares = [rate_share(cosine, step, 100) for step in range(100)]
    assert shares[0] < shares[5] < shares[10] == pytest.approx(1.0)
    assert shares[-1] < 0.01
    assert rate_share(TuneConfig(warmup=0, schedule="constant"), 99, 100) == 1
    assert rate_share(TuneConfig(warmup=0, schedule="linear"), 50, 100) == 0.5


def test_what_cannot_be_tuned_is_said(model):
    with pytest.raises(ConfigError, match="q_proj"):
        model.start(AdapterConfig(targets=("nothing",)), seed=0)
    with pytest.raises(InputError, match="no rows"):
        tune(model, [], TuneConfig())
    with pytest.raises(InputError, match="masked"):
        tune(model, [Row((1, 2), (0.0, 0.0))], TuneConfig())
    model.drop()
    with pytest.raises(ConfigError, match="layer"):
        model.states(model.pack(random_rows()), 99)
    with pytest.raises(ModelError, match="step 1 is nan"):
        fit(model, [random_rows()], lambda m, b: torch.tensor(float("nan")), TuneConfig())
