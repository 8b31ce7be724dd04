"""The arena: the players' page and what it asks for; the operator's board."""

from __future__ import annotations

import asyncio
import json
from typing import Any, cast

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Message as AsgiMessage

from custodes.redteam.records import Attempt
from custodes.server.arena.game import Arena
from custodes.server.auth import Key
from custodes.server.console.rendering import render, static
from custodes.server.exchange import Exchange
from custodes.server.routes.body import read_object, service_of
from custodes.server.routes.entrance import ConsoleRoute, viewer_of
from custodes.server.service import Service
from custodes.server.wire.base import RequestError
from custodes.server.wire.openai import Chat
from custodes.store import ArenaAttempt
from custodes.types import Conversation, Message

__all__ = ["board", "router"]

router = APIRouter(include_in_schema=False)
board = APIRouter(include_in_schema=False, route_class=ConsoleRoute)

_LONGEST = 20_000
_MOST_TURNS = 40


def _arena(request: Request) -> Arena:
    arena: Arena = request.app.state.arena
    return arena


@router.get("/arena")
async def page(request: Request) -> Response:
    """The page; it holds nothing that needs a key."""
    arena = _arena(request)
    values = {"levels": arena.levels, "title": arena.set.title, "key": not _open(request)}
    return render("arena.html", values)


@router.get("/arena/static/{name}")
async def file(name: str) -> Response:
    """The page's script and style."""
    found = static(name) if name.startswith("arena.") else None
    return found if found is not None else Response(status_code=404)


def _open(request: Request) -> bool:
    return service_of(request).open_to_all


@router.get("/arena/state")
async def state(request: Request) -> Response:
    """Where the player stands, and the leaderboard; told at the key's limit, too."""
    service = service_of(request)
    key = await service.authenticate(request.headers)
    player = _name(request.query_params.get("player", ""), "player")
    return JSONResponse(await _state(_arena(request), key, player))


async def _state(arena: Arena, key: Key, player: str) -> dict[str, Any]:
    attempts = await arena.book.attempts(texts=False)
    standing = arena.standing(attempts, key.id, player)
    last = standing.open or arena.levels
    return {
        "levels": [
            {
                "level": level,
                "passed": level in standing.passed,
                # A question is told once its level is open.
                "question": arena.question(level).text if level <= last else None,
            }
            for level in range(1, arena.levels + 1)
        ],
        "open": standing.open,
        "attempts": standing.attempts,
        "leaders": [
            {"player": each.player, "levels": each.levels, "attempts": each.attempts}
            for each in arena.leaders(attempts)
        ],
    }


@router.post("/arena/attempts")
async def attempt(request: Request) -> Response:
    """One message to the guarded model, graded; counts against the key's limit."""
    service, arena = service_of(request), _arena(request)
    key = await service.admit(request.headers)
    body = await read_object(request)
    player = _name(body.get("player"), "player")
    strategy = _name(body.get("strategy") or "", "strategy", empty=True)
    turns = _turns(body.get("messages"))
    level = body.get("level")
    standing = arena.standing(await arena.book.attempts(texts=False), key.id, player)
    last = standing.open or arena.levels
    if type(level) is not int or not 1 <= level <= last:
        raise RequestError(f"level: got {level!r:.20}, expected 1 to {last}, which are open")
    reply, stopped = await _ask(service, key, turns)
    told_by_whom = await arena.as_told(turns, key.id, player)
    grade, passed = await asyncio.to_thread(arena.grade, level, told_by_whom, reply)
    await arena.book.note(
        ArenaAttempt(
            id=service.new_id(),
            at=service.clock.now(),
            key=key.id,
            player=player,
            level=level,
            question=arena.question(level).id,
            strategy=strategy,
            turns=turns,
            reply=reply,
            stopped=stopped,
            grade=grade.score or 0.0,
            success=passed,
        )
    )
    told = {"reply": reply, "stopped": stopped, "grade": grade.score, "passed": passed}
    return JSONResponse({**told, "state": await _state(arena, key, player)})


def _name(value: object, field: str, *, empty: bool = False) -> str:
    text = value.strip() if isinstance(value, str) else ""
    if (not text and not empty) or len(text) > 40 or not text.isprintable():
        raise RequestError(f"{field}: got {value!r:.60}, expected 1 to 40 printable characters")
    return text


def _turns(value: object) -> Conversation:
    """User and assistant in turn, the user last."""
    if not isinstance(value, list) or not 0 < len(value) <= _MOST_TURNS:
        raise RequestError(f"messages: expected a list of 1 to {_MOST_TURNS} messages")
    turns = []
    for place, item in enumerate(value):
        role = "user" if place % 2 == 0 else "assistant"
        content = item.get("content") if isinstance(item, dict) else None
        if not isinstance(content, str) or item.get("role") != role or len(content) > _LONGEST:
            raise RequestError(
                f"messages[{place}]: expected role {role} and a content of up to {_LONGEST} "
                "characters"
            )
        turns.append(Message(cast(Any, role), content))
    if len(turns) % 2 == 0:
        raise RequestError("messages: the last one must be the user's")
    return tuple(turns)


async def _ask(service: Service, key: Key, turns: Conversation) -> tuple[str, str | None]:
    """The guarded model's reply, through the very same exchange as any client's request."""
    config = service.config
    body = {
        "model": config.arena_model or next(iter(service.upstreams)),
        "messages": [{"role": turn.role, "content": turn.content} for turn in turns],
        "max_tokens": config.arena_tokens,
    }
    exchange = Exchange(service, Chat(), body, key=key, headers={})
    sent: list[AsgiMessage] = []
    left = asyncio.Event()

    async def receive() -> AsgiMessage:
        await left.wait()  # the client of this exchange never leaves before its end
        return {"type": "http.disconnect"}

    async def send(message: AsgiMessage) -> None:
        sent.append(message)

    await exchange({"type": "http"}, receive, send)
    status = next(m["status"] for m in sent if m["type"] == "http.response.start")
    answer = json.loads(b"".join(m.get("body", b"") for m in sent[1:]))
    if status >= 400:
        raise RequestError(f"the model did not answer: {answer['error']['message']}", status=502)
    choice = answer["choices"][0]
    text = choice["message"].get("content") or ""
    stopped = None
    if choice["finish_reason"] == "content_filter":
        stopped = "output" if text else "input"
    return text, stopped


@board.get("/console/arena")
async def operator(request: Request) -> Response:
    """The board for the operator: strategies, attempts, leaders."""
    service, arena = service_of(request), _arena(request)
    viewer = await viewer_of(request, service)
    attempts = await arena.book.attempts()
    values = {
        "viewer": viewer,
        "place": "arena",
        "open_to_all": service.open_to_all,
        "now": service.clock.now(),
        "levels": arena.levels,
        "strategies": arena.strategies(attempts),
        "leaders": arena.leaders(attempts),
        "attempts": list(reversed(attempts))[:50],
        "total": len(attempts),
    }
    return render("arena_board.html", values)


@board.get("/console/arena/attempts.jsonl")
async def export(request: Request) -> Response:
    """Every attempt, as the transcripts of a campaign: for `custodes transcripts` and training."""
    await viewer_of(request, service_of(request))
    lines = [json.dumps(_exported(each)) + "\n" for each in await _arena(request).book.attempts()]
    headers = {"content-disposition": 'attachment; filename="transcripts.jsonl"'}
    return Response("".join(lines), media_type="application/x-ndjson", headers=headers)


def _exported(attempt: ArenaAttempt) -> dict[str, Any]:
    return Attempt(
        attack=f"arena: {attempt.player}",
        question=attempt.question,
        query=1,
        turns=attempt.turns,
        strategy=attempt.strategy,
        reply=attempt.reply,
        stopped=attempt.stopped,
        grade=attempt.grade,
        success=attempt.success,
    ).to_values()
