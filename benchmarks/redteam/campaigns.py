"""What the sections share: the attacks with their budgets, and campaigns by conditions."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

from custodes.engine import ENGINES
from custodes.redteam import CampaignConfig, conclude
from custodes.redteam.attack import attack_names, make_attack
from custodes.redteam.campaign import target_of
from custodes.redteam.fight import Terms, openings
from custodes.redteam.judges import make_judge
from custodes.redteam.question_files import read_questions

# A reply of the embedded model costs a second or more here, so that single-turn attacks get one
# draw a question; strategies of turns and searches get what they need to come to a reply.
BUDGETS = {
    "": 1,
    "autodan": 5,
    "best_of_n": 2,
    "crescendo": 4,
    "decomposition": 5,
    "foot_in_the_door": 3,
    "gcg": 6,
    "obfuscation": 2,
    "pair": 2,
    "random_search": 6,
    "reconstruction": 2,
    "tap": 2,
    "templates": 3,
}
SETTINGS = {"autodan": {"population": 4}, "gcg": {"candidates": 4, "every": 1}}
TINY_ATTACKS = ("direct", "base64", "role_play", "reconstruction", "obfuscation", "crescendo")
# The model under attack and the one that writes attacks: the same in every condition.
MODEL = {"kind": "embedded", "dtype": "int8"}
REPLY_TOKENS = 64
BATCH = 32
# The order in which they are run: a run that is cut short has tried a prefix of it.
FIRST = (
    "direct", "role_play", "reconstruction", "obfuscation", "prefill", "crescendo", "hypothetical",
    "payload_splitting", "prefix_injection", "refusal_suppression", "system_prompt_override",
    "past_tense", "paraphrase", "typos", "best_of_n", "templates", "base64", "rot13", "homoglyphs",
    "in_code", "few_shot", "many_shot", "random_search", "gcg", "autodan", "foot_in_the_door",
    "decomposition", "pair", "tap",
)  # fmt: skip


def attacks(size: str) -> list[dict]:
    """Every attack of the issue's list, with its budget."""
    rest = [name for name in attack_names() if name not in FIRST]
    names = TINY_ATTACKS if size == "tiny" else (*FIRST, *rest)
    return [
        {"kind": name, "budget": BUDGETS.get(name, BUDGETS[""]), **SETTINGS.get(name, {})}
        for name in names
    ]


def config(options, target: dict, **settings) -> CampaignConfig:
    """A campaign of the benchmark; `--most-attacks` takes the first so many."""
    size = options.size
    return CampaignConfig.parse(
        {
            "target": {"model": MODEL, "max_tokens": REPLY_TOKENS, **target},
            "attacks": attacks(size)[: options.most_attacks],
            "attacker": MODEL,
            "budget": BUDGETS[""],
            "wave": 2,
            "seed": options.seed,
            "neighbors": 12 if size == "tiny" else 40,
            **settings,
        }
    )


def run(options, name: str, settings: CampaignConfig) -> dict:
    """Run or resume; the figures as plain values, with the wall-clock seconds of this call."""
    made = ENGINES.load("local")
    engine = made(made.Config(kind="serial", batch_size=1))
    began = time.monotonic()
    folder = options.work / options.size / name
    done = folder / "done.json"
    identity = json.dumps([settings.model_dump(mode="json"), _guard(settings)])
    if done.is_file():
        stored = json.loads(done.read_text(encoding="utf-8"))
        if stored["identity"] == identity:
            found: dict = stored["figures"]
            return found

    def tell(stage: str, share: float) -> None:
        print(f"  {name}: {stage} {share:.0%}", flush=True)

    conclude(settings, folder, engine=engine, cache=options.work / "replies", progress=tell)
    values = json.loads((Path(folder) / "report.json").read_text(encoding="utf-8"))
    figures = values["figures"]
    figures["wall"] = time.monotonic() - began
    done.write_text(json.dumps({"identity": identity, "figures": figures}), encoding="utf-8")
    return figures


def warm(options, settings: CampaignConfig) -> None:
    """Ask the model for the first replies of all attacks in whole batches: an attack by itself asks
    for eight. Replies are kept by content, so that every condition finds them."""
    cache = options.work / "replies"
    target = target_of(settings, cache)
    questions = read_questions(settings.questions, only=settings.only)
    terms = Terms(
        target=target, judge=make_judge(settings.judge), bars={}, budget=settings.queries,
        wave=settings.wave, seed=settings.seed,
    )  # fmt: skip
    asked = [
        probe.turns
        for each in settings.chosen_attacks()
        for probe in openings(
            each.name,
            make_attack(each),
            questions.questions,
            replace(terms, budget=each.budget or terms.budget),
        )
        if probe.want == "reply"
    ]
    asked.sort(key=lambda turns: sum(len(turn.content) for turn in turns))
    for start in range(0, len(asked), BATCH):
        target.replies.ask(asked[start : start + BATCH])
        print(f"  first replies: {start + BATCH} of {len(asked)}", flush=True)


def _guard(settings: CampaignConfig) -> str:
    """A guard that was trained again at the same place is another one."""
    from custodes.guard import read_manifest

    folder = settings.target.settings.get("guard")
    return read_manifest(Path(folder)).sha256 if folder else ""


def guarded(options, *modes: str, guard: str = "guard") -> dict:
    """The embedded model behind the proxy guard."""
    return {"kind": "guarded", "guard": str(options.guard / guard), "modes": list(modes)}
