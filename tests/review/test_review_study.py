"""Studies: balanced arms, reliance by hand, an analysis that finds what was put in."""

import json
import math

import pytest

from custodes.errors import ConfigError, DataError
from custodes.review.arms import Arm, choose_arm
from custodes.review.reliance import accuracy_by_arm, reliance, switches
from custodes.review.study.analysis import (
    calibration_by_arm,
    contrast,
    excluded,
    mixed_logit,
    power,
)
from custodes.review.study.protocol import Contrast, Protocol
from custodes.review.study.report import SIMULATED, study_report
from custodes.review.study.simulated import SimulatedConfig, simulate
from custodes.review.trials import Trial, read_trials, usable

PULLED = SimulatedConfig(
    raters=14, items=90, raters_an_item=6, blind=True,
    anchoring={"judgment": 1.8}, insight={"evidence": 0.6, "judgment": 0.6},
)  # fmt: skip


def trial(answer, *, arm="judgment", truth="harmful", ai="harmful", first=None, n=0, **fields):
    return Trial(rater=f"r{n % 3}", item=f"i{n}", arm=arm, order=n, truth=truth, answer=answer,
                 ai_answer=ai, ai_confidence=0.8, first=first, **fields)  # fmt: skip


def test_reliance_is_what_the_formulas_say():
    trials = [
        # where the AI is right: 1 of 2 without help, 3 of 4 with it
        trial("harmful", arm="none", n=0), trial("benign", arm="none", n=1),
        *(trial("harmful", n=n) for n in (2, 3, 4)), trial("benign", n=5),
        # where it is wrong: 2 of 2 without, 1 of 2 with
        *(trial("harmful", arm="none", ai="benign", n=n) for n in (6, 7)),
        trial("harmful", ai="benign", n=8), trial("benign", ai="benign", n=9),
    ]  # fmt: skip
    (found,) = reliance(trials, seed=0)
    assert found.arm == "judgment"
    assert found.when_right.value == pytest.approx(0.75 - 0.5)
    assert found.under.value == pytest.approx(0.25)
    assert found.when_wrong.value == pytest.approx(0.5 - 1.0)
    assert found.overall.value == pytest.approx(4 / 6 - 3 / 4)
    shares = accuracy_by_arm(trials, seed=0)
    assert shares["none"].value == pytest.approx(0.75)


def test_switches_are_counted_where_one_could_switch():
    trials = [
        trial("harmful", first="benign", n=0), trial("benign", first="benign", n=1),
        trial("harmful", first="harmful", n=2),
        trial("harmful", first="harmful", ai="benign", n=3),
        trial("benign", first="harmful", ai="benign", n=4),
        trial("harmful", first="harmful", ai="benign", n=5),
        trial("harmful", n=6),
    ]  # fmt: skip
    (found,) = switches(trials, seed=0)
    assert (found.could_gain, found.could_lose) == (2, 3)
    assert found.rair.value == pytest.approx(1 / 2)
    assert found.rsr.value == pytest.approx(2 / 3)
    assert switches([trial("harmful")], seed=0) == []


def test_what_is_put_into_simulated_raters_is_found():
    trials = simulate(PULLED)
    assert all(each.simulated for each in trials)
    over = contrast(trials, Contrast(arm="judgment", where="ai_wrong", expects="lower"),
                    level=0.95, seed=0)  # fmt: skip
    assert over.holds
    assert over.difference.high < 0
    helped = contrast(trials, Contrast(arm="judgment", where="ai_right"), level=0.95, seed=0)
    assert helped.holds
    fine = contrast(trials, Contrast(arm="evidence", where="ai_wrong", expects="not_lower",
                                     margin=0.3), level=0.95, seed=0)  # fmt: skip
    assert fine.holds
    fit = mixed_logit(trials)
    assert fit.terms["judgment_ai_wrong"].high < 0
    assert set(fit.spread) == {"item", "rater"}
    with pytest.raises(DataError, match="an arm has no trial"):
        contrast(trials, Contrast(arm="contrast"), level=0.95, seed=0)


def test_simulations_of_one_seed_agree_and_arms_are_balanced():
    trials = simulate(PULLED)
    assert simulate(PULLED) == trials
    for rater in {each.rater for each in trials}:
        arms = [each.arm for each in trials if each.rater == rater]
        counts = [arms.count(arm) for arm in PULLED.arms]
        assert max(counts) - min(counts) <= 1
    pairs = [(each.rater, each.item) for each in trials]
    assert len(set(pairs)) == len(pairs) == 90 * 6


def test_power_grows_with_what_there_is_to_see():
    asked = Contrast(arm="judgment", where="ai_wrong", expects="lower")
    small = PULLED.model_copy(update={"items": 40, "raters": 8, "blind": False})
    seen = power(asked, small, studies=12)
    none = power(asked, small.model_copy(update={"anchoring": {}, "insight": {}}), studies=12)
    assert seen.value > none.value
    assert none.value < 0.4


def test_confidence_is_judged_by_arm_and_the_ai_s_too():
    found = {each.arm: each for each in calibration_by_arm(simulate(PULLED), seed=0)}
    assert set(found) == {"the AI", *map(str, PULLED.arms)}
    assert all(0 < each.brier.value < 1 for each in found.values())
    assert calibration_by_arm([trial("harmful")], seed=0)[0].arm == "the AI"


@pytest.mark.parametrize("wrong", [(), (0, 1, 2, 3, 4, 5)])
def test_answers_that_are_all_alike_hold_nothing(wrong):
    arms = ("none", "judgment") * 3
    trials = [
        trial("benign" if n in wrong else "harmful", arm=arm, n=n) for n, arm in enumerate(arms)
    ]
    found = contrast(
        trials, Contrast(arm="judgment", expects="not_lower"), level=0.95, seed=0, resamples=200
    )
    assert found.difference.value == 0
    assert found.difference.low < -0.5 < 0.5 < found.difference.high
    assert not found.holds
    shares = accuracy_by_arm(trials, seed=0)
    assert all(share.high - share.low > 0.5 for share in shares.values())


def test_one_arm_that_is_always_wrong_is_not_sure_to_be_so():
    trials = [trial("benign", n=n) for n in range(2)]
    trials += [trial("harmful" if n % 4 else "benign", arm="none", n=n) for n in range(2, 12)]
    found = contrast(trials, Contrast(arm="judgment", expects="lower"), level=0.95, seed=0)
    assert found.difference.value == pytest.approx(-0.8)
    assert not found.holds  # two trials


def test_many_answers_that_are_all_alike_hold_something():
    trials = [
        Trial(rater=f"r{n % 90}", item=f"i{n % 100}", arm=("none", "judgment")[n // 900], order=n,
              truth="a", answer="a", ai_answer="a", ai_confidence=0.8)
        for n in range(1800)
    ]  # fmt: skip
    asked = Contrast(arm="judgment", expects="not_lower")
    assert contrast(trials, asked, level=0.95, seed=0, resamples=50).holds


def test_no_over_reliance_is_not_read_from_two_items():
    trials = [
        Trial(rater=f"r{rater}", item=f"i{item}", arm=arm, order=0, truth="a", answer="a",
              ai_answer="b", ai_confidence=0.8, first="a")
        for item in range(2)
        for rater, arm in enumerate(("none", "judgment"))
    ]  # fmt: skip
    trials += [trial("harmful", arm=("none", "judgment")[n % 2], n=n) for n in range(4)]
    (found,) = reliance(trials, seed=0)
    assert found.when_wrong.low < -0.5
    (told,) = [each for each in switches(trials, seed=0) if each.arm == "judgment"]
    assert (told.rsr.value, told.could_lose) == (1, 2)
    assert told.rsr.low < 0.5
    page = study_report(trials, make_protocol(contrasts=[]))
    rows = page.values()["sections"][2]["blocks"][0]["rows"]
    assert [row[-1] for row in rows] == ["undecided"]
    assert "Not fitted" in page.html()
    with pytest.raises(DataError, match="all right or all wrong"):
        mixed_logit(trials)


def test_without_an_arm_without_help_another_is_the_reference():
    config = PULLED.model_copy(update={"arms": (Arm.EVIDENCE, Arm.JUDGMENT), "items": 40})
    trials = simulate(config)
    fit = mixed_logit(trials)
    assert fit.reference == "evidence"
    assert "judgment" in fit.terms
    assert not any(name.startswith("evidence") for name in fit.terms)
    assert mixed_logit(trials) == fit
    assert mixed_logit(simulate(PULLED)).reference == "none"
    page = study_report(trials, make_protocol(arms=["evidence", "judgment"], contrasts=[]))
    sections = {each["title"]: json.dumps(each) for each in page.values()["sections"]}
    assert "held against evidence" in sections["Mixed logit (simulated raters)"]
    assert "no arm without help" in sections["Reliance (simulated raters)"]


def make_protocol(**fields):
    values = {
        "name": "pilot",
        "items": "items.jsonl",
        "contrasts": [
            {"arm": "judgment", "where": "ai_wrong", "expects": "lower"},
            {"arm": "evidence"},
        ],
    }
    return Protocol.parse({**values, **fields})


def test_the_report_says_that_raters_are_simulated_everywhere():
    page = study_report(simulate(PULLED), make_protocol())
    assert SIMULATED in page.summary
    assert all("simulated" in section.title for section in page.sections)
    assert "simulated" in page.title
    rows = page.values()["sections"][0]["blocks"][0]["rows"]
    assert rows[0][4] is True


def test_what_the_protocol_leaves_out_is_left_out():
    trials = [trial("harmful", n=0, seconds=0.1), trial("harmful", n=1, seconds=9.0),
              trial("harmful", n=2, seconds=9.0),
              trial("harmful", n=4, arm="reasoning", seconds=9)]  # fmt: skip
    protocol = make_protocol(exclude_faster=1.0, exclude_below=0.5)
    kept, out = excluded(trials, protocol, {"r2": 0.2})
    assert [each.item for each in kept] == ["i1"]
    assert out == {"too fast": 1, "rater failed checks": 1, "arm is not of this study": 1}
    with pytest.raises(DataError, match="two arms at least"):
        usable(kept)


def test_a_protocol_has_a_fingerprint_and_a_queue():
    one, two = make_protocol(), make_protocol(seed=1)
    assert one.fingerprint("a") == make_protocol().fingerprint("a") != two.fingerprint("a")
    assert one.fingerprint("a") == make_protocol(items="moved.jsonl").fingerprint("a")
    assert one.fingerprint("a") != one.fingerprint("b")
    assert one.queue("a").arms == one.arms
    with pytest.raises(ConfigError, match="no arm of this study"):
        make_protocol(contrasts=[{"arm": "reasoning"}])
    with pytest.raises(ConfigError, match="compares two"):
        make_protocol(arms=["none"], contrasts=[])


def test_trials_survive_a_file(tmp_path):
    trials = simulate(PULLED)[:20]
    path = tmp_path / "trials.jsonl"
    path.write_text("".join(json.dumps(each.to_values()) + "\n" for each in trials))
    assert read_trials(path) == trials
    path.write_text('{"rater": "a", "speed": 3}\n')
    with pytest.raises(DataError, match=r"trials\.jsonl:1"):
        read_trials(path)
    assert trial("harmful").to_values()["seconds"] is None
    assert math.isnan(trial("harmful").seconds)


def test_an_arm_is_the_one_had_least():
    arms = [Arm.NONE, Arm.EVIDENCE]
    chosen = choose_arm(arms, of_rater=["none"], on_case={}, seed=0, unit="a 1")
    assert chosen is Arm.EVIDENCE
    tie = {choose_arm(arms, of_rater=[], on_case={}, seed=0, unit=f"a {n}") for n in range(20)}
    assert tie == set(arms)
    assert choose_arm(arms, of_rater=[], on_case={"none": 1}, seed=0, unit="x") is Arm.EVIDENCE
    with pytest.raises(ConfigError, match="at least one"):
        choose_arm([], of_rater=[], on_case={}, seed=0, unit="x")
    assert Arm.CONFIDENCE.shows == {"quotes", "reasoning", "judgment", "confidence"}
