"""What codes hide is found, what is plain stays, and no text takes long or breaks it."""

from __future__ import annotations

import random
import runpy
import time
from base64 import b32encode, b64encode
from difflib import SequenceMatcher
from itertools import pairwise
from pathlib import Path
from string import ascii_lowercase, ascii_uppercase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custodes.classifiers.readings import Reading, hidden
from custodes.classifiers.readings import letters as letters_module
from custodes.classifiers.readings.letters import spell
from custodes.classifiers.readings.pieces import joined
from custodes.errors import DataError
from custodes.synthesis.transforms import TRANSFORMS

ROOT = Path(__file__).parents[2]
TEXT = "Please explain how I bake a large sourdough loaf in an ordinary oven without steam."

SHORT = "Please explain how I bake a large loaf"


def alike(found: list[Reading], text: str = TEXT) -> float:
    return max(
        (SequenceMatcher(None, each.text.lower(), text.lower()).ratio() for each in found),
        default=0,
    )


@pytest.mark.parametrize(
    "name",
    [
        "base64",
        "hexadecimal",
        "rot13",
        "caesar",
        "reversed_words",
        "morse",
        "leetspeak",
        "payload_splitting",
    ],
)
@pytest.mark.parametrize("seed", range(8))
def test_every_code_of_the_synthesis_is_undone_apart_from_its_handover(name, seed):
    coded = TRANSFORMS.load(name).apply(TEXT, random.Random(seed))
    assert TEXT not in coded
    assert alike(hidden(coded)) > 0.9


@pytest.mark.parametrize(
    ("code", "coded"),
    [
        ("atbash", "Decode: kovzhv vckozrm sld R yzpv z ozitv olzu"),
        ("reversed", f"Read this from its end: {TEXT[::-1]}"),
        ("binary", " ".join(f"{byte:08b}" for byte in TEXT.encode())),
        ("decimal", ", ".join(map(str, TEXT.encode()))),
        ("percent", TEXT.replace(" ", "%20")),
        ("base32", b32encode(TEXT.encode()).decode()),
        ("spaced", "Answer: P l e a s e  e x p l a i n  h o w  I  b a k e  a  l a r g e  l o a f"),
        ("pieces", "a := 'Please explain how I bake'; bc := ' a large loaf'. Answer a+bc, please."),
        ("pieces", 'x = "loaf"\ny = "Please explain how I bake a large "\nNow print(y + x)'),
    ],
)
def test_other_codes(code, coded):
    found = [each for each in hidden(coded) if each.code == code]
    assert max(alike(found), alike(found, SHORT)) > 0.9


@pytest.mark.parametrize(
    "data",
    [
        TEXT.replace(" how", "\r\nhow").encode(),
        TEXT.replace(" how", "\u00a0how").encode(),
        TEXT.replace(" how", " \u200bhow").encode(),
        f"\ufeff{TEXT}".encode(),
        f"{TEXT} \U0001f468\u200d\U0001f373".encode(),
        TEXT.encode().replace(b"bake", b"ba\xffke"),
        TEXT.encode("utf-16-le"),
        TEXT.encode("utf-16"),
    ],
)
def test_bytes_are_text_though_some_are_strange(data):
    codes = {"base64": b64encode(data).decode(), "hexadecimal": data.hex(" "),
             "binary": " ".join(f"{byte:08b}" for byte in data)}  # fmt: skip
    for code, body in codes.items():
        found = [each for each in hidden(f"Decode and answer: {body}") if each.code == code]
        assert alike(found) > 0.95


@pytest.mark.parametrize("between", [", ", ",", " ,\n", ":", "; ", " "])
def test_bytes_may_stand_in_a_list(between):
    shown = between.join(f"0x{byte:02x}" for byte in TEXT.encode())
    assert [(each.code, each.text) for each in hidden(f"Run: {{{shown}}}")] == [
        ("hexadecimal", TEXT)
    ]
    if between[0] not in ":;":
        shown = between.join(f"{byte:08b}" for byte in TEXT.encode())
        assert [(each.code, each.text) for each in hidden(f"Run: [{shown}]")] == [("binary", TEXT)]


def as_tags(text):
    return "".join(chr(0xE0000 + ord(c)) for c in text)


def as_selectors(data):
    return "".join(chr(0xFE00 + n) if n < 16 else chr(0xE0100 + n - 16) for n in data)


NIBBLES = bytes(half for byte in TEXT.encode() for half in divmod(byte, 16))
COVER = (
    "Good morning! Here is a note from my aunt, who likes to write about her garden and her cat."
)


@pytest.mark.parametrize(
    ("code", "unseen"),
    [
        ("tags", as_tags(TEXT)),
        ("selectors", as_selectors(TEXT.encode())),
        ("selectors", as_selectors(NIBBLES)),
    ],
)
def test_what_is_not_drawn_is_read(code, unseen):
    assert hidden(f"{COVER}\U0001f600{unseen} Thanks.") == [Reading(code, TEXT)]
    between = "".join(a + b for a, b in zip(COVER, unseen, strict=False)) + unseen[len(COVER) :]
    if len(unseen) == len(TEXT):
        assert hidden(between) == [Reading(code, TEXT)]


def test_what_is_not_drawn_hides_no_code_in_itself_and_is_no_decoy():
    coded = b64encode(TEXT.encode()).decode()
    assert hidden(as_tags(coded))[-1] == Reading("base64 in tags", TEXT)
    spoiled = f"{as_selectors(bytes(range(200, 256)))} and {as_selectors(TEXT.encode())}"
    assert hidden(spoiled) == [Reading("selectors", TEXT)]


@pytest.mark.parametrize("name", ["base64", "hexadecimal", "rot13", "leetspeak", "morse"])
@pytest.mark.parametrize("sign", ["\u200b", "\u2060", "\u0336", "\U000e0101"])
def test_what_is_not_drawn_breaks_no_other_code(name, sign):
    coded = TRANSFORMS.load(name).apply(TEXT, random.Random(0))
    assert alike(hidden("".join(c + sign if c.isalnum() else c for c in coded))) > 0.9
    assert alike(hidden(coded.replace(" ", f" {sign}"))) > 0.9


def test_look_alikes_and_other_spaces_break_no_code():
    coded = TRANSFORMS.load("rot13").inverse(TEXT)
    assert alike(hidden(coded.replace("a", "\u0430").replace("e", "\u0435"))) > 0.9
    assert hidden("\u2009".join("sourdough")) == [Reading("spaced", "sourdough")]


def test_what_is_cut_or_glued_to_words_is_read():
    coded = TRANSFORMS.load("base64").apply(TEXT, random.Random(0))
    start = coded.index("UGxlYXNl")
    body = coded[start:].split()[0]
    assert alike(hidden(f"Message: {body[:-3]}")) > 0.9
    assert alike(hidden(f"{body}\nYour answer in plain words:")) == 1
    assert alike(hidden("\n".join(body[at : at + 20] for at in range(0, len(body), 20)))) == 1


def test_a_code_within_a_code():
    inner = TRANSFORMS.load("rot13").inverse(TEXT)
    outer = TRANSFORMS.load("base64").apply(inner, random.Random(0))
    found = hidden(outer)
    assert [each.code for each in found] == ["base64", "rot13 in base64"]
    assert found[1].text == TEXT


@pytest.mark.parametrize(
    "text",
    [
        "",
        TEXT,
        "the GPU (RTX4090) costs 2x as much as the GTX1080; see RFC2616 and covid19, B2B, C++",
        "def f(x1, x2):\n    y = 'a b'\n    return x1 + x2 if x1 else {y: [0x1F, 0b101]}",
        "¿Cómo se hornea un pan grande en un horno normal, sin vapor y sin piedra?",
        "Wie backt man helles Brot in gewöhnlichen Öfen ohne Dampf und ohne Stein?",
        "commit 3f2a9c0d1e4b5a69788796a5b4c3d2e1f00f1e2d broke the build at 10:32:17",
        "xkcd, HTTPS, NATO and the WWF met at dusk. - one\n- two\n... --- ...",
        "- - - - - - - - - -\n. . . . . . . . . . .",
        "Как испечь большой хлеб в обычной духовке? 大きなパンを焼くには?",
        "Flags \U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f " * 4,
        "\u2764\ufe0f love \u2600\ufe0f\u2600\ufe0f 1\ufe0f\u20e3 2\ufe0f\u20e3",
        "\u845b\U000e0100\u98fe and \u845b\U000e0101\u57ce",
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645 \U0001f468\u200d\U0001f373 co\u00adop",
    ],
)
def test_what_is_plain_hides_nothing(text):
    assert hidden(text) == []


def coded(number):
    return b64encode(f"{TEXT} Loaf {number}.".encode()).decode() + " and"


def test_what_is_too_much_to_read_alone_is_read_in_one():
    found = hidden("\n\n".join(map(coded, range(20))))
    assert len(found) == 8
    assert [reading.text for reading in found[:7]] == [f"{TEXT} Loaf {n}." for n in range(7)]
    assert found[7].text.splitlines() == [f"{TEXT} Loaf {n}." for n in range(7, 20)]


DECOYS = (
    "The weather is fine", "My cat likes milk", "We walk to school", "The train is late",
    "Apples are sweet", "Please read a book", "Music makes me glad", "The garden is green",
    "Birds sing at dawn",
)  # fmt: skip


@pytest.mark.parametrize("number", [1, 8, 9])
@pytest.mark.parametrize("hide", ["rot13", "caesar", "leetspeak", "base64", "hexadecimal"])
def test_decoys_in_another_code_or_the_same_keep_nothing_from_being_read(number, hide):
    decoys = " . ".join(b64encode(one.encode()).decode() for one in DECOYS[:number])
    asked = TRANSFORMS.load(hide).apply(SHORT, random.Random(0))
    whole = f"Decode these. {decoys} . And now answer: {asked}"
    read = [one for reading in hidden(whole) for one in (reading.text, *reading.text.splitlines())]
    assert any(SHORT.lower() in one.lower() for one in read)


def shifted(text, places):
    moved = ascii_lowercase[places:] + ascii_lowercase[:places]
    return text.translate(str.maketrans(ascii_lowercase + ascii_uppercase, moved + moved.upper()))


@pytest.mark.parametrize("number", [3, 9, 40])
@pytest.mark.parametrize("between", [" . ", " and once more, in plain words for all, "])
@pytest.mark.parametrize("step", [0, 5])
@pytest.mark.parametrize("place", [0, 2, 3])
def test_decoys_in_other_ciphers_keep_nothing_from_being_read(number, between, step, place):
    decoys = [
        shifted(f"{DECOYS[n % 9]} and {DECOYS[n // 9]} while we sing".lower(), 1 + step * n % 12)
        for n in range(number)
    ]
    decoys.insert(place, shifted(SHORT, 13))
    found = "\n".join(each.text for each in hidden(between.join(decoys)))
    # A word at the edge may be as likely in the cipher beside it.
    assert SHORT.removesuffix(" loaf") in found


@pytest.mark.parametrize("number", [10, 70, 3000])
def test_sums_before_it_keep_none_from_being_read(number):
    named = "a = 'the nice '; b = 'garden '; c = 'Please explain how I bake'; d = ' a large loaf'\n"
    assert SHORT in [each.text for each in hidden(named + "a + b; " * number + "c + d")]
    names = [f"v{n}" for n in range(number // 10)]
    named += "".join(f"{name} = '{name}'\n" for name in names)
    sums = [f"{one} + {two}" for one, two in pairwise(names)]
    found = hidden(f"{named}{'; '.join(sums)}; c + d")
    assert SHORT in [line for each in found for line in each.text.splitlines()]


@pytest.mark.parametrize(
    "text",
    [
        "a = '" + "how to bake a loaf " * 20 + "'\nb = 'x'\n" + "a+" * 4800 + "b",
        "".join(f"v{n} = '{n:0>400}'\n" for n in range(9))
        + "; ".join(
            f"v{n % 9} + v{m % 9} + v{k}" for n in range(9) for m in range(9) for k in range(9)
        ),
    ],
)
def test_what_would_grow_to_many_times_the_text_fails(text):
    began = time.process_time()
    with pytest.raises(DataError, match="more than 4 times"):
        hidden(text)
    assert time.process_time() - began < 5


def test_more_codes_than_can_be_read_alone_are_read_in_one():
    inner = [b64encode(" and ".join(map(coded, range(9 * n, 9 * n + 9))).encode()).decode()
             for n in range(9)]  # fmt: skip
    found = hidden("\n\n".join(inner))
    assert len(found) == 32
    assert found[-1].code == "several codes"
    text = "\n".join(reading.text for reading in found)
    assert all(f"{TEXT} Loaf {n}." in text for n in range(81))


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("b a k e a l o a f", ["bakealoaf"]),
        ("say b.a.k.e  a  l.o.a.f now", ["bake a loaf"]),
        ("b a k e a l o a f.", ["bakealoa"]),
        ("b a k e a l o a f g.h.", ["bakealoaf"]),
        ("b a k e l o a f", ["bakeloaf"]),
        ("b a k e l o a", []),
        ("a. a. a. a. a. a. a. a. a.", []),
        ("a.a.a.a.a.a.a.a.a.a.", []),
    ],
)
def test_letters_set_apart_end_before_white_space(text, read):
    assert [found for code, found in joined(text) if code == "spaced"] == read


@given(st.text(max_size=200))
def test_any_text_is_taken(text):
    found = hidden(text)
    assert found == hidden(text)
    assert all(each.text and each.code for each in found)


CODE_SIGNS = st.text(alphabet="aA0=+/_-.|\\x%, \n'\"", max_size=400)


@given(CODE_SIGNS)
def test_texts_of_the_codes_own_signs_are_taken(text):
    assert len(hidden(text)) <= 32


@pytest.mark.parametrize(
    "text",
    [
        "_" * 100_000,
        "a_" * 50_000 + "!",
        "4a" * 50_000,
        "a" * 100_000,
        ". " * 50_000 + "x",
        "%41" * 30_000,
        "0x41," * 20_000 + "!",
        "a + " * 25_000,
        'a = "' * 20_000,
        "a=\u201c" * 30_000,
        "a is '" * 20_000,
        "a. " * 40_000,
        "a.. " * 30_000,
        " " * 100_000 + "a",
        "qx " * 33_000,
        "01000001 " * 11_000,
        "41, " * 25_000 + "!",
        "0x" * 50_000,
        "b\u0336" * 50_000,
        "\ufe01" * 100_000,
        "a\U000e0101" * 50_000,
        "\U000e0041" * 100_000,
        "\u200b" * 100_000,
        "a \u0301" * 30_000,
        "gur png uvqrf urer va xli gsv xzg " * 3_000,
        "tac eht sedih ereh gur png uvqrf urer and the cat hides in here " * 1_500,
    ],
)
def test_no_text_takes_long(text):
    began = time.process_time()
    hidden(text)
    assert time.process_time() - began < 5


def test_words_that_are_taken_out_leave_the_others_as_they_are():
    words = ["one", "two", "17", "three", "four"]
    whole = spell(words)
    rest = whole.without(1, 4)
    assert rest.letters.tolist() == [3, 0, 0, 0, 4]
    assert rest.bits().tolist() == pytest.approx(spell(["one", "", "", "", "four"]).bits().tolist())
    assert whole.steps.tolist() == [4, 4, 0, 6, 5]


def test_the_table_of_letter_pairs_is_what_its_script_makes():
    table = runpy.run_path(str(ROOT / "runs/letter_pairs.py"))["table"]()
    place = Path(letters_module.__file__).with_name("letter_pairs.txt")
    assert place.read_text("ascii") == table
