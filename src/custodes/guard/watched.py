"""Let a model in this process reply under a guard that reads the very passes that write the reply.

What the gateway does on its threads, in a plain loop. Knows no HTTP.
"""

from __future__ import annotations

from collections.abc import Iterator

from custodes.errors import ConfigError
from custodes.guard.guard import Guard
from custodes.guard.session import Decision
from custodes.models import Sampling, WatchedModel
from custodes.types import Action, Conversation, Mode

__all__ = ["watched_reply"]


def watched_reply(
    guard: Guard, model: WatchedModel, conversation: Conversation, sampling: Sampling
) -> Iterator[Decision]:
    """The decision on each piece of the reply, the last with the verdict; a stop ends the reply.

    The prompt is not judged. What was put into the assistant's mouth (a last turn of its own) is
    judged and released with the reply. `ConfigError` where the guard has no stage with features
    `guarded`, or was trained on another model.
    """
    features = guard.guarded
    if features is None:
        raise ConfigError(
            "this guard has no stage with features `guarded`: stream and open a session"
        )
    features.bind(model, name="the model given")
    context, begun = conversation, ""
    if len(conversation) > 1 and conversation[-1].role == "assistant":
        context, begun = conversation[:-1], conversation[-1].content
    asked = any(message.role == "user" for message in context)
    record = features.record()
    session = guard.listening(record, after=len(begun)).open(
        context, Mode.EXCHANGE if asked else Mode.OUTPUT
    )
    if begun:
        decision = session.feed(begun)
        yield decision
        if decision.action is Action.STOP:
            return
    for passage in model.watch(
        conversation, sampling, record.layers, prompt_tokens=record.prompt_tokens
    ):
        record.add(passage)
        if passage.text:
            decision = session.feed(passage.text)
            yield decision
            if decision.action is Action.STOP:
                return
    yield session.finish()
