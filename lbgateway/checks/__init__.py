"""Health checks of our own, beside the registry's and never in the way of a request.

`record` decides when an instance is unhealthy, `probe` asks one of them once, `checker` says who is asked and when.
"""
