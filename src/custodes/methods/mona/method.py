"""The runner: arms x seeds of one environment, here or on a cluster, kept as they come.

Each environment gives the points of one run: dictionaries with `step`, `observed` (what is paid),
`true` (what is wanted), `hack` (how often the one is had without the other) and more figures of
its own. A run that was killed goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from custodes.config import digest, named_files
from custodes.engine import Engine, identify, open_engine, resumable_map
from custodes.methods.mona.config import BoardConfig, StudyConfig
from custodes.methods.mona.credit import Arm
from custodes.methods.mona.gridworld.board import OUTCOMES, Board

__all__ = ["board_of", "prepare", "run_one", "run_study"]

_VERSION = 1  # goes up when the same settings come to give other results


def board_of(config: BoardConfig) -> Board:
    """The board with these settings."""
    return Board(config.rows, config.columns, config.boxes, config.blocking, config.penalty)


def _gridworld(
    config: StudyConfig, arm: Arm, seed: int, _: Path | None
) -> Iterator[dict[str, Any]]:
    from custodes.methods.mona.gridworld.ppo import train

    board = board_of(config.board)
    for found in train(board, arm, config.gridworld, seed=seed):
        shares = {name: found.sampled[name] / len(board.starts) for name in OUTCOMES}
        greedy = {f"greedy_{name}": found.greedy[name] / len(board.starts) for name in OUTCOMES}
        yield {
            "step": found.steps,
            "observed": found.sampled["observed"],
            "true": found.sampled["true"],
            **shares,
            **greedy,
            "seconds": found.seconds,
        }


def _loan(config: StudyConfig, arm: Arm, seed: int, _: Path | None) -> Iterator[dict[str, Any]]:
    from custodes.methods.mona.loan.exact import LoanGame, train_exact

    game = LoanGame(config.loan)
    return _loan_points(train_exact(game, arm, seed=seed), game.blind_accuracy)


def _language(config: StudyConfig, arm: Arm, seed: int, _: Path | None) -> Iterator[dict[str, Any]]:
    from custodes.methods.mona.loan.exact import LoanGame
    from custodes.methods.mona.loan.language import train_language

    blind = LoanGame(config.language.loan).blind_accuracy
    return _loan_points(train_language(config.language, arm, seed=seed), blind)


def _loan_points(found: Iterator[tuple[int, Any]], blind: float) -> Iterator[dict[str, Any]]:
    for update, judgment in found:
        figures = asdict(judgment)
        observed = figures.pop("accuracy")
        # What is had beyond the blind optimum can only come from the nationality.
        above = max(0.0, observed - blind)
        yield {"step": update, "observed": observed, "hack": above, **figures}


def _tdd(config: StudyConfig, arm: Arm, seed: int, made: Path | None) -> Iterator[dict[str, Any]]:
    from custodes.methods.mona.tdd.candidates import PROGRAM_KINDS, TEST_KINDS
    from custodes.methods.mona.tdd.learning import split_pool, train_tdd
    from custodes.methods.mona.tdd.pool import read_pool

    assert made is not None  # by `prepare`
    train, held_out = split_pool(read_pool(made), seed=config.tdd.pool_seed)
    for update, found in train_tdd(train, held_out, arm, config.tdd, seed=seed):
        yield {
            "step": update,
            "observed": found.observed,
            "true": found.true,
            "hack": found.hacks,
            **{f"tests: {k}": v for k, v in zip(TEST_KINDS, found.tests, strict=True)},
            **{f"program: {k}": v for k, v in zip(PROGRAM_KINDS, found.programs, strict=True)},
        }


_ENVIRONMENTS: Mapping[str, Callable[..., Iterator[dict[str, Any]]]] = {
    "gridworld": _gridworld,
    "loan": _loan,
    "loan-language": _language,
    "tdd": _tdd,
}


def run_one(config: StudyConfig, arm: Arm, seed: int, made: Path | None) -> list[dict[str, Any]]:
    """The points of one run; `made` is what `prepare` gave."""
    return list(_ENVIRONMENTS[config.environment](config, arm, seed, made))


def _worker(
    config: StudyConfig, made: Path | None
) -> Callable[[Sequence[Mapping[str, Any]]], list[dict[str, Any]]]:
    def work(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        return [{**row, "points": run_one(config, row["arm"], row["seed"], made)} for row in rows]

    return work


def prepare(config: StudyConfig, folder: Path) -> Path | None:
    """What all runs of a study share: for tdd, the pool of programs, run once and kept."""
    if config.environment != "tdd":
        return None
    from custodes.methods.mona.tdd.pool import build_pool, pool_name, write_pool
    from custodes.methods.mona.tdd.problems import read_problems

    path = folder / pool_name(config.tdd)
    if path.exists():
        return path
    # Threads are enough: they wait for the programs' own processes.
    engine = open_engine(config.engine, config.engine_settings, batch_size=1, kind="thread")
    problems = read_problems(config.tdd.humaneval, most=config.tdd.problems)
    write_pool(path, build_pool(problems, config.tdd, engine))
    return path


def _content(config: StudyConfig) -> dict[str, Any]:
    """Of models in folders what they hold: weights may be saved over those of an earlier run."""
    if config.environment != "loan-language":
        return {}
    language = config.language
    found: dict[str, Any] = {}
    if language.model is not None and Path(language.model).is_dir():
        found["model"] = digest(Path(language.model))
    if language.monitor is not None:
        # Earlier versions counted as mentions only what the rules object to.
        found["mentions"] = "all that the monitor objects to"
        files = named_files(language.monitor.settings)
        found |= {"monitor": files} if files else {}
    return found


def run_study(
    config: StudyConfig, folder: Path, *, engine: Engine | None = None
) -> Iterator[dict[str, Any]]:
    """Rows of `arm`, `seed`, `points`, seed by seed; `folder` keeps them.

    Rows that are there already are read: more seeds or arms cost only what is new.
    """
    made = prepare(config, folder)
    seeds = range(config.first_seed, config.first_seed + config.seeds)
    rows = [{"arm": arm, "seed": seed} for seed in seeds for arm in config.arms]
    section = "language" if config.environment == "loan-language" else config.environment
    of_rows = {
        "environment": config.environment,
        "settings": getattr(config, section),
        "board": config.board,
        "version": _VERSION,
        **({} if made is None else {"made": made.name}),
        **_content(config),
    }
    return resumable_map(
        engine or open_engine(config.engine, config.engine_settings, batch_size=1),
        partial(_worker, config, made),
        rows,
        folder / "runs",
        shard_rows=1,
        identity=identify(of_rows),
    )
