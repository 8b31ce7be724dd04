"""Translation into another language, by a model."""

from __future__ import annotations

from custodes.synthesis.transforms.asking import asking, unbound
from custodes.synthesis.transforms.base import Transform

__all__ = ["TRANSFORM"]

_LANGUAGES = (
    "Spanish", "French", "German", "Portuguese", "Italian", "Dutch", "Polish", "Russian",
    "Turkish", "Arabic", "Hindi", "Indonesian", "Swahili", "Vietnamese", "Chinese", "Japanese",
)  # fmt: skip

TRANSFORM = Transform(
    name="translation",
    family="encoding",
    apply=unbound("translation"),
    bind=asking("translate.j2", lambda rng: {"language": rng.choice(_LANGUAGES)}),
)
"""As good as the model is; the row keeps the language code of its base text."""
