"""Writes until the file may not grow, then is given room: prints what was acknowledged."""

import resource
import sys
import time
from pathlib import Path

from custodes.errors import StoreUnavailableError
from custodes.store import Event, EventLog, connect

database, path = sys.argv[1:]
size = sum(file.stat().st_size for file in Path(path).parent.glob("custodes.db*"))
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100_000, hard))


def event(number):
    return Event(
        id=f"e{number}",
        at=number,
        key="k",
        route="/v1/messages",
        mode="enforce",
        judged="output",
        action="release",
        score=0.5,
        failure="x" * 3000,
    )


with EventLog(connect(database), EventLog.Config(probe=0.05)) as log:
    for number in range(10_000):
        try:
            log.append(event(number)).result(60)
        except StoreUnavailableError as error:
            print("refused:", error, file=sys.stderr)
            assert not log.healthy
            break
        print(f"e{number}")
    else:
        sys.exit("the limit was never reached")
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    end = time.monotonic() + 60
    while not log.healthy and time.monotonic() < end:
        time.sleep(0.01)
    log.append(event(20_000)).result(60)
    print("e20000")
