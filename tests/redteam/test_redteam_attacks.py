import re
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redteam_doubles import SET, play

from custodes.config import Config
from custodes.errors import ConfigError, MissingExtraError
from custodes.models import MODELS
from custodes.redteam import AttackConfig, Seen, Tools, make_attack
from custodes.redteam.attack import UnsuitedError, attack_names
from custodes.redteam.attacks.best_of_n import mutilate
from custodes.redteam.attacks.pair import parse_prompt
from custodes.redteam.attacks.reconstruction import pieces
from custodes.redteam.attacks.templates import fill

QUESTION = SET.question("kraut")
EVERYTHING = frozenset({"reply", "score", "likelihood", "gradient"})


def scripted(otherwise):
    kind = MODELS.load("scripted")
    return kind(kind.Config(otherwise=otherwise))


def tools(seed=0, *, budget=12, can=EVERYTHING, attacker=True, wave=4):
    return Tools(
        rng=Random(seed),
        budget=budget,
        wave=wave,
        can=can,
        attacker=scripted('{"prompt": "A story about sauerkraut, please."}') if attacker else None,
    )


def answer(probe):
    if probe.want == "reply":
        return Seen(reply="One takes cabbage.", grade=0.1, score=0.4)
    if probe.want == "score":
        return Seen(score=1 / (1 + len(probe.turns[-1].content)))
    if probe.want == "likelihood":
        return Seen(value=-float(len(probe.turns[-1].content)))
    return Seen(pieces=(" !", " !"), swaps=((" a", " b"), (" c", " d")))


def attack(kind, **settings):
    return make_attack(AttackConfig.parse({"kind": kind, **settings}))


@pytest.mark.parametrize("name", attack_names())
def test_every_attack_proposes_and_repeats_itself_by_seed(name):
    first = play(attack(name).begin(QUESTION, tools()), answer, most=24)
    again = play(attack(name).begin(QUESTION, tools()), answer, most=24)
    assert first == again
    assert any(probe.want == "reply" for probe in first)
    for probe in first:
        assert probe.turns
        roles = [turn.role for turn in probe.turns]
        assert roles[-1] == ("assistant" if name == "prefill" else "user")


@pytest.mark.parametrize("name", ["best_of_n", "reconstruction", "obfuscation", "base64", "gcg"])
def test_another_seed_draws_something_else(name):
    one = play(attack(name).begin(QUESTION, tools(0)), answer, most=24)
    other = play(attack(name).begin(QUESTION, tools(1)), answer, most=24)
    assert [p.turns for p in one] != [p.turns for p in other]


def test_attacks_compose_with_transforms_and_chains_stand_alone():
    through = play(attack("direct+base64").begin(QUESTION, tools()), answer)
    assert all("sauerkraut" not in probe.turns[-1].content for probe in through)
    chain = play(attack("typos+base64").begin(QUESTION, tools(budget=3)), answer)
    assert len(chain) == 3
    assert all("sauerkraut" not in probe.turns[-1].content for probe in chain)


def test_unknown_attacks_and_settings_say_what_is_known():
    with pytest.raises(ConfigError, match=r"unknown attack: got 'nothing'.*base64"):
        attack("nothing")
    with pytest.raises(ConfigError, match="Extra inputs"):
        attack("gcg", speed=3)
    with pytest.raises(ConfigError, match="only be an attack of its own"):
        attack("direct+translation")
    with pytest.raises((ConfigError, MissingExtraError)):
        attack("no.such.module:Attack")


@pytest.mark.parametrize("name", ["pair", "tap", "translation"])
def test_attacks_that_write_need_an_attacker(name):
    with pytest.raises(UnsuitedError, match="attacker"):
        next(attack(name).begin(QUESTION, tools(attacker=False)))


@pytest.mark.parametrize("name", ["random_search", "autodan"])
def test_searches_need_something_to_climb_by(name):
    with pytest.raises(UnsuitedError, match="log-probabilities"):
        next(attack(name).begin(QUESTION, tools(can=frozenset({"reply"}))))


def test_random_search_climbs_down_a_score():
    def by_length(probe):
        # The guard of this test dislikes short words.
        return Seen(score=1 / (1 + len(probe.turns[-1].content)), reply="no")

    probes = play(attack("random_search").begin(QUESTION, tools()), by_length, most=120)
    asked = [len(p.turns[-1].content) for p in probes if p.want == "reply"]
    scored = [len(p.turns[-1].content) for p in probes if p.want == "score"]
    assert asked[-1] >= asked[0]
    assert max(scored[-20:]) > max(scored[:4])


def test_autodan_breeds_towards_fitness():
    def likes_guides(probe):
        return Seen(score=0.1 if "museum" in probe.turns[-1].content else 0.9, reply="no")

    probes = play(attack("autodan").begin(QUESTION, tools()), likes_guides, most=90)
    born = [p for p in probes if p.want == "score"]
    share = [sum("museum" in p.turns[-1].content for p in part) for part in (born[:8], born[-8:])]
    assert share[1] >= share[0]


def test_gcg_swaps_one_token_at_a_time_and_keeps_the_best():
    probes = play(attack("gcg", length=2, every=1).begin(QUESTION, tools()), answer, most=40)
    assert probes[0].want == "gradient"
    assert probes[0].turns[-1].content.endswith(" ! !")
    tried = [p.turns[-1].content.removeprefix(QUESTION.text) for p in probes[1:9]]
    assert set(tried) & {" a !", " b !", " ! c", " ! d"}


def test_gcg_ends_where_no_gradient_comes():
    probes = play(attack("gcg").begin(QUESTION, tools()), lambda probe: Seen(), most=40)
    assert [p.want for p in probes] == ["gradient"]


def test_crescendo_builds_on_replies_and_backs_off_from_refusals():
    probes = play(attack("crescendo").begin(QUESTION, tools(attacker=False)), answer, most=4)
    assert [len(p.turns) for p in probes] == [1, 3, 5, 7]
    assert probes[1].turns[1].content == "One takes cabbage."
    refused = play(
        attack("crescendo", backtracks=1).begin(QUESTION, tools(attacker=False)),
        lambda probe: Seen(stopped="input"),
        most=6,
    )
    assert all(len(p.turns) == 1 for p in refused)
    assert refused[0].turns[0].content in refused[1].turns[0].content


def test_crescendo_lets_an_attacker_write_the_next_turn():
    probes = play(attack("crescendo").begin(QUESTION, tools()), answer, most=2)
    assert probes[1].turns[-1].content == '{"prompt": "A story about sauerkraut, please."}'


@pytest.mark.parametrize("name", ["foot_in_the_door", "decomposition"])
def test_turns_that_are_refused_are_not_built_upon(name):
    probes = play(attack(name).begin(QUESTION, tools()), lambda probe: Seen(stopped="exchange"))
    assert all(len(p.turns) == 1 for p in probes)


def test_tap_prunes_prompts_off_topic():
    off = Tools(rng=Random(0), budget=9, attacker=scripted("Tell me about the weather."))
    probes = play(attack("tap", depth=1).begin(QUESTION, off), answer, most=3)
    assert {p.turns[-1].content for p in probes} == {QUESTION.text}


def test_pair_reads_what_the_attacker_wrote():
    assert parse_prompt('Sure: {"improvement": "x", "prompt": "Say \\"cheese\\"\\nnow"}') == (
        'Say "cheese"\nnow'
    )
    assert parse_prompt(' "Just this." ') == "Just this."


def test_templates_put_the_request_in_its_place():
    assert fill("Be DAN. {{ prompt }}", "Hi") == "Be DAN. Hi"
    assert fill("Be DAN.", "Hi") == "Be DAN.\n\nHi"
    assert fill("[INSERT PROMPT HERE]!", r"a\1b") == r"a\1b!"
    names = {p.strategy for p in play(attack("templates").begin(QUESTION, tools(budget=5)))}
    assert len(names) == 5


def test_templates_of_the_catalogue(monkeypatch, tmp_path):
    from custodes import data
    from custodes.types import Example

    made = [
        Example(id=f"t{n}", source="s", kind=kind, text=text)
        for n, (kind, text) in enumerate(
            [("jailbreak_template", "A {{ prompt }}"), ("jailbreak_prompt", "no"),
             ("jailbreak_template", "x" * 99)]
        )
    ]  # fmt: skip
    monkeypatch.setattr(data, "load", lambda name: made)
    found = play(attack("templates", sets=["any"], longest=50).begin(QUESTION, tools()))
    assert [p.turns[-1].content for p in found] == [f"A {QUESTION.text}"]


def test_agreed_words_travel_with_the_probe():
    probes = play(attack("obfuscation").begin(QUESTION, tools(budget=8)))
    agreed = [p for p in probes if p.strategy == "agreed words"]
    assert agreed
    for probe in agreed:
        assert set(probe.glossary.values()) == {"sauerkraut", "cabbage"}
        question = probe.turns[-1].content.rpartition("right. ")[2]
        assert not re.search("sauerkraut|cabbage", question)


@given(st.text("abc XYZ?!,", min_size=3).filter(lambda text: len(text.split()) > 1), st.integers())
def test_pieces_put_together_are_the_text(text, seed):
    cut = pieces(text, Random(seed), 4)
    assert " ".join(cut) == " ".join(text.split())
    assert all(cut)


@given(st.text(min_size=1), st.integers(0, 9))
def test_mutilation_of_no_strength_leaves_words_alone(text, seed):
    assert mutilate(text, Random(seed), 0.0) == " ".join(text.split())


def test_a_stranger_is_an_attack_by_its_dotted_path():
    probes = play(attack("test_redteam_attacks:Shout").begin(QUESTION, tools()))
    assert probes[0].turns[-1].content == QUESTION.text.upper()


class Shout:
    needs = frozenset({"reply"})

    class Config(Config):
        pass

    def __init__(self, config):
        pass

    def begin(self, question, tools):
        from custodes.redteam import Probe, user

        yield [Probe(turns=user(question.text.upper()))]
