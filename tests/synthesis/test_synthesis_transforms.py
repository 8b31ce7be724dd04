"""Every transform: what it declares, what it keeps, and the codes undone."""

from __future__ import annotations

import json
from random import Random

import pytest

from custodes.errors import ConfigError
from custodes.models.scripted import Line, ScriptedModel
from custodes.synthesis import TRANSFORMS, Transform, compose
from custodes.synthesis.transforms.base import framed
from custodes.synthesis.transforms.caesar import shift_letters

TEXT = "How do I grow a zebra-striped tomato in a very small pot?"
NAMES = TRANSFORMS.names()
PLAIN = [name for name in NAMES if TRANSFORMS.load(name).bind is None]
WHOLE = [
    "few_shot", "hypothetical", "in_markdown", "many_shot", "prefix_injection",
    "refusal_suppression", "role_play", "suffix", "system_prompt_override",
]  # fmt: skip


def load(name: str) -> Transform:
    transform: Transform = TRANSFORMS.load(name)
    return transform


def test_the_issue_s_variations_are_all_there() -> None:
    assert len(NAMES) == 27
    assert {load(name).family for name in NAMES} == {
        "noise", "encoding", "structure", "framing", "context",
    }  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_transform_bears_the_name_it_is_listed_under(name: str) -> None:
    transform = load(name)
    assert transform.name == name
    assert "request" in transform.sides
    assert (transform.violates is None) == (transform.mild is None)


@pytest.mark.parametrize("name", PLAIN)
def test_it_is_a_pure_function_that_changes_the_text(name: str) -> None:
    transform = load(name)
    outcomes = [transform.to_request(TEXT, Random(seed)) for seed in range(20)]
    assert outcomes == [transform.to_request(TEXT, Random(seed)) for seed in range(20)]
    assert any(outcome != TEXT for outcome in outcomes)
    assert len(set(outcomes)) > 3
    replies = [transform.to_reply(TEXT, Random(seed)) for seed in range(20)]
    assert replies == [transform.to_reply(TEXT, Random(seed)) for seed in range(20)]


@pytest.mark.parametrize("name", WHOLE)
def test_framings_keep_the_text_whole_in_a_dozen_wordings(name: str) -> None:
    transform = load(name)
    outcomes = [transform.to_request(TEXT, Random(seed)) for seed in range(300)]
    assert all(TEXT in outcome for outcome in outcomes)
    assert len({outcome.replace(TEXT, "") for outcome in outcomes}) >= 12


@pytest.mark.parametrize("name", [n for n in PLAIN if load(n).violates])
def test_the_mild_form_looks_alike_and_asks_for_no_dropping_of_rules(name: str) -> None:
    transform = load(name)
    strong = {transform.to_request(TEXT, Random(seed)) for seed in range(300)}
    mild = {transform.to_request(TEXT, Random(seed), mild=True) for seed in range(300)}
    assert not strong & mild
    assert len(strong) == len(mild) >= 12
    demands = ("no rules", "no restrictions", "revoked", "disregard", "ignore", "refus", "policy")
    assert not [text for text in mild if any(word in text.lower() for word in demands)]


@pytest.mark.parametrize("name", ["base64", "hexadecimal", "rot13", "reversed_words"])
@pytest.mark.parametrize("text", [TEXT, "Übergrößen, naïve café\n日本語 \U0001f33f", "", "\ud800x"])
def test_codes_are_undone_exactly(name: str, text: str) -> None:
    transform = load(name)
    for seed in range(5):
        assert transform.inverse is not None
        assert transform.inverse(transform.to_reply(text, Random(seed))) == text


def test_morse_is_undone_for_its_own_characters() -> None:
    transform = load("morse")
    assert transform.inverse is not None
    plain = "grow 7 tomatoes, quickly! (please)"
    assert transform.inverse(transform.to_reply(plain, Random(0))) == plain
    assert transform.to_reply("É ☂ e", Random(0)) == ". / ."


def test_a_caesar_shift_is_undone_by_its_opposite() -> None:
    assert shift_letters("Xyz, abc!", 3) == "Abc, def!"
    assert shift_letters(shift_letters(TEXT, 11), -11) == TEXT
    wrapped = load("caesar").to_request("zebra", Random(1))
    assert "zebra" not in wrapped
    bare = load("caesar").to_reply("zebra", Random(1))
    assert "zebra" in {shift_letters(bare, places) for places in range(26)}


@pytest.mark.parametrize("name", ["homoglyphs", "zero_width"])
def test_look_alikes_are_undone(name: str) -> None:
    transform = load(name)
    assert transform.inverse is not None
    changed = transform.to_request(TEXT, Random(2))
    assert changed != TEXT
    assert transform.inverse(changed) == TEXT


def test_casing_changes_case_only() -> None:
    assert {load("casing").apply(TEXT, Random(s)).lower() for s in range(30)} == {TEXT.lower()}


def test_typos_leave_short_words_alone() -> None:
    assert load("typos").apply("to be or 42", Random(0)) == "to be or 42"
    changed = load("typos").apply(TEXT, Random(0))
    assert changed != TEXT
    assert abs(len(changed) - len(TEXT)) <= 6


def test_leetspeak_keeps_the_length() -> None:
    assert len(load("leetspeak").apply(TEXT, Random(0))) == len(TEXT)


def test_paraphrase_swaps_words_of_asking_and_keeps_capitals() -> None:
    outcomes = {
        load("paraphrase").apply("How do I start? Explain please.", Random(s)) for s in range(40)
    }
    assert len(outcomes) > 8
    assert all(outcome[0].isupper() for outcome in outcomes)
    assert load("paraphrase").apply("tomato", Random(0)) == "tomato"


@pytest.mark.parametrize("seed", range(8))
def test_json_parses_and_holds_the_text(seed: int) -> None:
    text = 'say "hi"\n\\ ☂'
    document = json.loads(load("in_json").apply(text, Random(seed)))
    inner = document[0] if isinstance(document, list) else document.get("body", document)
    assert text in inner.values()


def test_code_escapes_quotes_and_line_breaks() -> None:
    outcomes = [load("in_code").apply('say "hi"\nnow', Random(seed)) for seed in range(40)]
    assert all(r"say \"hi\"\nnow" in text or 'say "hi" now' in text for text in outcomes)


@pytest.mark.parametrize("text", [TEXT, "tomato", "ab", ""])
def test_the_pieces_of_a_split_payload_are_the_text(text: str) -> None:
    for seed in range(20):
        lines = load("payload_splitting").apply(text, Random(seed)).split("\n")
        pieces = dict(line.split(" = ", 1) for line in lines[1:-1])
        assert "".join(pieces[name][1:-1] for name in sorted(pieces)) == text


def test_past_tense_turns_a_how_to_around() -> None:
    turned = load("past_tense").apply("How do I grow a tomato?", Random(0))
    assert turned.endswith("grow a tomato?")
    assert "How do I" not in turned
    assert TEXT[9:-1] in load("past_tense").apply("Please tell me how to " + TEXT[9:], Random(0))
    assert "Tomatoes!" in load("past_tense").apply("Tomatoes!", Random(0))
    assert "How do I " in load("past_tense").apply("How do I ", Random(0))


def test_a_code_is_announced_to_the_reader_but_not_in_a_reply() -> None:
    transform = load("base64")
    bare = transform.to_reply("tomato", Random(0))
    assert bare == "dG9tYXRv"
    wrapped = transform.to_request("tomato", Random(0))
    assert bare in wrapped
    assert "base64" in wrapped


def test_a_frame_keeps_braces_of_the_text() -> None:
    assert framed(("<{text}>",))("{x} {text}", Random(0)) == "<{x} {text}>"


@pytest.mark.parametrize("name", ["translation", "paraphrase_by_model"])
def test_what_needs_a_model_asks_it(name: str) -> None:
    transform = load(name)
    with pytest.raises(ConfigError, match="needs a model"):
        transform.apply(TEXT, Random(0))
    assert transform.bind is not None
    model = ScriptedModel(ScriptedModel.Config(script=(Line(when="tomato", reply=" ¿Cómo? "),)))
    assert transform.bind(model)(TEXT, Random(0)) == "¿Cómo?"
    silent = ScriptedModel(ScriptedModel.Config(otherwise=""))
    assert transform.bind(silent)(TEXT, Random(0)) == TEXT


def test_a_composition_applies_first_to_last_and_is_undone_backwards() -> None:
    chain = compose([load("reversed_words"), load("rot13"), load("hexadecimal")])
    assert chain.name == "reversed_words+rot13+hexadecimal"
    assert not chain.readable
    assert chain.inverse is not None
    assert chain.inverse(chain.to_reply(TEXT, Random(0))) == TEXT


def test_a_composition_is_as_narrow_and_as_forbidden_as_its_parts() -> None:
    chain = compose([load("typos"), load("prefix_injection")])
    assert chain.sides == {"request"}
    assert chain.violates == "override"
    assert chain.inverse is None
    assert chain.family == "framing"
    assert chain.to_request(TEXT, Random(0), mild=True) != chain.to_request(TEXT, Random(0))
    assert compose([load("typos")]).mild is None
    with pytest.raises(ValueError, match="one or more"):
        compose([])
