"""Laws of synthesis, for any text and any seed."""

from __future__ import annotations

from pathlib import Path
from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from custodes.constitution import read
from custodes.synthesis import (
    TRANSFORMS,
    SynthesisConfig,
    compose,
    filter_rows,
    plan,
    vary,
    write,
)
from custodes.types import Example

GARDENING = read(Path(__file__).parents[1] / "synthesis" / "gardening.yaml")
PLAIN = [each for each in map(TRANSFORMS.load, TRANSFORMS.names()) if each.bind is None]
EXACT = [TRANSFORMS.load(name) for name in ("base64", "hexadecimal", "reversed_words", "rot13")]

texts = st.text(st.characters(codec=None, exclude_categories=()), max_size=60)
seeds = st.integers(0, 2**32)
quick = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@quick
@given(st.sampled_from(PLAIN), texts, seeds)
def test_any_text_can_be_varied_and_the_same_draw_gives_the_same(transform, text, seed):
    for apply in (transform.to_request, transform.to_reply):
        assert apply(text, Random(seed)) == apply(text, Random(seed))
    mild = transform.to_request(text, Random(seed), mild=True)
    assert mild == transform.to_request(text, Random(seed), mild=True)


@quick
@given(st.lists(st.sampled_from(EXACT), min_size=1, max_size=3), texts, seeds)
def test_chains_of_exact_codes_are_undone(chain, text, seed):
    composed = compose(chain)
    assert composed.inverse(composed.to_reply(text, Random(seed))) == text


configs = st.builds(
    SynthesisConfig,
    rows=st.integers(1, 16),
    seed=st.integers(0, 1000),
    varied=st.floats(0, 1),
    contrast=st.floats(0, 1),
    held_out_transforms=st.sampled_from(((), ("morse",), ("role_play", "typos"))),
    held_out_rules=st.sampled_from(((), ("mint_code",))),
)


def rows_of(config: SynthesisConfig) -> list[Example]:
    tasks = plan(GARDENING, config)
    drafts = write(GARDENING, config, tasks)
    return [vary(draft.row, task) for task, draft in zip(tasks, drafts, strict=True)]


@quick
@given(configs)
def test_no_training_row_bears_what_is_held_out(config):
    for row in rows_of(config):
        unseen = set(row.transforms) & set(config.held_out_transforms)
        marked = row.meta.get("split") == "held_out"
        assert marked == bool(unseen or row.rule in config.held_out_rules)


@quick
@given(configs)
def test_labels_come_from_rule_and_reply_whatever_the_wrapping(config):
    for row in rows_of(config):
        harmful = row.rule in ("growing_mint", "mint_code")
        assert row.request_label == harmful
        assert row.label == (harmful and row.meta.get("act") != "refuse")
        if "mild" in row.meta and not harmful:
            assert row.meta["mild"]


@quick
@given(configs, st.data())
def test_filters_are_idempotent_and_account_for_every_row(config, data):
    rows = data.draw(st.permutations(rows_of(config)))
    once = filter_rows(rows, config)
    assert len(once.rows) + once.dropped.total() == len(rows)
    assert [row for row in rows if row in once.rows] == once.rows
    again = filter_rows(once.rows, config)
    assert again.rows == once.rows
    assert not again.dropped


@quick
@given(configs, st.integers(1, 20))
def test_a_longer_plan_only_adds(config, more):
    before = plan(GARDENING, config)
    longer = plan(GARDENING, config.model_copy(update={"rows": config.rows + more}))
    assert set(before) <= set(longer)
    assert len({task.id for task in longer}) == len(longer)
