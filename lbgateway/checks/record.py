"""What the answers of one instance to our checks come to. Pure.

So many failures in a row take it out, so many successes bring it back (HAProxy's rise and fall, Envoy's thresholds). An instance that has
not been asked yet is believed: the registry says that it is well, and traffic will tell.
"""

from __future__ import annotations

from lbgateway.dataplane.rules import CheckRules

WHILE_STALE = CheckRules()
"""Of a service without a ``health_check`` while the registry cannot say who is well."""


class Record:
    """Of one instance. ``healthy`` is None until there has been a first answer."""

    __slots__ = ("failures", "healthy", "passes", "why")

    def __init__(self) -> None:
        self.healthy: bool | None = None
        self.why = ""
        """The verdict in words; of the moment at which it was given."""
        self.passes = 0
        self.failures = 0

    def __repr__(self) -> str:
        return f"<Record healthy={self.healthy} passes={self.passes} failures={self.failures}>"

    def hear(self, failure: str | None, rules: CheckRules) -> bool:
        """One more check has passed (None), or failed for that reason. Returns whether the verdict has changed."""
        if failure is None:
            self.passes, self.failures = self.passes + 1, 0
            # Nobody has to rise who has not fallen.
            healthy: bool | None = self.healthy is not False or self.passes >= rules.healthy_after
        else:
            self.passes, self.failures = 0, self.failures + 1
            healthy = False if self.failures >= rules.unhealthy_after else self.healthy
        if healthy is self.healthy:
            return False
        self.healthy = healthy
        self.why = "answers our health check" if healthy else f"our health check: {failure}, {self.failures} in a row"
        return True
