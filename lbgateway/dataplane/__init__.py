"""The fast half: bytes of clients in, bytes of services out, and nothing on the way that is not needed.

No web framework, no settings library, no coroutine on the warm path. Where to begin: `exchange` is the
way of a request, `protocol` the client's side of it, `connection` and `pool` the service's side, `routing`
where it goes, `plane` what all exchanges share. Bytes are made in `head`, `message`, `forwarding` and `target`.
"""
