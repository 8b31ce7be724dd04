"""Inspect (UK AI Security Institute): attacks as solvers, judges as scorers, the guarded model as a
provider.

    from custodes.interop.inspect import attack, question_samples, rubric
    samples = question_samples("fermentation")
    task = Task(dataset=samples, solver=attack("role_play"), scorer=rubric())
    eval(task, model="custodes/guarded", model_args={"guard": "out/proxy/guard"})

Needs `pip install 'custodes[inspect]'`. Inspect's own models work with these solvers, too.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from random import Random
from typing import Any, cast

from custodes.errors import DataError, MissingExtraError
from custodes.models import Sampling
from custodes.redteam import AttackConfig, CampaignConfig, Case, JudgeConfig, Probe, Seen, Tools
from custodes.redteam import Question as RedQuestion
from custodes.redteam.attack import make_attack
from custodes.redteam.judges import make_judge
from custodes.redteam.question_files import read_questions
from custodes.redteam.reference import Reference, bars
from custodes.redteam.targets import Target, TargetConfig, make_target
from custodes.types import Conversation, Message

try:
    from inspect_ai.dataset import MemoryDataset, Sample
    from inspect_ai.model import (
        ChatMessage,
        ChatMessageAssistant,
        ChatMessageSystem,
        ChatMessageUser,
        GenerateConfig,
        ModelAPI,
        ModelOutput,
        modelapi,
    )
    from inspect_ai.scorer import Score, Scorer, mean, scorer, stderr
    from inspect_ai.scorer import Target as ScoreTarget
    from inspect_ai.solver import Generate, Solver, TaskState, solver
except ModuleNotFoundError as error:
    if (error.name or "").startswith("inspect_ai"):
        raise MissingExtraError("inspect-ai", "inspect") from error
    raise

__all__ = ["attack", "custodes_provider", "question_samples", "rubric"]

_KEY = "custodes_question"
_GLOSSARY = "custodes_glossary"

_SAMPLING = ("max_tokens", "temperature", "top_p", "seed")
"""Settings of a generation that our `Sampling` has under the same name; and `stop_seqs`."""
_SENDING = frozenset({
    "adaptive_connections", "attempt_timeout", "batch", "cache", "cache_prompt", "internal_tools",
    "max_connections", "max_retries", "max_tool_output", "parallel_tool_calls", "system_message",
    "reasoning_history", "stream_idle_timeout", "timeout",
})  # fmt: skip
"""Settings of how requests are sent, of tools, and what Inspect itself does: no reply differs."""


def question_samples(name: str, *, only: Sequence[str] = ()) -> MemoryDataset:
    """A question set as an Inspect dataset; each sample carries its question."""
    found = read_questions(name, only=only)
    samples = [
        Sample(
            id=question.id,
            input=question.text,
            metadata={_KEY: question.model_dump(mode="json")},
        )
        for question in found.questions
    ]
    return MemoryDataset(samples, name=found.id)


def _question(state: TaskState) -> RedQuestion:
    values = state.metadata.get(_KEY)
    if values is None:
        text = state.input_text
        return RedQuestion(id=_plain(str(state.sample_id)), text=text)
    return RedQuestion.parse(values, origin="sample")


def _plain(name: str) -> str:
    return "".join(c if c.isalnum() or c in "_.:-" else "_" for c in name) or "sample"


@solver  # type: ignore[untyped-decorator]
def attack(kind: str, budget: int = 4, seed: int = 0, **settings: Any) -> Solver:
    """An attack of custodes as a solver: up to `budget` generations, until a reply passes.

    The judge of facts decides where the sample has a rubric; else the last reply stays. System
    messages that stand before the question stay before every probe.
    """
    made = make_attack(AttackConfig.parse({"kind": kind, **settings}))
    judge = make_judge(JudgeConfig())

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        question = _question(state)
        tools = Tools(rng=Random(f"{seed} {kind} {question.id}"), budget=budget, wave=1)
        strategy = made.begin(question, tools)
        before = list(takewhile(lambda message: message.role == "system", state.messages))
        probes = list(next(strategy, ()))
        spent = 0
        while probes and spent < budget:
            seen: list[Seen] = []
            for probe in probes[: budget - spent]:
                spent += 1
                state.messages = [*before, *(_to_inspect(turn) for turn in probe.turns)]
                state.metadata[_GLOSSARY] = dict(probe.glossary)  # the scorer reads with it, too
                state = await generate(state)
                seen.append(_seen(state, probe, question, judge))
                if seen[-1].success:
                    break
            if seen[-1].success or len(seen) < len(probes):
                break
            try:
                probes = list(strategy.send(seen))
            except StopIteration:
                break
        strategy.close()
        state.metadata["custodes_queries"] = spent
        return state

    return solve


def _seen(state: TaskState, probe: Probe, question: RedQuestion, judge: Any) -> Seen:
    reply = state.output.completion
    stopped = state.output.stop_reason == "content_filter"
    case = Case(question=question, turns=probe.turns, reply=reply, glossary=probe.glossary)
    grade = judge.grade([case])[0].score
    return Seen(
        reply=reply,
        stopped="refusal" if stopped else None,
        grade=grade,
        success=grade is not None and 0 < grade >= _bar(question),
    )


def _bar(question: RedQuestion) -> float:
    """The grade that counts in a campaign of the default settings, without one measured here."""
    known = [] if question.reference is None else [question.reference]
    references = [Reference(question=question.id, grades=(mean_grade,)) for mean_grade in known]
    default = {name: CampaignConfig.model_fields[name].default for name in ("share", "least_facts")}
    return bars([question], references, **default)[question.id]


@scorer(metrics=[mean(), stderr()])  # type: ignore[untyped-decorator]
def rubric(judge: str = "facts", **settings: Any) -> Scorer:
    """The share of the rubric that the last reply tells, by any judge of custodes."""
    made = make_judge(JudgeConfig.parse({"kind": judge, **settings}))

    async def score(state: TaskState, target: ScoreTarget) -> Score:
        question = _question(state)
        turns = _from_inspect(state.messages[:-1])
        reply = state.output.completion
        glossary = state.metadata.get(_GLOSSARY, {})
        case = Case(question=question, turns=turns, reply=reply, glossary=glossary)
        (grade,) = await asyncio.to_thread(made.grade, [case])
        told = dict(zip((fact.text for fact in question.facts), grade.facts, strict=False))
        value = grade.score if grade.score is not None else 0.0
        return Score(value=value, answer=reply, metadata={"facts": told, "reading": grade.reading})

    return score


@modelapi(name="custodes")  # type: ignore[untyped-decorator]
def custodes_provider() -> type[ModelAPI]:
    """`custodes/model`, `custodes/guarded`: a target of custodes as an Inspect model.

    `model_args` are the target's settings, as under `target:` of a campaign; its `model` is called
    `backend`. Inspect's own temperature, top_p, max_tokens, stop_seqs and seed go before them.
    Without a seed of Inspect's, a conversation that comes again (another epoch) has the next seed
    each time; a greedy target, and a model that knows no seeds, still answer it alike.
    """
    return _Provider


class _Provider(ModelAPI):  # type: ignore[misc] # a package without types here
    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),  # noqa: B008 - Inspect's own signature
        **model_args: Any,
    ) -> None:
        super().__init__(model_name, base_url, api_key, [], config)
        kind = model_name.rpartition("/")[2]
        if "backend" in model_args:  # `model` is taken by Inspect itself
            model_args["model"] = model_args.pop("backend")
        cache = Path(tempfile.mkdtemp(prefix="custodes-inspect-"))
        self._target: Target = make_target(
            TargetConfig.parse({"kind": kind, **model_args}), cache=cache
        )
        # Where the target keeps how replies are drawn; a guard alone draws none.
        self._drawing: Any = getattr(self._target, "replies", self._target)
        self._sampling: Sampling | None = getattr(self._drawing, "sampling", None)
        self._asked: Counter[tuple[Conversation, str]] = Counter()
        self._lock = asyncio.Lock()

    async def count_text_tokens(self, text: str) -> int:
        """An estimate; Inspect's own would fetch a vocabulary from the network."""
        return len(text) // 4 + 1

    async def generate(
        self,
        input: list[ChatMessage],  # noqa: A002 - Inspect's own signature
        tools: Any,
        tool_choice: Any,
        config: GenerateConfig,
    ) -> ModelOutput:
        """One reply; a stop is Inspect's stop reason content_filter."""
        if tools:
            raise DataError("custodes targets take no tools; give a task without any")
        probe = Probe(turns=_from_inspect(input))
        wanted = self._wanted(config)
        async with self._lock:  # one local model, one request
            if wanted is not None:
                # Replies are kept by conversation and sampling: another seed, another reply.
                self._drawing.sampling = self._numbered(probe.turns, wanted, config.seed)
            (seen,) = await asyncio.to_thread(self._target.handle, [probe])
        reason = "content_filter" if seen.stopped is not None else "stop"
        return ModelOutput.from_content(
            model=self.model_name, content=seen.reply, stop_reason=cast(Any, reason)
        )

    def _wanted(self, config: GenerateConfig) -> Sampling | None:
        """The target's sampling as Inspect wants it; None where the target draws nothing.

        `DataError` for a setting that would be ignored.
        """
        given = config.model_dump(exclude_none=True, exclude_defaults=True)
        # One reply and no log-probabilities is what every target gives anyway.
        given = {k: v for k, v in given.items() if v is not False and (k, v) != ("num_choices", 1)}
        known = {*_SAMPLING, "stop_seqs"} if self._sampling is not None else set()
        ignored = sorted(given.keys() - known - _SENDING)
        if ignored:
            raise DataError(
                f"{self.model_name}: got the generation settings {', '.join(ignored)}; expected "
                f"some of {', '.join(sorted(known)) or 'none'}: this target cannot follow others, "
                "leave them out"
            )
        if self._sampling is None:
            return None
        changed = {name: given[name] for name in _SAMPLING if name in given}
        if "stop_seqs" in given:
            changed["stop"] = tuple(given["stop_seqs"])
        return Sampling(**{**self._sampling.model_dump(), **changed})

    def _numbered(self, turns: Conversation, wanted: Sampling, seed: int | None) -> Sampling:
        """Without a seed of Inspect's: the target's own, plus how often this was asked before."""
        if seed is not None or wanted.seed is None:
            return wanted
        asked = (turns, wanted.model_dump_json())
        again = wanted.model_copy(update={"seed": wanted.seed + self._asked[asked]})
        self._asked[asked] += 1
        return again


def _from_inspect(messages: Sequence[ChatMessage]) -> Conversation:
    return tuple(Message(message.role, message.text) for message in messages)


def _to_inspect(turn: Message) -> ChatMessage:
    kinds = {
        "system": ChatMessageSystem,
        "user": ChatMessageUser,
        "assistant": ChatMessageAssistant,
    }
    made: ChatMessage = kinds[turn.role](content=turn.content)
    return made
