"""The evidence of a suite: watch its containers while it runs, then read what they printed."""

import contextlib
import time
from collections import Counter
from collections.abc import Iterator

from gate.containers.event_monitor import monitor
from gate.suite import http_log
from gate.suite.one_shard import Suite
from gate.verdict.model import Shard


@contextlib.contextmanager
def gathered(suite: Suite) -> Iterator[None]:
    """Watch the engine while the body runs; then note in the suite's run which containers ran, what they answered and
    which errors they logged.

    Raises GateError if the engine could not be watched to the end.
    """
    run, watch, began = suite.run, suite.watch, time.monotonic()
    with monitor(watch):
        yield
        run.seconds = round(time.monotonic() - began, 1)
    run.unexpected = watch.unexpected
    errors: Counter[str] = Counter()
    for shard in run.shards:
        shard.containers = dict(watch.starts.pop(shard.name, {}))
        log = http_log.read(suite.log("emulator", shard.name))
        # A container that exited by itself is evidence if it had answered before.
        crashed = 0 if log.requests else watch.crashed.count(shard.name)
        shard.served = shard.containers.get(suite.image.image_id, 0) - crashed
        ours = [test for test in run.tests if test.shard == shard.name]
        for test in ours:
            log.attach(test)
        errors.update(log.errors_during(test for test in ours if test.outcome == "failed"))
    run.errors = dict(errors.most_common())
    run.shards += [Shard(name, containers=dict(started)) for name, started in watch.starts.items()]
