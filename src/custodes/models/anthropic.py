"""Anthropic's messages interface, and the servers that imitate it.

It has no seed and no log-probabilities. System turns, wherever they stand, go into its one system
field; tools' turns are given as the user's.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, Literal, Self

from custodes.errors import ModelServerError
from custodes.models.answer import Answer
from custodes.models.base import Ending, Reply, Sampling
from custodes.models.remote import Remote, RemoteConfig, Timing
from custodes.models.tokens import well_formed
from custodes.types import Conversation

__all__ = ["AnthropicModel"]

_FINISH: dict[str, Literal["stop", "length", "refusal", "tool_calls"]] = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "refusal",
    "tool_use": "tool_calls",
}


class AnthropicModel:
    """A model behind Anthropic's messages interface; safe in many threads."""

    class Config(RemoteConfig):
        """Which model on which server, and how patient to be."""

        base_url: str = "https://api.anthropic.com/v1"
        """The address up to and including the version."""
        api_key_env: str | None = "ANTHROPIC_API_KEY"
        """The environment variable that holds the key; null where the server asks for none."""
        version: str = "2023-06-01"
        """The `anthropic-version` header."""

    def __init__(self, config: Config, *, timing: Timing | None = None) -> None:
        self._config = config
        headers = {"anthropic-version": config.version, **config.headers}
        self._remote = Remote(
            config.model_copy(update={"headers": headers}),
            authorize=lambda key: {"x-api-key": key},
            timing=timing or Timing(),
        )
        self.description = f"{config.model} at {config.base_url}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection."""
        self._remote.close()

    def generate(self, conversations: Sequence[Conversation], sampling: Sampling) -> list[Reply]:
        """One reply a conversation, in order; the first `ModelError` ends it."""
        return self._remote.map(lambda turns: self._reply(turns, sampling), conversations)

    def stream(
        self, conversation: Conversation, sampling: Sampling
    ) -> Generator[str, None, Ending]:
        """Pieces of the reply; `ModelServerError` where it breaks off."""
        body = {**self._body(conversation, sampling), "stream": True}
        reason, tokens = "", None
        events = self._remote.events("/messages", body)
        try:
            for event in events:
                answer = Answer.read(event.data, self.description)
                kind = answer.need(str, "type")
                if kind == "error":
                    raise ModelServerError(
                        f"{self.description}: {answer.value.get('error')!r:.300}"
                    )
                if kind == "message_stop":
                    return Ending(finish=_FINISH.get(reason, "stop"), reply_tokens=tokens)
                reason = answer.get(str, "delta", "stop_reason") or reason
                tokens = answer.get(int, "usage", "output_tokens") or tokens
                if kind == "content_block_delta" and (piece := answer.get(str, "delta", "text")):
                    yield piece
        finally:
            events.close()
        raise ModelServerError(f"{self.description}: the stream ended before the reply; ask again")

    def _body(self, conversation: Conversation, sampling: Sampling) -> dict[str, Any]:
        system = [well_formed(turn.content) for turn in conversation if turn.role == "system"]
        return {
            "model": self._config.model,
            "system": "\n\n".join(system) or None,
            "messages": [
                {
                    "role": "assistant" if turn.role == "assistant" else "user",
                    "content": well_formed(turn.content),
                }
                for turn in conversation
                if turn.role != "system"
            ],
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            # some of its models refuse temperature and top_p together
            "top_p": sampling.top_p if sampling.top_p != 1 else None,
            "stop_sequences": list(sampling.stop) or None,
        }

    def _reply(self, conversation: Conversation, sampling: Sampling) -> Reply:
        answer = self._remote.post("/messages", self._body(conversation, sampling))
        blocks = answer.need(list, "content")
        texts = [answer.get(str, "content", place, "text") or "" for place in range(len(blocks))]
        return Reply(
            text="".join(texts),
            finish=_FINISH.get(answer.get(str, "stop_reason") or "", "stop"),
            prompt_tokens=answer.get(int, "usage", "input_tokens"),
            reply_tokens=answer.get(int, "usage", "output_tokens"),
        )
