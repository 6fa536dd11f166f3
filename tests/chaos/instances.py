"""Scenarios in which an instance is in trouble, or all of them are replaced."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from tests.chaos.stage import Play, Stage
from tests.support.instance_process import InstanceProcess
from tests.support.launch import wait_until

HEARD_OF_S = 0.3
"""How long after its entry was removed an instance may be stopped."""

BACK_WITHIN_S = 45.0
STILL_OUT_S = 3.0
WELL_S = 1.0
"""Nobody is tried again sooner than that: `outlier.eject_for`."""
OUT_WITHIN_S = 20.0
TRIED_AGAIN_S = 0.2
"""By then whoever has got a 500 has been tried elsewhere: the next victim shall not be where."""
FEW_RETRIES = {"services": {"*": {"balancer": "least_connections", "retry": {"budget": 0.05, "min_per_second": 2}}}}
"""A balancer that counts sends its share to whoever fails; the tokens do for the retries of some ejections, not for seconds of it."""


@dataclass(frozen=True)
class Fault:
    """What happens to an instance, and how it ends."""

    begin: Callable[[InstanceProcess], None]
    end: Callable[[InstanceProcess], object]

    def action(self) -> Play:
        """It happens to one of the instances, and lasts; in the end that has its part of the requests again."""

        def play(stage: Stage) -> None:
            with stage.trouble(stage.bad.port):
                self.begin(stage.bad)
                stage.last()
                self.end(stage.bad)

        return play


OUT = ("ejected", "unhealthy")
CHECKED = {
    "services": {
        "*": {
            "balancer": "least_connections",
            "health_check": {"path": "/healthz", "interval": "300ms", "timeout": "300ms", "unhealthy_after": 2},
        }
    }
}


def mood(name: str) -> Fault:
    return Fault(lambda instance: instance.be(name), lambda instance: instance.be("well"))


FAULTS = {
    "killed": Fault(InstanceProcess.kill, InstanceProcess.start),
    "paused": Fault(InstanceProcess.pause, InstanceProcess.resume),
    **{name: mood(name) for name in ("slow", "fails", "resets", "garbage", "half-closes", "closes", "refuses")},
}


def every_fault(stage: Stage) -> None:
    """One after the other, each on another instance, and none has to be over its ejection before the next one begins."""
    for number, fault in enumerate(FAULTS.values()):
        victim = stage.instances[number % len(stage.instances)]
        fault.begin(victim)
        stage.last()
        fault.end(victim)


def others_still_out(stage: Stage) -> None:
    """Two have failed until they are out for a while, and are well again before anybody has noticed. Then a third fails."""
    healed = stage.instances[:2]
    for number, victim in enumerate(healed, 1):
        victim.be("fails")
        wait_until(lambda count=number: len(times_left_s(stage)) == count, OUT_WITHIN_S, stage.gateway.story)  # type: ignore[misc]  # bound by the default
        time.sleep(TRIED_AGAIN_S)
    wait_until(lambda: min(times_left_s(stage), default=0.0) > STILL_OUT_S, OUT_WITHIN_S, stage.gateway.story)
    for victim in healed:
        victim.be("well")
    time.sleep(WELL_S)
    third = stage.instances[2]
    with stage.trouble(third.port):
        third.be("fails")
        stage.last()
        third.be("well")


def most_killed(stage: Stage) -> None:
    """Three of five, and our own checks find it out: then all five are used again, the dead ones too."""
    dead = stage.instances[:3]
    for victim in dead:
        victim.kill()
        wait_until(lambda port=victim.port: stage.states()[port] in OUT, OUT_WITHIN_S, stage.gateway.story)  # type: ignore[misc]  # bound by the default
    wait_until(lambda: stage.gateway.json("/admin/upstreams/orders")["panic"], OUT_WITHIN_S, stage.gateway.story)
    stage.last()
    for victim in dead:
        victim.start()
    stage.ready({instance.port for instance in stage.instances}, BACK_WITHIN_S)


def times_left_s(stage: Stage) -> list[float]:
    """For how long each of those that are ejected is still to be out."""
    untils = [datetime.fromisoformat(each["ejected_until"]) for each in stage.told() if each["state"] == "ejected"]
    return [(until - datetime.now(UTC)).total_seconds() for until in untils]


def deployed(stage: Stage) -> None:
    """One after the other: the new one is registered, the old one deregistered and, a moment later, stopped."""
    newcomers = [InstanceProcess().launch() for _ in stage.instances]
    for number, (old, new) in enumerate(zip(tuple(stage.instances), newcomers, strict=True)):
        new.await_ready()
        stage.instances[number] = new
        stage.consul.register("orders", new.port)
        stage.answers(new.port)
        stage.consul.deregister(f"orders-{old.port}")
        time.sleep(HEARD_OF_S)
        old.terminate()
    stage.ready({instance.port for instance in stage.instances})


def restarted(stage: Stage) -> None:
    """One after the other, in its place and without a word to the registry: SIGTERM, and started again."""
    for instance in stage.instances:
        instance.terminate()
        instance.start()
        stage.answers(instance.port, BACK_WITHIN_S)
