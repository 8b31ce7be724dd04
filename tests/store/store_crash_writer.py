"""A gateway's part in the crash test: appends events, prints each id once it is acknowledged."""

import os
import sys
import time
from collections import deque

from custodes.store import Event, EventLog, connect

database, name = sys.argv[1:]
log = EventLog(connect(database, timeout=60), EventLog.Config(batch=16, linger=0))
unacknowledged = deque()
for number in range(1_000_000):
    event = Event(
        id=f"{name}-{number}",
        at=time.time(),
        key="k",
        route="/v1/messages",
        mode="enforce",
        judged="output",
        action="release",
        score=0.5,
        failure="x" * (number % 700),
    )
    unacknowledged.append((event.id, log.append(event, wait=60)))
    while unacknowledged and (unacknowledged[0][1].done() or len(unacknowledged) > 40):
        one, future = unacknowledged.popleft()
        future.result(60)
        os.write(1, f"{one}\n".encode())
