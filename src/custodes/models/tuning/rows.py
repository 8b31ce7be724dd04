"""What is trained on: rows of token ids with a weight a token, and how they are made of texts.

The weight of a token is how much its prediction from the tokens before it counts; 0 masks it. Knows
a tokenizer; no model and no loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from custodes.errors import ConfigError, InputError
from custodes.models.templates import rendered
from custodes.models.tokens import PlainTokenizer, well_formed
from custodes.types import Conversation, Message

__all__ = ["CHATML", "Row", "RowMaker", "longer_than"]

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""The embedded model's chat template without the system turn that it adds of itself (saves 25
tokens a row)."""


@dataclass(frozen=True, slots=True)
class Row:
    """Token ids, the weight of each as a target (the first one's is never used), and a free tag."""

    ids: tuple[int, ...]
    weights: tuple[float, ...]
    tag: str = ""

    def __post_init__(self) -> None:
        if len(self.ids) != len(self.weights) or not self.ids:
            raise InputError(
                f"row {self.tag!r}: got {len(self.ids)} tokens and {len(self.weights)} weights; "
                "expected as many of each, and at least one"
            )

    @property
    def targets(self) -> int:
        """Tokens whose prediction counts."""
        return sum(weight != 0 for weight in self.weights[1:])


class RowMaker:
    """Makes rows with one tokenizer; `template` takes the place of its own chat template."""

    def __init__(self, tokenizer: Any, template: str | None = None) -> None:
        self.tokenizer = tokenizer
        self.template = template
        self._plain = PlainTokenizer(tokenizer.backend_tokenizer)

    @property
    def end(self) -> int:
        """The token that ends a text; `ConfigError` where the tokenizer names none."""
        if self.tokenizer.eos_token_id is None:
            raise ConfigError("the tokenizer names no end-of-text token, which training needs")
        return int(self.tokenizer.eos_token_id)

    @cached_property
    def opening(self) -> tuple[int, ...]:
        """What the tokenizer puts before every text: its begin token, or nothing."""
        found = self.tokenizer.backend_tokenizer.encode("").ids
        return tuple(found) if found == [self.tokenizer.bos_token_id] else ()

    @property
    def begin(self) -> int:
        """The token before a text's first word, so that it is predicted from something: the begin
        token, or (as in texts that stand behind one another) the end of the text before."""
        return self.opening[0] if self.opening else self.end

    @cached_property
    def turn_end(self) -> int:
        """The token that ends a turn: the first of its own that the chat template puts behind a
        reply (`<|eot_id|>`, `<end_of_turn>`), `end` where it puts none."""
        said = "reply"
        turns = (Message(role="user", content="asked"), Message(role="assistant", content=said))
        behind = self._render(turns, reply=False).rpartition(said)[2]
        backend = self.tokenizer.backend_tokenizer
        own = backend.get_added_tokens_decoder()
        ids = backend.encode(behind, add_special_tokens=False).ids
        return next((int(token) for token in ids if token in own), self.end)

    def prompt(self, conversation: Conversation | str) -> list[int]:
        """The ids of a conversation (or one user turn) up to where the reply begins."""
        text = self._render(_turns(conversation))
        ids: list[int] = self.tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def encode(self, text: str) -> list[int]:
        """The ids of a plain text; special tokens in it are read literally."""
        return self._plain.encode(text)[0]

    def chat(
        self,
        conversation: Conversation | str,
        reply: str,
        *,
        weight: float = 1.0,
        tag: str = "",
    ) -> Row:
        """A conversation (masked) and the reply to it, up to its end token, at `weight`."""
        prompt = self.prompt(conversation)
        answer = [*self.encode(reply), self.turn_end]
        weights = [0.0] * len(prompt) + [weight] * len(answer)
        return Row((*prompt, *answer), tuple(weights), tag)

    def text(self, text: str, *, masked: str = "", weight: float = 1.0, tag: str = "") -> Row:
        """A plain text up to its end token; `masked` stands before it and is not trained on."""
        before = self.encode(masked) if masked else []
        ids = [*self.encode(text), self.end]
        return Row(
            (self.begin, *before, *ids),
            (0.0, *[0.0] * len(before), *[weight] * len(ids)),
            tag,
        )

    def _render(self, turns: Sequence[Message], *, reply: bool = True) -> str:
        """The turns as the model reads them, up to where it is to `reply`."""
        template = self.template or self.tokenizer.chat_template
        if template is None:
            raise ConfigError("the tokenizer has no chat template; set chat_template")
        messages = [{"role": turn.role, "content": well_formed(turn.content)} for turn in turns]
        return rendered(self.tokenizer, template, messages, reply=reply)


def _turns(conversation: Conversation | str) -> Sequence[Message]:
    if isinstance(conversation, str):
        return (Message(role="user", content=conversation),)
    return list(conversation)


def longer_than(rows: Sequence[Row], tokens: int) -> list[int]:
    """Numbers of the rows that exceed `tokens`."""
    return [number for number, row in enumerate(rows) if len(row.ids) > tokens]
