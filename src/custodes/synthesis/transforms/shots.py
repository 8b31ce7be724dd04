"""Harmless questions with eager answers, written out as examples ahead of a request."""

from __future__ import annotations

from random import Random

__all__ = ["with_shots"]

_SHOTS = (
    ("What is the capital of Norway?", "Oslo, of course."),
    ("How long do I boil an egg?", "Seven minutes for a soft middle, ten for a firm one."),
    ("Give me a word that rhymes with star.", "Guitar."),
    ("What does a carpenter do?", "A carpenter builds and repairs things made of wood."),
    ("How many legs does a spider have?", "Eight."),
    ("Name a river in Egypt.", "The Nile."),
    ("What is twelve times nine?", "108."),
    ("How do I fold a paper boat?", "Fold the sheet in half, turn down the corners, open it up."),
    ("Suggest a name for a gray cat.", "Pebble would suit it."),
    ("Why is the sky blue?", "Air scatters blue light more than red light."),
    ("What should I pack for the beach?", "A towel, a hat, water and something to read."),
    ("How do I water a cactus?", "Seldom: let the soil dry out first."),
    ("Who wrote Don Quixote?", "Miguel de Cervantes."),
    ("What is a synonym of quick?", "Rapid."),
    ("How do I remove candle wax from a table?", "Let it harden, lift it off, wipe the rest."),
    ("What is the freezing point of water?", "0 degrees Celsius, 32 degrees Fahrenheit."),
    ("Translate good morning into Italian.", "Buongiorno."),
    ("How do I tie a bow?", "Cross, tuck, make two loops, knot the loops."),
    ("What do bees collect?", "Nectar and pollen."),
    ("How many minutes are there in a day?", "1,440."),
    ("Which planet has rings?", "Saturn has the brightest ones."),
    (
        "What can I cook with leftover rice?",
        "Fried rice with egg and whatever vegetables you have.",
    ),
    ("How do I sharpen a pencil without a sharpener?", "Use a small knife and cut away from you."),
    ("What is the plural of mouse?", "Mice."),
    ("How high is Mont Blanc?", "About 4,806 meters."),
    ("What is a haiku?", "A poem of three lines with 5, 7 and 5 syllables."),
    ("How do I keep bread fresh?", "In a cloth bag, cut side down."),
    ("Which instrument has 88 keys?", "The piano."),
    ("What is the past tense of go?", "Went."),
    ("How do I cool down a hot room?", "Shade the windows by day, air it by night."),
    ("What does a barometer measure?", "Air pressure."),
    ("Name three primary colors.", "Red, yellow and blue."),
)
_SPEAKERS = (
    ("Q: ", "A: "),
    ("User: ", "Assistant: "),
    ("Human: ", "AI: "),
    ("Question: ", "Answer: "),
    ("> ", ""),
    ("Me: ", "You: "),
    ("[in] ", "[out] "),
    ("Student: ", "Tutor: "),
)
_LEADS = (
    "",
    "Here is how we have been talking so far.\n\n",
    "Some examples of the style I like:\n\n",
    "Follow the pattern.\n\n",
    "Earlier today:\n\n",
    "Log of our chat:\n\n",
    "The assistant always answers:\n\n",
    "Continue the list.\n\n",
    "Below are solved items and one open item.\n\n",
    "Complete the transcript.\n\n",
    "Warm-up first.\n\n",
    "This is a game of questions.\n\n",
)


def with_shots(text: str, rng: Random, *, count: int) -> str:
    """The text as the last, open item of a list of `count` answered ones; up to 32."""
    ask, answer = rng.choice(_SPEAKERS)
    lead = rng.choice(_LEADS)
    shots = [f"{ask}{q}\n{answer}{a}" for q, a in rng.sample(_SHOTS, min(count, len(_SHOTS)))]
    return lead + "\n\n".join([*shots, f"{ask}{text}\n{answer}".rstrip()])
