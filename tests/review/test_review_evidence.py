"""Quotes are verbatim, matter, and say no more than an arm lets them."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from review_doubles import make_case

from custodes.classifiers import StageConfig, Windows, fit_stage, labelled_rows
from custodes.errors import DataError
from custodes.guard import Cascade, Edition, Guard, Policy, Stage
from custodes.review.arms import Arm
from custodes.review.cases import Case, Document, Opinion, Quote, case_to_record, read_case
from custodes.review.config import QueueConfig
from custodes.review.evidence import Attribution, Similarity, sentences, with_evidence
from custodes.review.help import MOST_HITS, help_for, pieces
from custodes.review.views import with_guard
from custodes.types import Example, Message


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=900))
def test_sentences_are_pieces_of_the_text_in_order(text):
    spans = list(sentences(text))
    assert spans == sorted(spans)
    following = [*spans[1:], (len(text), 0)]
    for (start, end), (after, _) in zip(spans, following, strict=False):
        assert 0 <= start < end <= after
        assert text[start:end].strip() == text[start:end] != ""
        assert end - start <= 320


DOCUMENTS = (
    Document("Ovens", "An oven must be hot. Bread needs an hour at 220 degrees. Cats sleep a lot."),
    Document("Cats", "Cats are quiet. A cat weighs four kilograms."),
)


def test_similar_sentences_of_documents_are_quoted_verbatim():
    case = Case(ref="1", messages=(Message("assistant", "Bread is done after an hour at 220."),),
                question="Is it true of bread?", documents=DOCUMENTS)  # fmt: skip
    quotes = with_evidence(case).evidence
    assert case.quoted(quotes[0]) == "Bread needs an hour at 220 degrees."
    assert all(quote.place.startswith("document") for quote in quotes)
    assert with_evidence(with_evidence(case)).evidence == quotes


def test_reasons_for_both_answers_get_their_own_sentences():
    case = Case(
        ref="1",
        messages=(Message("user", "Is a cat heavy?"),),
        documents=DOCUMENTS,
        opinions=(
            Opinion(source="a", answer="yes", confidence=0.6, reasoning="It weighs kilograms."),
            Opinion(source="b", answer="no", confidence=0.6, reasoning="It is quiet and sleeps."),
        ),
    )
    sides = {}
    for quote in Similarity().select(case):
        sides.setdefault(quote.side, []).append(case.quoted(quote))
    assert "A cat weighs four kilograms." in sides["yes"]
    assert "Cats are quiet." in sides["no"] or "Cats sleep a lot." in sides["no"]
    assert not set(sides["yes"]) & set(sides["no"])


def test_any_embedding_will_do():
    def embed(texts):
        return np.array([[text.count("cat"), text.count("oven"), 0.01] for text in texts])

    case = Case(ref="1", messages=(Message("user", "What of the oven?"),), documents=DOCUMENTS)
    first, *_ = Similarity(embed=embed).select(case)
    assert "oven" in case.quoted(first)


def test_a_text_of_one_sentence_is_no_quote_of_itself():
    assert with_evidence(make_case(1, messages=(Message("user", "One only"),))).evidence == ()


@pytest.fixture(scope="module")
def guard():
    """A real hashed stage, trained on a few lines about stolen and given cakes."""
    rows = []
    for n in range(40):
        bad = n % 2 == 0
        text = f"Steal the cake number {n} at night" if bad else f"Bake a cake number {n} for all"
        rows.append(Example(id=str(n), source="t", kind="x", text=text, label=int(bad)))
    config = StageConfig(name="hashed", features="hashed", learning_rate=0.05,
                         windows=Windows(input=4, output=4, exchange=4))  # fmt: skip
    scorer = fit_stage(labelled_rows(rows), config, rules=(), seed=0)
    return Guard(Cascade([Stage(scorer=scorer)]), Policy(), edition=Edition(id="t", version="1"),
                 artifact="a", clock=time.monotonic)  # fmt: skip


def test_a_guard_s_tokens_point_at_the_sentence_that_its_score_rests_on(guard):
    text = "Please bake a cake for all of us. Then steal the cake at night. Thank you for all."
    case = make_case(1, messages=(Message("user", text),), opinions=())
    quotes = Attribution(guard, harmful="harmful", benign="benign").select(case)
    by_side = {quote.side: case.quoted(quote) for quote in reversed(quotes)}
    assert by_side["harmful"] == "Then steal the cake at night."
    assert "steal" not in by_side["benign"]
    one = make_case(2, messages=(Message("user", "Steal the cake"),))
    assert Attribution(guard, harmful="h", benign="b").select(one) == ()


def test_a_guard_s_view_becomes_the_first_opinion(guard):
    text = "Steal the cake at night. Nobody must know of it."
    (found,) = with_guard([make_case(1, messages=(Message("user", text),))], guard, QueueConfig())
    assert found.view.source == "guard"
    assert found.view.answer == "harmful"
    assert found.view.confidence >= 0.5
    assert len(found.opinions) == 2
    assert found.evidence


def contrasting():
    return make_case(
        1,
        evidence=(
            Quote(place="message:0", start=0, end=26, side="benign", score=0.4),
            Quote(place="message:0", start=27, end=46, side="harmful", score=0.9),
        ),
        opinions=(Opinion(source="g", answer="harmful", confidence=0.7, reasoning="Sweet."),),
    )


def test_an_arm_shows_its_help_and_no_more():
    case = contrasting()
    assert not help_for(case, Arm.NONE)
    shown = help_for(case, Arm.EVIDENCE)
    assert shown.sides == ("",)
    assert (shown.judgment, shown.reasons, shown.confidence) == (None, (), None)
    assert help_for(case, Arm.CONTRAST).sides == ("benign", "harmful")
    assert help_for(case, Arm.REASONING).reasons == (("harmful", "Sweet."),)
    assert help_for(case, Arm.JUDGMENT).judgment == "harmful"
    assert help_for(case, Arm.JUDGMENT).confidence is None
    assert help_for(case, Arm.CONFIDENCE).confidence == 0.7
    for quote in help_for(case, Arm.CONFIDENCE).quotes:
        assert quote.words in case.messages[0].content


@settings(max_examples=60, deadline=None)
@given(st.text(min_size=1, max_size=80), st.data())
def test_pieces_joined_are_the_text(text, data):
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    case = make_case(1, messages=(Message("user", text),),
                     evidence=(Quote(place="message:0", start=start, end=end),))  # fmt: skip
    shown = help_for(case, Arm.EVIDENCE).quotes
    made = pieces(text, shown, search=data.draw(st.sampled_from(["", text[:1], "a"])))
    assert "".join(piece.text for piece in made) == text
    assert "".join(piece.text for piece in made if piece.quote) == text[start:end]
    assert sum(piece.begins for piece in made) == 1


def test_what_was_searched_for_is_marked():
    assert [p.text for p in pieces("Cake and cake", (), "CAKE") if p.hit] == ["Cake", "cake"]


def test_a_case_survives_its_record():
    case = contrasting()
    assert read_case(case_to_record(case)) == case


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"text": "x"}, "id"),
        ({"id": "1"}, "text"),
        ({"id": "1", "messages": []}, "no messages"),
        ({"id": "1", "messages": [{"role": "cook", "content": "x"}]}, "cook"),
        ({"id": "1", "text": "x", "opinions": [{"answer": "a", "confidence": 3}]}, "0 to 1"),
        ({"id": "1", "text": "x", "evidence": [{"place": "message:0", "start": 0, "end": 9}]},
         "which has 1"),
        ({"id": "1", "text": "x", "evidence": [{"place": "page:0", "start": 0, "end": 1}]},
         "message:0 to"),
    ],
)  # fmt: skip
def test_a_bad_record_is_refused_with_what_was_expected(record, message):
    with pytest.raises(DataError, match=message) as caught:
        read_case(record, place="cases.jsonl:3")
    assert "cases.jsonl:3" in str(caught.value)
    assert "expected id, text" in str(caught.value)


def test_a_search_for_a_letter_in_a_long_case_costs_what_the_case_is_long():
    text = "cheese " * 150_000  # a megabyte with 450,000 letters e
    many = tuple(Quote(place="message:0", start=n, end=n + 9) for n in range(0, 60_000, 10))
    case = Case(ref="1", messages=(Message("user", text),), evidence=many)
    shown = help_for(case, Arm.CONTRAST).quotes
    began = time.process_time()
    made = pieces(text, shown, search="e")
    assert time.process_time() - began < 5
    assert sum(piece.hit for piece in made) >= MOST_HITS
    assert sum(piece.begins for piece in made) == len(many)
    assert "".join(piece.text for piece in made) == text
    assert sum(piece.hit for piece in pieces(text, (), search="e")) == MOST_HITS


def test_where_quotes_overlap_the_first_one_counts():
    spans = [(4, 12), (0, 20), (8, 16), (0, 2)]
    quotes = tuple(Quote(place="message:0", start=a, end=b) for a, b in spans)
    case = Case(ref="1", messages=(Message("user", "x" * 24),), evidence=quotes)
    made = pieces("x" * 24, help_for(case, Arm.CONTRAST).quotes)
    assert [(piece.text, piece.quote) for piece in made] == [
        ("xx", 2), ("xx", 2), ("xxxx", 1), ("xxxx", 1), ("xxxx", 2), ("xxxx", 2), ("xxxx", None),
    ]  # fmt: skip
