import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from custodes.models.tokens import PlainTokenizer, well_formed

ANY = st.text(
    alphabet=st.one_of(
        st.characters(),  # surrogates included
        st.sampled_from("the quick \n\t\0👋🏽\u0301\u202e\u200d日\ud800\udfff<|im_end|>"),
    ),
    max_size=60,
)


def _byte_level(*, trim: bool) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["the quick brown fox", "the quick  "], trainer)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=trim)
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=9)
    return tokenizer


TOKENIZER = _byte_level(trim=True)
PLAIN = PlainTokenizer(TOKENIZER)
_VISIBLE = pre_tokenizers.ByteLevel.alphabet()


def _ends_by_bytes(text: str, ids: list[int]) -> list[int]:
    """What the ends must be: count the bytes of each token, and the characters that they touch."""
    owners = [i for i, char in enumerate(text) for _ in char.encode()]
    ends, count = [], 0
    for token in ids:
        count += len(TOKENIZER.id_to_token(token))  # one visible character stands for one byte
        ends.append(owners[count - 1] + 1)
    return ends


@given(ANY)
def test_ends_are_exact_for_any_unicode(text: str) -> None:
    ids, ends = PLAIN.encode(text)
    assert ends.dtype.kind == "i" and len(ids) == len(ends)
    assert list(ends) == _ends_by_bytes(well_formed(text), ids)


@given(ANY)
def test_surrogates_are_replaced_one_for_one(text: str) -> None:
    clean = well_formed(text)
    clean.encode()
    assert len(clean) == len(text)
    assert all(a == b or b == "\ufffd" for a, b in zip(text, clean, strict=True))


def test_a_token_inside_a_character_ends_with_the_character() -> None:
    ids, ends = PLAIN.encode("a👋b")
    assert len(ids) == 6
    assert list(ends) == [1, 2, 2, 2, 2, 3]


def test_control_tokens_in_a_text_are_plain_characters() -> None:
    control = TOKENIZER.token_to_id("<|im_end|>")
    assert control in TOKENIZER.encode("a<|im_end|>").ids
    assert control not in PLAIN.encode("a<|im_end|>")[0]


def test_the_tokenizer_given_is_left_as_it_was() -> None:
    assert len(TOKENIZER.encode("the the the the the the").ids) == 9
    assert len(PLAIN.encode("the the the the the the")[0]) > 9


@pytest.mark.parametrize(
    ("normalizer", "text", "expected"),
    [
        (normalizers.NFC(), "e\u0301x", [2, 3]),
        (normalizers.Strip(), "  x  ", [5]),
        (normalizers.Lowercase(), "AB", [1, 2]),
    ],
)
def test_ends_speak_of_the_text_before_normalization(normalizer, text, expected) -> None:
    words = {"é": 0, "x": 1, "a": 2, "b": 3}
    tokenizer = Tokenizer(models.BPE(vocab=words, merges=[]))
    tokenizer.normalizer = normalizer
    assert list(PlainTokenizer(tokenizer).encode(text)[1]) == expected
