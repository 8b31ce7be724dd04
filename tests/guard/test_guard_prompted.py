"""A stage that asks a model, as a guard streams to it: what each judgment is shown."""

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from custodes.classifiers import PromptedConfig, PromptedScorer
from custodes.classifiers.base import Point
from custodes.types import Mode


@dataclass(frozen=True, kw_only=True)
class Noting(PromptedScorer):
    """Notes what it is shown and asks nobody."""

    shown: list[tuple[int, str]] = field(default_factory=list)

    def point(self, end, text, request, mode):
        self.shown.append((end, text))
        return Point(end, 0.0, np.zeros(0, np.float32))


def views(pieces, **settings):
    scorer = Noting(config=PromptedConfig(**settings), model=None)
    stream = scorer.open((), Mode.INPUT)
    for piece in pieces:
        stream.push(piece)
    stream.finish()
    return scorer.shown


@pytest.mark.parametrize(("block", "view"), [(800, 800), (800, 1600)])
def test_the_last_judgment_reads_a_whole_view(block, view):
    text = "".join(chr(97 + at % 26) for at in range(1610 + view - block))
    end, shown = views([text], block=block, view=view)[-1]
    assert (end, shown) == (len(text), text[-view:])


@given(st.lists(st.integers(0, 9), max_size=12), st.integers(1, 8), st.integers(0, 8))
def test_every_judgment_reads_the_last_characters_that_there_are(sizes, block, more):
    text = "".join(chr(97 + at % 26) for at in range(sum(sizes)))
    ends = np.cumsum([0, *sizes])
    pieces = [text[a:b] for a, b in pairwise(ends)]
    found = views(pieces, block=block, view=block + more)
    assert found == [(end, text[:end][-(block + more) :]) for end, _ in found]
    assert found == views([text], block=block, view=block + more)
    assert found[-1][0] == len(text)
