"""Appends events that wait for a long linger, then ends by SIGTERM as a server does."""

import signal
import sys

from custodes.store import Event, EventLog, connect

database, way = sys.argv[1:]
log = EventLog(connect(database), EventLog.Config(linger=600))


def leave(number, frame):
    if way == "close":
        log.close()
    sys.exit(0)  # otherwise the interpreter's exit closes the log


signal.signal(signal.SIGTERM, leave)
for number in range(30):
    log.append(
        Event(
            id=f"e{number}",
            at=number,
            key="k",
            route="/v1/messages",
            mode="enforce",
            judged="output",
            action="release",
            score=0.5,
        )
    )
print("ready", flush=True)
signal.pause()
