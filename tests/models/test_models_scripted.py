import textwrap

import numpy as np
import pytest

import custodes.models.scripted
from custodes.errors import ConfigError, ModelRequestError, ModelServerError, ModelTimeoutError
from custodes.models import (
    MODELS,
    ActivationModel,
    GenerateModel,
    LogProbabilityModel,
    Sampling,
    StreamModel,
)
from custodes.models.scripted import Line, ScriptedModel
from custodes.types import Message


def said(text: str) -> tuple[Message, ...]:
    return (Message("user", text),)


def scripted(*lines: Line, slept: list[float] | None = None, **settings) -> ScriptedModel:
    config = ScriptedModel.Config(script=lines, **settings)
    return ScriptedModel(config, sleep=(slept if slept is not None else []).append)


def test_it_is_registered_and_speaks_every_protocol() -> None:
    model = MODELS.load("scripted")(ScriptedModel.Config())
    for protocol in (GenerateModel, StreamModel, LogProbabilityModel, ActivationModel):
        assert isinstance(model, protocol)


def test_the_first_line_that_fits_the_last_turn_answers() -> None:
    model = scripted(
        Line(when="weather", reply="Sunny after {turns} turns: {text}", finish="refusal"),
        Line(when=r"^\d+$", reply="A number."),
        otherwise="Pardon?",
    )
    talk = (*said("12"), Message("assistant", "A number."), *said("the weather"))
    replies = model.generate([talk, said("12"), said("12 x")], Sampling())
    assert [reply.text for reply in replies] == [
        "Sunny after 3 turns: the weather",
        "A number.",
        "Pardon?",
    ]
    assert [reply.finish for reply in replies] == ["refusal", "stop", "stop"]
    assert (replies[1].prompt_tokens, replies[1].reply_tokens) == (1, 3)


def test_without_a_fitting_line_and_otherwise_it_is_an_error() -> None:
    model = scripted(Line(when="x", reply="y"), otherwise=None)
    with pytest.raises(ModelRequestError, match="no line of the script fits 'hello'"):
        model.generate([said("hello")], Sampling())


def test_a_stream_is_the_reply_word_by_word() -> None:
    model = scripted(Line(reply="  One, two!\nthree"))
    (reply,) = model.generate([said("a")], Sampling())
    pieces = list(model.stream(said("a"), Sampling()))
    assert pieces == ["  ", "One", ", ", "two", "!\n", "three"]
    assert "".join(pieces) == reply.text


@pytest.mark.parametrize(
    ("sampling", "text", "finish"),
    [
        (Sampling(max_tokens=2), "one two ", "length"),
        (Sampling(stop=("o th",)), "one tw", "stop"),
        (Sampling(stop=("four",)), "one two three", "stop"),
        (Sampling(max_tokens=1, stop=("one t",)), "one ", "length"),
    ],
)
def test_length_and_stop_strings_cut_reply_and_stream(sampling, text, finish) -> None:
    model = scripted(Line(reply="one two three"))
    (reply,) = model.generate([said("a")], sampling)
    assert (reply.text, reply.finish) == (text, finish)
    assert "".join(model.stream(said("a"), sampling)) == text


@pytest.mark.parametrize(
    ("kind", "error"),
    [("timeout", ModelTimeoutError), ("request", ModelRequestError), ("server", ModelServerError)],
)
def test_it_fails_as_told_and_as_often(kind, error) -> None:
    model = scripted(Line(error=kind, times=2), Line(reply="fine"))
    for _ in range(2):
        with pytest.raises(error):
            model.generate([said("a")], Sampling())
    assert model.generate([said("a")], Sampling())[0].text == "fine"


@pytest.mark.parametrize(("at", "pieces"), [(0, []), (1, ["a "]), (3, ["a ", "b ", "c"]), (9, 3)])
def test_a_stream_fails_after_so_many_pieces(at, pieces) -> None:
    model = scripted(Line(reply="a b c", error="server", at=at))
    got = []
    with pytest.raises(ModelServerError):
        for piece in model.stream(said("x"), Sampling()):
            got.append(piece)
    assert got == (pieces if isinstance(pieces, list) else ["a ", "b ", "c"])


def test_it_is_slow_and_stalls_as_told() -> None:
    slept: list[float] = []
    model = scripted(Line(reply="a b", delay=0.25, stall=9.0, at=1), slept=slept)
    list(model.stream(said("x"), Sampling()))
    assert slept == [0.25, 0.25, 9.0]


def test_a_script_may_lie_in_a_file_and_settings_beside_it_win(tmp_path) -> None:
    file = tmp_path / "script.yaml"
    file.write_text("script:\n  - {when: a, reply: from the file}\notherwise: nothing\n")
    model = ScriptedModel(ScriptedModel.Config(file=file, otherwise="won"))
    texts = [reply.text for reply in model.generate([said("a"), said("b")], Sampling())]
    assert texts == ["from the file", "won"]


def test_the_manuals_script_is_a_script(tmp_path) -> None:
    manual = custodes.models.scripted.__doc__
    file = tmp_path / "script.yaml"
    file.write_text(textwrap.dedent(manual[manual.index("    script:") :]))
    model = ScriptedModel(ScriptedModel.Config(file=file), sleep=lambda seconds: None)
    (reply,) = model.generate([said("How is the weather?")], Sampling())
    assert reply.text == "Sunny, and 1 turns so far."
    with pytest.raises(ModelServerError):
        model.generate([said("busy")], Sampling())
    stream = model.stream(said("cut"), Sampling())
    assert [next(stream), next(stream)] == ["This ", "breaks "]
    with pytest.raises(ModelServerError):
        next(stream)
    assert model.generate([said("else")], Sampling())[0].text == "I have nothing to say."


def test_mistakes_in_a_script_are_named(tmp_path) -> None:
    with pytest.raises(ConfigError, match="regular expression"):
        scripted(Line(when="("))
    with pytest.raises(ConfigError, match=r"signals\.word: got 1 numbers, expected width = 16"):
        scripted(signals={"word": (1.0,)})
    with pytest.raises(ConfigError, match="no such file"):
        ScriptedModel(ScriptedModel.Config(file=tmp_path / "none.yaml"))


def test_log_probabilities_come_from_the_table_or_the_spelling() -> None:
    model = scripted(log_probabilities={"yes": -0.5})
    first, second, empty = model.log_probabilities(said("a"), ["yes or no", "or", ""])
    assert first[0] == -0.5 and first[1] == second[0]
    assert np.all((first >= -9) & (first < 0))
    assert len(empty) == 0


def test_activations_are_causal_deterministic_and_carry_signals() -> None:
    up = (3.0,) * 16
    model = scripted(signals={"bad": up})
    long, short = model.activations(["a Bad thing\ud800", "a bad"], [0, 2])
    assert long.values.shape == (2, 4, 16) and long.values.dtype == np.float32
    assert list(long.ends) == [2, 6, 11, 12]
    np.testing.assert_array_equal(long.values[:, :2], short.values)
    plain = scripted().activations(["a bad"], [0, 2])[0]
    np.testing.assert_allclose(short.values[:, 1] - plain.values[:, 1], 3.0, atol=1e-5)


def test_an_activation_stream_gives_what_the_whole_text_gives() -> None:
    model = scripted(window=3)
    text = "one two three four five six seven"
    (whole,) = model.activations([text], [1, 4])
    ids, _ = model.encode(text)
    stream = model.open_activations([1, 4])
    parts = [stream.push_tokens(ids[:2]), stream.push_tokens([]), stream.push_tokens(ids[2:])]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole.values)
    np.testing.assert_array_equal(model.token_activations([ids], [1, 4])[0], whole.values)
    np.testing.assert_array_equal(
        model.activations(["four five"], [1, 4])[0].values, parts[2][:, 1:3]
    )


@pytest.mark.parametrize("layers", [[], [5], [-1]])
def test_layers_that_are_not_there_are_named(layers) -> None:
    with pytest.raises(ConfigError, match="expected some of 0 to 4"):
        scripted().activations(["a"], layers)
