"""Scenarios in which the registry is in trouble; what else happens meanwhile is up to the gateway alone."""

from __future__ import annotations

from tests.chaos.instances import FAULTS
from tests.chaos.stage import Stage
from tests.support.consul_cluster import ConsulCluster
from tests.support.instance_process import InstanceProcess

ELECTED_WITHIN_S = 20.0


def consul_killed(stage: Stage) -> None:
    """And then an instance, of which nobody tells the gateway."""
    stage.consul.kill()
    stage.discovery("stale")
    FAULTS["killed"].action()(stage)
    stage.consul.restart()
    stage.discovery("fresh")


def consul_paused(stage: Stage) -> None:
    """And an instance killed."""
    stage.consul.pause()
    FAULTS["killed"].action()(stage)
    stage.consul.resume()
    stage.discovery("fresh")


def consul_empty(stage: Stage) -> None:
    """It comes back and knows nobody; one instance registers again at once, the others later."""
    stage.consul.restart(empty=True)
    first, *others = stage.instances
    stage.consul.register("orders", first.port)
    stage.last()
    for instance in others:
        stage.consul.register("orders", instance.port)
    stage.ready({instance.port for instance in stage.instances})
    stage.discovery("fresh")


def leader_lost(stage: Stage) -> None:
    """The leading one of three servers is killed; who registers once there is another one gets requests."""
    cluster = stage.registry
    assert isinstance(cluster, ConsulCluster)
    cluster.leader().kill()
    stage.last()
    cluster.leader()
    with InstanceProcess() as newcomer:
        stage.consul.register("orders", newcomer.port)
        stage.answers(newcomer.port, ELECTED_WITHIN_S)
        stage.consul.deregister(f"orders-{newcomer.port}")
        stage.ready({instance.port for instance in stage.instances})
    cluster.heal()
