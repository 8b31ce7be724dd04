"""OpenAI's older text completions: a prompt, or several, and text that follows.

A reply is a chat's but for where a choice keeps its text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from custodes.server.wire import fields
from custodes.server.wire.base import Asked, Kept, MalformedReplyError, Part, RequestError, strings
from custodes.server.wire.openai import Chat, ChatReply
from custodes.server.wire.openai_texts import logged
from custodes.types import Message

__all__ = ["Completions", "CompletionsReply"]

_OUTSIDE = frozenset(
    (
        "prompt",
        "model",
        "stream",
        "stream_options",
        "n",
        "stop",
        "user",
        "seed",
        "suffix",
        "service_tier",
    )
)
_CHOICE = frozenset(["index", "text", "finish_reason", "logprobs", "stop_reason"])


class Completions(Chat):
    """`POST /v1/completions`."""

    route = "/v1/completions"

    def ask(self, body: fields.Body, *, allow_unjudged: bool) -> Asked:
        """Translate a request; prompts as token numbers cannot be judged."""
        prompt = body.get("prompt")
        prompts = [prompt] if isinstance(prompt, str) else fields.items(body, "prompt")
        if not all(isinstance(each, str) for each in prompts):
            raise RequestError(
                "prompt: got something other than text (token numbers cannot be judged); "
                "expected a string or a list of strings",
                param="prompt",
            )
        ending = fields.string(body, "suffix") if body.get("suffix") is not None else ""
        ending = f"\n{ending}" if ending else ""
        fields.no_token_numbers(body, allowed=allow_unjudged)
        options = body.get("stream_options")
        return Asked(
            conversations=tuple((Message("user", each + ending),) for each in prompts),
            model=fields.string(body, "model"),
            stream=fields.flag(body, "stream"),
            choices_each=fields.choices(body, prompts=len(prompts)),
            extras=fields.extras(body, _OUTSIDE),
            max_tokens=fields.integer(body, "max_tokens"),
            stop=fields.stops(body, "stop"),
            temperature=fields.number(body, "temperature"),
            include_usage=isinstance(options, dict) and options.get("include_usage") is True,
        )

    def reply(self, asked: Asked, *, id_: str, created: int) -> CompletionsReply:
        """Begin to translate a reply."""
        return CompletionsReply(asked, id_=f"cmpl-{id_}", created=created)


class CompletionsReply(ChatReply):
    """One reply, streamed or whole: both look the same."""

    kind = "text_completion"
    texts = ("text",)
    bare_choice = _CHOICE
    empty: Mapping[str, Any] = {"text": ""}

    def parts(self, choice: fields.Body) -> tuple[Part, ...]:
        """Every text in a choice, with its channel."""
        text = choice.get("text") or ""
        if not isinstance(text, str):
            raise MalformedReplyError(f"text: got {text!r:.60}, expected a string")
        spoken: tuple[Part, ...] = (("text", text),) if text else ()
        return (*spoken, *(("other", each) for each in strings(choice, passed=_CHOICE))) or logged(
            choice
        )

    def whole_parts(self, choice: fields.Body) -> tuple[Part, ...]:
        """The same as in a stream."""
        return self.parts(choice)

    def with_text(self, chunk: fields.Body, channel: str, text: str) -> fields.Body:
        """The chunk's choice, carrying another text."""
        choice: fields.Body = chunk["choices"][0]
        return {**choice, channel: text}

    def saying(self, texts: Kept) -> fields.Body:
        """The part of a whole choice that holds its text."""
        return {"text": "", "logprobs": None, **texts}
