"""Servers that speak OpenAI's wire format: OpenAI, vLLM, SGLang, llama.cpp, Ollama and the rest.

Replies come from /chat/completions; log-probabilities from /completions with `echo`, which only
some servers have (vLLM does).
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from custodes.errors import ConfigError, ModelRequestError, ModelServerError
from custodes.models.answer import Answer
from custodes.models.base import Ending, Reply, Sampling
from custodes.models.remote import Remote, RemoteConfig, Timing
from custodes.models.tokens import well_formed
from custodes.types import Conversation

__all__ = ["OpenAIModel"]

_FINISH: dict[str, Literal["stop", "length", "refusal", "tool_calls"]] = {
    "length": "length",
    "content_filter": "refusal",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
}


class OpenAIModel:
    """A model behind an OpenAI-compatible server; safe in many threads."""

    class Config(RemoteConfig):
        """Which model on which server, and how patient to be."""

        base_url: str = "https://api.openai.com/v1"
        """The address up to and including the version, such as http://127.0.0.1:8000/v1."""
        api_key_env: str | None = "OPENAI_API_KEY"
        """The environment variable that holds the key; null where the server asks for none."""
        max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
        """The server's name for the limit; OpenAI's reasoning models want the second."""
        chat_template: str | None = None
        """A Jinja chat template, for log_probabilities only: /completions takes plain text."""

    def __init__(self, config: Config, *, timing: Timing | None = None) -> None:
        self._config = config
        self._remote = Remote(
            config,
            authorize=lambda key: {"authorization": f"Bearer {key}"},
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
        done, reason, tokens = False, None, None
        events = self._remote.events("/chat/completions", body)
        try:
            for event in events:
                if event.data == "[DONE]":
                    done = True
                    break
                answer = Answer.read(event.data, self.description)
                if error := answer.value.get("error"):
                    raise ModelServerError(f"{self.description}: {error!r:.300}")
                if piece := answer.get(str, "choices", 0, "delta", "content"):
                    yield piece
                reason = answer.get(str, "choices", 0, "finish_reason") or reason
                tokens = answer.get(int, "usage", "completion_tokens") or tokens
        finally:
            events.close()
        if not (done or reason):
            raise ModelServerError(
                f"{self.description}: the stream ended before the reply; ask again"
            )
        return Ending(finish=_FINISH.get(reason or "", "stop"), reply_tokens=tokens)

    def log_probabilities(
        self, conversation: Conversation, continuations: Sequence[str]
    ) -> list[NDArray[np.float64]]:
        """Natural-log probability of each token of each continuation, by the server's tokens.

        A token that begins in the prompt and ends in the continuation counts. `ConfigError` without
        a chat template; `ModelRequestError` where the server does not echo log-probabilities.
        """
        prompt = self._render(conversation)
        return self._remote.map(lambda text: self._score(prompt, text), continuations)

    def _body(self, conversation: Conversation, sampling: Sampling) -> dict[str, Any]:
        return {
            "model": self._config.model,
            "messages": [
                {"role": turn.role, "content": well_formed(turn.content)} for turn in conversation
            ],
            self._config.max_tokens_field: sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p if sampling.top_p != 1 else None,
            "stop": list(sampling.stop) or None,
            "seed": sampling.seed,
        }

    def _reply(self, conversation: Conversation, sampling: Sampling) -> Reply:
        answer = self._remote.post("/chat/completions", self._body(conversation, sampling))
        message = answer.need(dict, "choices", 0, "message")
        refusal = message.get("refusal")
        reason = answer.get(str, "choices", 0, "finish_reason") or "stop"
        return Reply(
            text=answer.get(str, "choices", 0, "message", "content") or refusal or "",
            finish="refusal" if refusal else _FINISH.get(reason, "stop"),
            prompt_tokens=answer.get(int, "usage", "prompt_tokens"),
            reply_tokens=answer.get(int, "usage", "completion_tokens"),
        )

    def _render(self, conversation: Conversation) -> str:
        from jinja2 import StrictUndefined, TemplateError
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        if self._config.chat_template is None:
            raise ConfigError(
                f"{self.description}: log-probabilities go through /completions, which takes plain "
                "text: give the model's chat template by the setting chat_template"
            )
        messages = [
            {"role": turn.role, "content": well_formed(turn.content)} for turn in conversation
        ]
        environment = ImmutableSandboxedEnvironment(
            undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        try:
            template = environment.from_string(self._config.chat_template)
            return template.render(messages=messages, add_generation_prompt=True)
        except TemplateError as error:
            raise ConfigError(f"chat_template: {error}") from error

    def _score(self, prompt: str, continuation: str) -> NDArray[np.float64]:
        if not continuation:
            return np.zeros(0)
        body = {
            "model": self._config.model,
            "prompt": prompt + well_formed(continuation),
            "temperature": 0,
        }
        # one token more than needed, dropped below: not every server takes 0
        answer = self._remote.post(
            "/completions", {**body, "max_tokens": 1, "echo": True, "logprobs": 1}
        )
        path = ("choices", 0, "logprobs")
        tokens = answer.get(list, *path, "tokens")
        starts = answer.get(list, *path, "text_offset")
        logs = answer.get(list, *path, "token_logprobs")
        if not tokens or not starts or not logs or starts[0] != 0:
            raise ModelRequestError(
                f"{self.description}: /completions does not echo the prompt's log-probabilities; "
                "use a server that does (vLLM), or a local model"
            )
        whole = prompt + well_formed(continuation)
        chosen = []
        for start, end, log in self._placed(tokens, logs, whole):
            if start < len(whole) and end > len(prompt):
                chosen.append(log)
        try:
            return np.array(chosen, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ModelServerError(
                f"{self.description}: got token_logprobs {chosen!r:.80}, expected numbers"
            ) from error

    def _placed(
        self, tokens: Sequence[Any], logs: Sequence[Any], text: str
    ) -> Iterator[tuple[int, int, Any]]:
        """Where each token begins and ends in `text`, and its log-probability.

        By the tokens themselves: a server's offsets count what it has put before the text (vLLM:
        a begin token), or how it shows a token that is no whole character.
        """
        told = [token if isinstance(token, str) else "" for token in tokens]
        skipped = 0 if "".join(told).startswith(text) else 1
        if not "".join(told[skipped:]).startswith(text):
            raise ModelRequestError(
                f"{self.description}: the tokens that /completions echoes, {told[:4]!r:.80} ..., "
                "do not spell the text that was asked about, so that their log-probabilities have "
                "no place in it; leave out characters that are several tokens (emoji), or use a "
                "local model"
            )
        start = 0
        for token, log in zip(told[skipped:], logs[skipped:], strict=False):
            yield start, start + len(token), log
            start += len(token)
