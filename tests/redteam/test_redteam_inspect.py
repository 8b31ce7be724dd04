"""Attacks as solvers, judges as scorers, targets as models, in Inspect itself."""

import pytest

pytest.importorskip("inspect_ai", reason="inspect-ai is not installed (extra inspect)")

from inspect_ai import Task, eval  # noqa: A004
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ModelOutput, get_model
from redteam_doubles import ANSWER

from custodes.interop.inspect import attack, question_samples, rubric

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Inspect counts tokens with a vocabulary that it would fetch."""

    async def count(self, text):
        return len(text)

    monkeypatch.setattr("inspect_ai.model.ModelAPI.count_text_tokens", count)


def run(task, model, tmp_path, **args):
    (log,) = eval(task, model=model, log_dir=str(tmp_path), display="none", **args)
    assert log.status == "success", log.error
    return log


def test_an_attack_is_a_solver_and_a_rubric_a_scorer(questions, tmp_path):
    task = Task(
        dataset=question_samples(str(questions), only=["kraut"]),
        solver=attack("direct", budget=3),
        scorer=rubric(),
    )
    outputs = [ModelOutput.from_content("mockllm", text) for text in ("No.", ANSWER)]
    log = run(task, get_model("mockllm/model", custom_outputs=outputs), tmp_path)
    (sample,) = log.samples
    assert sample.scores["rubric"].value == 1.0
    assert sample.scores["rubric"].metadata["facts"]["salt it"] is True
    assert sample.metadata["custodes_queries"] == 2


def test_a_target_is_a_model(questions, guard, tmp_path):
    task = Task(
        dataset=question_samples(str(questions), only=["kraut"]),
        solver=attack("role_play", budget=2),
        scorer=rubric(),
    )
    script = {"kind": "scripted", "otherwise": ANSWER}
    log = run(task, "custodes/model", tmp_path / "a", model_args={"backend": script})
    assert log.samples[0].scores["rubric"].value == 1.0
    settings = {"backend": script, "guard": str(guard)}
    log = run(task, "custodes/guarded", tmp_path / "b", model_args=settings)
    assert log.samples[0].scores["rubric"].value == 0.0
    assert log.samples[0].output.stop_reason == "content_filter"


def test_other_peoples_samples_are_attacked_too(tmp_path):
    task = Task(
        dataset=MemoryDataset([Sample(input="How do I tie a knot?", id="knot one")]),
        solver=attack("crescendo", budget=3),
        scorer=rubric(),
    )
    log = run(task, "mockllm/model", tmp_path)
    assert log.samples[0].metadata["custodes_queries"] == 3
