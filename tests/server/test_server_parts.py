"""The parts of the gateway alone: threads, limits, keys, the database, telemetry, settings."""

import asyncio
import hashlib
import io
import json
import logging
import socket
import threading
import time

import pytest
from server_doubles import MARKER, make_guard

from custodes.errors import ConfigError
from custodes.guard import Decision
from custodes.server.auth import ConfiguredKeys, SeveralStores
from custodes.server.config import GatewayConfig, KeyConfig
from custodes.server.events import MemorySink
from custodes.server.gate import Ask, Cut, Gate, Leave
from custodes.server.hearing import Hearing, Intake
from custodes.server.judging import JudgePool, JudgingError
from custodes.server.limits import MemoryLimiter, RedisLimiter, retry_after
from custodes.server.persistence import open_database
from custodes.server.telemetry import JsonLines, Metrics, log_to
from custodes.server.wire.base import Asked, Piece
from custodes.store.events import Event
from custodes.types import Action, Message, Mode


def test_a_pool_gives_results_and_errors():
    async def main():
        pool = JudgePool(threads=2, seconds=5)
        assert await asyncio.gather(*(pool.run(lambda n=n: n * n) for n in range(20))) == [
            n * n for n in range(20)
        ]
        with pytest.raises(JudgingError, match="ZeroDivisionError"):
            await pool.run(lambda: 1 / 0)
        assert await pool.close(5)

    asyncio.run(main())


def test_a_job_that_hangs_costs_a_spare_thread_until_it_returns():
    async def main():
        pool = JudgePool(threads=1, seconds=0.05, spare=1)
        hold = threading.Event()
        with pytest.raises(JudgingError, match="given up"):
            await pool.run(lambda: hold.wait(10))
        assert pool.stuck == 1
        assert await pool.run(lambda: 1) == 1
        with pytest.raises(JudgingError):
            await pool.run(lambda: hold.wait(10))
        assert not pool.healthy
        with pytest.raises(JudgingError):  # nobody is left to take it
            await pool.run(lambda: 2)
        hold.set()
        until = time.monotonic() + 5
        while pool.stuck:
            assert time.monotonic() < until
            await asyncio.sleep(0.01)
        assert await pool.run(lambda: 3) == 3
        assert await pool.close(5)

    asyncio.run(main())


def test_a_caller_that_leaves_gives_its_job_up():
    async def main():
        pool = JudgePool(threads=1, seconds=5)
        hold = threading.Event()
        running = asyncio.ensure_future(pool.run(lambda: hold.wait(10)))
        ran = []
        waiting = asyncio.ensure_future(pool.run(lambda: ran.append(1)))
        await asyncio.sleep(0.05)
        waiting.cancel()
        running.cancel()
        await asyncio.gather(waiting, running, return_exceptions=True)
        hold.set()
        assert await pool.run(lambda: 1) == 1
        assert ran == []
        assert await pool.close(5)

    asyncio.run(main())


def test_a_bucket_fills_at_its_rate():
    now = [0.0]
    limiter = MemoryLimiter(lambda: now[0], remember=2)

    def take(key="a"):
        return asyncio.run(limiter.take(key, per_minute=60, burst=2))

    assert [take(), take()] == [0, 0]
    assert take() == pytest.approx(1)
    now[0] += 1
    assert take() == 0
    assert take() > 0
    assert [take("b"), take("c")] == [0, 0]  # "a" is forgotten
    assert take() == 0
    assert retry_after(0.2) == "1"


def redis_port():
    try:
        socket.create_connection(("127.0.0.1", 6379), timeout=0.5).close()
    except OSError:
        pytest.skip("no Redis on 127.0.0.1:6379")
    return 6379


def test_redis_shares_a_bucket_between_gateways():
    async def main():
        url = f"redis://127.0.0.1:{redis_port()}"
        prefix = f"custodes-test-{time.time_ns()}"
        pair = [
            RedisLimiter(url, on_failure=lambda: pytest.fail("redis failed"), prefix=prefix)
            for _ in range(2)
        ]
        waits = [await pair[n % 2].take("a", per_minute=6, burst=3) for n in range(5)]
        assert waits[:3] == [0, 0, 0]
        assert all(8 < wait <= 20 for wait in waits[3:])
        for limiter in pair:
            await limiter.close()

    asyncio.run(main())


def test_a_redis_that_is_gone_lets_requests_through_and_counts():
    async def main():
        failures = []
        limiter = RedisLimiter("redis://127.0.0.1:1", on_failure=lambda: failures.append(1))
        assert await limiter.take("a", per_minute=6, burst=1) == 0
        assert failures == [1]
        await limiter.close()

    asyncio.run(main())


def test_the_database_keeps_events_and_knows_keys(tmp_path):
    from custodes.store import KeyRole, connect, create_key, revoke_key, writing

    async def main():
        url = f"sqlite:///{tmp_path / 'c.db'}"
        now = [0.0]
        config = GatewayConfig(database=url, guard=None, no_auth=True)
        sink, keys = open_database(config, clock=lambda: now[0])
        await sink.record(
            Event(
                id="1",
                at=1.0,
                key="k",
                route="/v1/messages",
                mode="enforce",
                judged="input",
                action="stop",
                score=0.5,
            )
        )
        assert sink.healthy
        engine = connect(url)
        with writing(engine) as connection:
            key, token = create_key(connection, "alice", role=KeyRole.REVIEWER, now=1.0)
        found = await keys.find(token)
        assert (found.id, found.role, found.mode, found.explain) == (
            key.id,
            "reviewer",
            "enforce",
            True,
        )
        assert await keys.find("cus_wrong") is None
        with writing(engine) as connection:
            revoke_key(connection, key.id, now=2.0)
        assert (await keys.find(token)).id == key.id  # still remembered
        now[0] += 10
        assert await keys.find(token) is None
        engine.dispose()
        await sink.close()
        assert not sink.healthy

    asyncio.run(main())
    none = GatewayConfig(database="none", guard=None, no_auth=True)
    assert open_database(none, clock=time.monotonic) is None


def test_the_first_store_that_knows_a_key_answers():
    def configured(name):
        digest = hashlib.sha256(name.encode()).hexdigest()
        return ConfiguredKeys([KeyConfig(id=name, sha256=digest)])

    stores = SeveralStores([configured("a"), configured("b")])
    assert asyncio.run(stores.find("b")).id == "b"
    assert asyncio.run(stores.find("c")) is None


def test_logs_are_lines_of_json_without_a_traceback():
    stream = io.StringIO()
    logger = logging.getLogger("custodes")
    before = (logger.handlers, logger.propagate, logger.level)
    try:
        log_to(stream)
        try:
            raise ValueError("a prompt")
        except ValueError as error:
            logging.getLogger("custodes.x").error(
                "failed", extra={"fields": {"id": 7}}, exc_info=error
            )
    finally:
        logger.handlers, logger.propagate, logger.level = before
        logging.getLogger("uvicorn.error").handlers = []
    value = json.loads(stream.getvalue())
    assert (value["message"], value["id"], value["error"]) == ("failed", 7, "ValueError")
    assert "a prompt" not in stream.getvalue()
    assert JsonLines().format(logging.makeLogRecord({"msg": "x"}))


def test_metrics_of_several_processes_are_added_up(tmp_path, monkeypatch):
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    assert Metrics().page() == b""


def test_memory_forgets_the_oldest_events():
    async def main():
        sink = MemorySink(remember=2)
        for event in ("a", "b", "c"):
            await sink.record(event)
        assert sink.events == ["b", "c"]

    asyncio.run(main())


def test_a_verdict_on_input_is_remembered_but_not_a_failure():
    class Counting:
        def __init__(self, guard):
            self.guard, self.opened = guard, 0
            self.policy, self.edition, self.artifact = guard.policy, guard.edition, guard.artifact

        def open(self, context, mode):
            self.opened += 1
            return self.guard.open(context, mode)

    counting = Counting(make_guard())
    intake = Intake(counting, roles=("user",), remember=2)
    asked = Asked(conversations=((Message("user", "a"), Message("user", "b")),), model="m")
    for _ in range(3):
        assert intake.judge(asked).decision.action is Action.RELEASE
    assert counting.opened == 2
    other = Asked(conversations=((Message("user", "c"),),), model="m")
    intake.judge(other)
    intake.judge(asked)
    assert counting.opened == 5  # both had been forgotten
    nothing = intake.judge(Asked(conversations=((),), model="m"))
    assert nothing.decision.verdict is not None
    assert nothing.said == ()


def test_a_ruling_on_an_input_says_which_turn_it_is_of():
    intake = Intake(make_guard(), roles=("user", "assistant"))
    bread, cake = Message("user", "Bread?"), Message("user", f"A {MARKER}?")
    reply = Message("assistant", "Yes.")
    long = (bread, reply, cake, reply, bread)
    assert intake.judge(Asked(conversations=(long,), model="m")).said == long[:3]
    assert intake.judge(Asked(conversations=((bread,), long), model="m")).said == long[:3]
    tool = Asked(conversations=(long,), model="m", extras=("Bakes.", f"Takes the {MARKER}."))
    assert intake.judge(tool).said == (Message("system", f"Takes the {MARKER}."),)
    mild = Asked(conversations=((bread, reply),), model="m")
    assert intake.judge(mild).said in ((bread,), (bread, reply))


def test_a_gate_lets_the_end_of_the_stream_wait_for_its_choices():
    gate = Gate(1)
    gate.add(Piece(0, (("content", "a"),), whole=False))
    gate.add(Piece(-1))
    assert list(gate.leaving()) == []
    assert gate.asks() == [Ask(0, "content", "a")]
    assert not gate.over
    clean = Decision(action=Action.RELEASE)
    from custodes.server.gate import Answer

    left = list(gate.settle([Answer(0, "content", 1, clean)]))
    assert [leave.piece.lane for leave in left] == [0, -1]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"upstreams": {}}, "expected at least one"),
        ({"no_auth": True, "host": "0.0.0.0"}, "localhost only"),
        ({"keys": [{"id": "a", "sha256": "0" * 64}, {"id": "b", "sha256": "0" * 64}]}, "same hash"),
        ({"upstreams": {"a": {"url": "x"}}}, "upstreams.a"),
        ({"upstreams": {"a": {"strange": "x"}}}, "strange"),
    ],
)
def test_settings_that_make_no_sense_are_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        GatewayConfig.parse(values)


def test_secrets_come_from_the_environment(monkeypatch):
    from custodes.server.app import build_parts

    base = {"guard": None, "no_auth": True}
    config = GatewayConfig.parse({**base, "redis_url_env": "NO_SUCH_VARIABLE"})
    with pytest.raises(ConfigError, match="NO_SUCH_VARIABLE"):
        build_parts(config)
    upstreams = {"a": {"url": "http://127.0.0.1:1/v1", "api_key_env": "NO_SUCH_VARIABLE"}}
    with pytest.raises(ConfigError, match="NO_SUCH_VARIABLE"):
        build_parts(GatewayConfig.parse({**base, "upstreams": upstreams}))
    monkeypatch.setenv("NO_SUCH_VARIABLE", "redis://127.0.0.1:1")
    build_parts(config)
    with pytest.raises(ConfigError, match="no API keys"):
        build_parts(GatewayConfig.parse({"guard": None}))


def test_a_gate_that_is_failed_cuts_what_is_open_and_leaves_what_is_settled():
    from custodes.server.gate import Answer, Settled
    from custodes.server.hearing import failure

    guard = make_guard()
    verdict = failure(guard, Mode.EXCHANGE, "late")
    clean = Decision(action=Action.RELEASE, verdict=verdict)
    gate = Gate(3)
    gate.add(Piece(0, (("content", "a"),), whole=False, ends=True))
    gate.add(Piece(1, (("content", "bc"),), whole=False))
    asks = [(ask.lane, ask.text) for ask in gate.asks()]
    assert asks == [(0, "a"), (0, None), (1, "bc")]
    first = list(gate.settle([Answer(0, "content", 1, clean)]))
    assert [type(each) for each in first] == [Leave, Settled]
    second = list(gate.settle([Answer(1, "content", 1, Decision(action=Action.RELEASE))]))
    assert [each.text for each in second] == ["b"]
    cuts = list(gate.fail(verdict))
    assert [(each.lane, each.stop_at) for each in cuts if isinstance(each, Cut)] == [(1, 1), (2, 0)]
    gate.add(Piece(1, (("content", "d"),)))
    assert list(gate.leaving()) == []
    assert list(gate.fail(verdict)) == []
    assert gate.ended


def test_the_words_of_a_choice_can_be_read_while_a_thread_judges_another():
    asked = Asked(conversations=((Message("user", "?"),),), model="m", choices_each=400)
    hearing = Hearing(make_guard(), asked)
    asks = [Ask(lane, "content", "word") for lane in range(400)]
    judging = threading.Thread(target=lambda: hearing.answer(asks))
    judging.start()
    while judging.is_alive():
        assert hearing.text(0) in ("", "word")
    assert hearing.text(399) == "word"


def test_what_a_background_task_begins_is_waited_for(upstream):
    from custodes.server.app import build_parts
    from custodes.server.service import Service

    async def main():
        base = {"guard": None, "no_auth": True, "upstreams": {"a": {"url": upstream.url}}}
        config = GatewayConfig.parse({**base, "drain_seconds": 2})
        service = Service(config, build_parts(config))
        done = []

        async def last():
            await asyncio.sleep(0.05)
            done.append("last")

        async def first():
            await asyncio.sleep(0.05)
            service.background(last())

        service.background(first())
        await service.close()
        assert done == ["last"]

    asyncio.run(main())
