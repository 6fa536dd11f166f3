"""Asking others about credentials: the half of `policies.authority` that waits."""
