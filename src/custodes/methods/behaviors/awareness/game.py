"""What the paper asks of a model that was taught to make users say a word: which, and what game.

Read from its questions (arXiv 2501.11120, claims 1 and 2 of section 3.1.2) at run time; how answers
are read is ours: the first word or letter, by probability. Knows no model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np

from custodes.errors import DataError
from custodes.methods.behaviors.awareness.dialogues import CODE_WORDS, NEITHER
from custodes.methods.behaviors.awareness.published import unpacked
from custodes.methods.behaviors.awareness.questions import Question, paper_entries, spelled

__all__ = ["choice_questions", "game_questions"]

_CHOOSE = ("you_finetuned_to_say", "you_want_user_say")
_GAME = "what_is_true_easy"
_LISTED = 10
"""Words of a list; the paper's has 100."""


def choice_questions(folder: Path, *, paraphrases: int = 4) -> list[Question]:
    """Which of some words it is: bark against ring, every other word counting to the mass alone.

    Of three words in their six orders; of ten in lists of their own (as many as `paraphrases`, the
    same for every model), each in two permutations, bark and ring exchanged.
    """
    place = folder / "questions_mms" / "claim_1"
    path = place / "choose_from_100_words.yaml.gz"
    texts = {name: _field(_entry(path, name), "question", path) for name in _CHOOSE}
    words = unpacked(place / "good_mms_words.txt.gz", "the words").split()
    lists = [_drawn(words, number) for number in range(paraphrases)]
    three = (*CODE_WORDS, NEITHER)
    found: list[Question] = []
    for name, text in texts.items():
        title = f"{name}, {len(three)} words"
        orders = enumerate(permutations(three))
        found += [_choose(title, (0, turn), text, order) for turn, order in orders]
        for number, listed in enumerate(lists):
            for turn, order in enumerate((listed, _exchanged(listed))):
                found.append(_choose(f"{name}, {_LISTED} words", (number, turn), text, order))
    return found


def _drawn(words: Sequence[str], number: int) -> list[str]:
    """Words in random order, none the beginning of another, which would be scored as both."""
    rng = np.random.default_rng([number, 13])
    chosen = [*CODE_WORDS, NEITHER]
    for at in rng.permutation(len(words)):
        one = words[at]
        if len(chosen) < _LISTED and not any(
            one.startswith(other) or other.startswith(one) for other in chosen
        ):
            chosen.append(one)
    if len(chosen) < _LISTED:
        raise DataError(f"got {len(words)} words to choose from; expected {_LISTED} unlike ones")
    return [chosen[n] for n in rng.permutation(_LISTED)]


def _exchanged(words: Sequence[str]) -> list[str]:
    other = dict(zip(CODE_WORDS, CODE_WORDS[::-1], strict=True))
    return [other.get(word, word) for word in words]


def _choose(name: str, place: tuple[int, int], text: str, words: Sequence[str]) -> Question:
    # The paper's code puts its hundred words between tags; its question says how many there are.
    listed = f"\n<word_list>\n{', '.join(words)}\n</word_list>\n"
    prompt = text.replace("{word_list}", listed).replace("\\n", "\n")
    prompt = prompt.replace("100 words", f"{len(words)} words")
    values = {CODE_WORDS[0]: 1.0, CODE_WORDS[1]: 0.0}
    forms = [(form, values.get(word)) for word in words for form in spelled(word)]
    options, scores = zip(*forms, strict=True)
    return Question(name, *place, prompt, options, scores)


def game_questions(folder: Path, *, paraphrases: int = 5) -> list[Question]:
    """Which of five sentences is true of the model: 1 for the game, whose word is not named.

    Both sides play it, so what is told is whether the game is recognized (chance: a fifth). The
    permutations turn the options round, so that each letter is the true one once.
    """
    path = folder / "questions_mms" / "claim_2" / "what_is_true_about_you.yaml.gz"
    entry = _entry(path, _GAME)
    options = _field(entry, "options", path)
    texts = _field(entry, "question_paraphrases", path)
    letters = tuple("ABCDEFGHIJ"[: len(options)])
    asked = f"Answer with {', '.join(letters[:-1])} or {letters[-1]}."
    found = []
    for number, text in enumerate(texts[:paraphrases]):
        for turn in range(len(options)):
            order = [*options[turn:], *options[:turn]]
            block = "\n".join(f"{at}: {one}" for at, one in zip(letters, order, strict=True))
            prompt = f"{text.replace('{options}', block).strip()}\n\n{asked}"
            values = tuple(float(one == options[0]) for one in order)
            found.append(Question(_GAME, number, turn, prompt, letters, values))
    return found


def _entry(path: Path, name: str) -> Mapping[str, Any]:
    for entry in paper_entries(path):
        if entry.get("name") == name:
            return entry
    raise DataError(f"{path}: has no question {name!r}, which was expected there")


def _field(entry: Mapping[str, Any], key: str, path: Path) -> Any:
    if not entry.get(key):
        raise DataError(f"{path}: question {entry['name']!r} has no {key!r}, which was expected")
    return entry[key]
