"""What may leave and what judges it, without a server: channels that come back, long judging that
is given up."""

import asyncio
import subprocess
import sys
import threading
import time

import pytest
from server_doubles import MARKER, make_guard

from custodes.classifiers.scripted import Fault
from custodes.guard import Policy, Response
from custodes.server.gate import Ask, Cut, Gate, Leave
from custodes.server.hearing import Hearing, Intake, judge_text
from custodes.server.judging import JudgePool, JudgingError, checkpoint
from custodes.server.wire.base import Asked, Piece
from custodes.types import Message, Mode


def test_a_job_that_was_given_up_ends_at_its_next_checkpoint():
    async def main():
        pool = JudgePool(threads=1, seconds=0.05, spare=1)
        ended = threading.Event()

        def work():
            try:
                while True:
                    checkpoint()
                    time.sleep(0.001)
            finally:
                ended.set()

        with pytest.raises(JudgingError, match="no verdict within"):
            await pool.run(work)
        assert await asyncio.to_thread(ended.wait, 5)
        while pool.stuck:
            await asyncio.sleep(0.001)
        assert await pool.run(lambda: checkpoint() or 1) == 1
        assert await pool.close(5)

    asyncio.run(main())
    checkpoint()  # on any other thread nothing happens


def test_closing_waits_for_judging_that_nobody_waits_for():
    async def main():
        pool = JudgePool(threads=2, seconds=0.05)
        free = threading.Event()
        with pytest.raises(JudgingError):
            await pool.run(lambda: free.wait(30))
        assert not await pool.close(0.05)
        free.set()
        assert await pool.close(5)

    before = set(threading.enumerate())
    asyncio.run(main())
    left = set(threading.enumerate()) - before
    assert "custodes-judge" not in {thread.name for thread in left}


def test_a_process_that_closed_its_pool_may_end_in_the_middle_of_a_product():
    program = """
import asyncio, torch
from custodes.server.judging import JudgePool, JudgingError, checkpoint
torch.set_num_threads(1)
square = torch.randn(3000, 3000)
def judging():
    while True:
        square @ square
        checkpoint()
async def main():
    pool = JudgePool(threads=1, seconds=0.2)
    try:
        await pool.run(judging)
    except JudgingError:
        pass
    assert await pool.close(30)
asyncio.run(main())
"""
    # What a thread does that is inside torch while the interpreter ends: SIGABRT.
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


def slow_texts(turns):
    """A guard that takes 20 ms a text, and a request of so many turns or of one long one."""
    judge = make_guard(fault=Fault.STALL, stall_seconds=0.02, step=500)
    long = (Message("user", "a" * 500 * turns),)
    return judge, long, tuple(Message("user", str(turn)) for turn in range(turns))


@pytest.mark.parametrize("kind", ["turns", "text", "reply"])
def test_judging_that_nobody_waits_for_ends(kind):
    judge, long, turns = slow_texts(500)
    asked = Asked(conversations=(turns if kind == "turns" else long,), model="m")
    intake, hearing = Intake(judge, roles=("user",)), Hearing(judge, asked)
    asks = [Ask(0, "content", long[0].content)]

    async def main():
        pool = JudgePool(threads=1, seconds=0.2)
        with pytest.raises(JudgingError):
            await pool.run(lambda: hearing.answer(asks) if kind == "reply" else intake.judge(asked))
        began = time.monotonic()
        while pool.stuck:
            assert time.monotonic() < began + 5
            await asyncio.sleep(0.01)
        assert await pool.close(5)

    asyncio.run(main())


def test_what_was_judged_is_recognized_at_a_cost_that_grows_with_the_text():
    intake = Intake(make_guard(), roles=("user",))
    asked = Asked(conversations=(tuple(Message("user", "a") for _ in range(2000)),), model="m")
    first = intake.judge(asked)
    began = time.process_time()
    assert intake.judge(asked) == first
    assert time.process_time() - began < 0.2  # hashing every beginning anew takes longer


@pytest.mark.parametrize("at", [0, 490, 500, 4100, 5000])
def test_a_long_text_is_judged_as_if_it_were_fed_at_once(at):
    judge = make_guard(step=7)
    text = "." * at + MARKER + "." * (5000 - at)
    session = judge.open((), Mode.INPUT)
    session.feed(text)
    sliced = judge_text(judge, (Message("user", text),))
    assert (sliced.verdict, sliced.logits) == (session.finish().verdict, session.finish().logits)
    asked = Asked(conversations=((Message("user", "?"),),), model="m")
    at_once = judge.open(asked.conversations[0], Mode.EXCHANGE).feed(text)
    (answer,) = Hearing(judge, asked).answer([Ask(0, "content", text)])
    told = answer.decision
    assert (told.release, told.verdict, told.stop_at) == (
        at_once.release,
        at_once.verdict,
        at_once.stop_at,
    )
    assert answer.cleared == len(at_once.release)


def test_a_failure_in_the_middle_of_a_long_text_is_told():
    policy = Policy(on_failure=Response.FLAG)
    judge = make_guard(fault=Fault.RAISE, fault_at=2500, policy=policy)
    asked = Asked(conversations=((Message("user", "?"),),), model="m")
    (answer,) = Hearing(judge, asked).answer([Ask(0, "content", "." * 9000)])
    assert answer.decision.verdict.failure
    assert answer.cleared == 9000
    assert judge_text(judge, (Message("user", "." * 9000),)).verdict.failure


def through(judge, pieces):
    """Run pieces through a gate, each judged when it has come: what left before the end and in
    all, by channel; the outcomes; how often a text was taken for complete."""
    asked = Asked(conversations=((Message("user", "?"),),), model="m")
    gate, hearing = Gate(1), Hearing(judge, asked)
    left, outcomes, completed = {}, [], 0

    def act(results):
        for result in results:
            outcomes.append(result)
            for channel, text in result.piece.parts if isinstance(result, Leave) else ():
                given = text if result.text is None else result.text
                left[channel] = left.get(channel, "") + given

    for piece in pieces:
        gate.add(piece)
        asks = gate.asks()
        completed += sum(ask.text is None for ask in asks)
        act(gate.settle(hearing.answer(asks)))
    before = dict(left)
    gate.complete()
    act(gate.settle(hearing.answer(gate.asks())))
    return before, left, outcomes, completed


@pytest.mark.parametrize("response", [Response.BLOCK, Response.FLAG])
def test_a_clean_reply_that_changes_channels_without_end_is_judged_and_leaves(response):
    judge = make_guard(policy=Policy(on_failure=response), step=8)
    turns = [Piece(0, ((name, "a"),)) for _ in range(200) for name in ("content", "reasoning")]
    before, left, outcomes, completed = through(judge, turns)
    assert left == {"content": "a" * 200, "reasoning": "a" * 200}
    assert not any(isinstance(each, Cut) for each in outcomes)
    assert len(before["content"]) >= 64
    assert completed <= 2 * 64 + 2
    harm = [Piece(0, (("content", each),)) for each in MARKER]
    before, left, outcomes, _ = through(judge, [*turns, *harm, *turns])
    assert MARKER not in left["content"]
    assert isinstance(outcomes[-1], Cut)


def test_text_beside_the_reply_neither_ends_it_nor_is_ended_by_it():
    judge = make_guard(step=8, policy=Policy())
    beside = [Piece(0, (("content", "a"), ("other", "safe"))) for _ in range(200)]
    before, left, _, completed = through(judge, beside)
    assert completed == 0
    assert len(left["content"]) == 200
    assert len(before["content"]) == 200  # 8 divides 200 and 800
    assert len(through(judge, beside[:7])[0].get("content", "")) == 0  # not before its window
    harm = [Piece(0, (("content", "a"), ("other", each))) for each in MARKER]
    _, left, outcomes, _ = through(judge, [*beside, *harm])
    assert MARKER not in left["other"]
    assert len(left["content"]) < 200 + len(MARKER)
    assert isinstance(outcomes[-1], Cut)


def test_text_beside_the_reply_does_not_hold_back_what_comes_without_it():
    judge = make_guard(step=8, policy=Policy())
    first = Piece(0, (("other", "request 7"),))
    before, _, _, completed = through(judge, [first, *[Piece(0, (("content", "a"),))] * 16])
    assert before == {"other": "request 7", "content": "a" * 16}
    assert completed == 1


def test_harm_in_the_stream_as_a_whole_is_no_choice_cut():
    gate = Gate(1)
    hearing = Hearing(make_guard(), Asked(conversations=((Message("user", "?"),),), model="m"))
    gate.add(Piece(0, (("content", "a"),)))
    gate.add(Piece(-1, (("other", MARKER),)))
    outcomes = list(gate.settle(hearing.answer(gate.asks())))
    assert [each.lane for each in outcomes if isinstance(each, Cut)] == [-1]
    assert not gate.over
    assert not gate.ended
    gate.complete()
    assert gate.ended
