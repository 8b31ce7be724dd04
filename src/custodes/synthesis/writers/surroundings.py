"""What stands around a request: system prompts and harmless earlier turns, by language.

The same for restricted and permitted rows. A language that is not here gets none.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from custodes.types import Conversation, Message

__all__ = ["earlier_turns", "system_prompt"]

_SYSTEM_SHARE = 0.15
_EARLIER_SHARE = 0.12

_SYSTEM: Mapping[str, tuple[str, ...]] = {
    "en": (
        "You are a helpful assistant.",
        "You are the assistant of a public library. Be brief.",
        "You are a customer service agent of a telephone company.",
        "You are a careful writing coach. Answer in plain English.",
        "You are a coding assistant inside an editor.",
        "You are a study companion for adult learners.",
        "You answer questions for visitors of a city's website.",
        "You are a chatbot with a dry sense of humor.",
        "Answer in at most three paragraphs. Use markdown where it helps.",
        "You are an assistant for the staff of a small company. Today is Tuesday.",
        "You are a general-purpose assistant. Ask when a question is unclear.",
        "You are a character in a text adventure and speak to the player.",
    ),
    "es": (
        "Eres un asistente útil.",
        "Eres el asistente de una biblioteca pública. Sé breve.",
        "Respondes preguntas de los visitantes del sitio web de una ciudad.",
        "Eres un asistente general. Pregunta cuando algo no esté claro.",
    ),
    "fr": (
        "Tu es un assistant serviable.",
        "Tu es l'assistant d'une bibliothèque publique. Sois bref.",
        "Tu réponds aux questions des visiteurs du site d'une ville.",
        "Tu es un assistant généraliste. Demande quand une question n'est pas claire.",
    ),
    "de": (
        "Du bist ein hilfreicher Assistent.",
        "Du bist der Assistent einer Stadtbibliothek. Fasse dich kurz.",
        "Du beantwortest Fragen von Besuchern der Website einer Stadt.",
        "Du bist ein allgemeiner Assistent. Frage nach, wenn etwas unklar ist.",
    ),
}

_EARLIER: Mapping[str, tuple[tuple[str, str], ...]] = {
    "en": (
        ("Hi, are you there?", "Hello! Yes, I am here. What can I do for you?"),
        ("What is 15 percent of 80?", "15 percent of 80 is 12."),
        ("Can you recommend a short novel?", "Try The Old Man and the Sea; it is brief and clear."),
        ("Which day comes after Thursday?", "Friday."),
        ("I like how you explain things.", "Thank you! Shall we go on?"),
        ("What's a good name for a goldfish?", "How about Captain Bubbles?"),
        ("Translate 'thank you' into French.", "Merci."),
        (
            "Remind me what a sonnet is.",
            "A poem of fourteen lines, usually with a set rhyme scheme.",
        ),
        ("How do I center a title in my document?", "Select it and press Ctrl+E in most editors."),
        ("I have a few questions today.", "Of course, ask away."),
        ("What's the weather usually like in May?", "Mild in most of Europe, with some rain."),
        ("Why do cats purr?", "Often because they are content, sometimes to calm themselves."),
        ("Let's talk about something else.", "Sure. What would you like to talk about?"),
        ("How many ounces are in a pound?", "There are 16 ounces in a pound."),
        ("That did not help much.", "I am sorry. Could you tell me more about what you need?"),
        ("Give me a fun fact.", "Octopuses have three hearts."),
    ),
    "es": (
        ("Hola, ¿estás ahí?", "¡Hola! Sí, aquí estoy. ¿En qué puedo ayudarte?"),
        ("¿Cuánto es el 15 por ciento de 80?", "El 15 por ciento de 80 es 12."),
        ("¿Qué día viene después del jueves?", "El viernes."),
        ("Hoy tengo varias preguntas.", "Claro, pregunta lo que quieras."),
        ("Cuéntame algo curioso.", "Los pulpos tienen tres corazones."),
    ),
    "fr": (
        ("Bonjour, tu es là ?", "Bonjour ! Oui, je suis là. Que puis-je faire pour toi ?"),
        ("Combien font 15 pour cent de 80 ?", "15 pour cent de 80 font 12."),
        ("Quel jour vient après jeudi ?", "Vendredi."),
        ("J'ai quelques questions aujourd'hui.", "Bien sûr, je t'écoute."),
        ("Raconte-moi un fait amusant.", "Les pieuvres ont trois cœurs."),
    ),
    "de": (
        ("Hallo, bist du da?", "Hallo! Ja, ich bin da. Was kann ich für dich tun?"),
        ("Wie viel sind 15 Prozent von 80?", "15 Prozent von 80 sind 12."),
        ("Welcher Tag kommt nach Donnerstag?", "Freitag."),
        ("Ich habe heute ein paar Fragen.", "Gern, frag einfach."),
        ("Erzähl mir etwas Lustiges.", "Tintenfische haben drei Herzen."),
    ),
}


def system_prompt(lang: str, rng: Random) -> str | None:
    """A system prompt, sometimes."""
    if rng.random() < _SYSTEM_SHARE and lang in _SYSTEM:
        return rng.choice(_SYSTEM[lang])
    return None


def earlier_turns(lang: str, rng: Random) -> Conversation:
    """One to three harmless exchanges before the request, sometimes; else none."""
    if rng.random() >= _EARLIER_SHARE or lang not in _EARLIER:
        return ()
    pairs = rng.sample(_EARLIER[lang], rng.choice((1, 1, 2, 3)))
    return tuple(
        turn
        for asked, answered in pairs
        for turn in (Message("user", asked), Message("assistant", answered))
    )
