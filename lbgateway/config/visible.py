"""Texts that somebody else has to send or to say: what nobody can is told when the file is read, not when the first one tries."""

from typing import Annotated

from pydantic import AfterValidator

from lbgateway.config.fields import Text
from lbgateway.config.secret import Secret


def _named(value: str) -> str:
    if not value.strip():
        raise ValueError("is empty: nothing is ever called so; leave it out to ask for nothing")
    if not value.isprintable():
        raise ValueError("holds a line break or another control character")
    return value


def _token(value: Secret) -> Secret:
    if not all("!" <= character <= "~" for character in value.reveal()):
        raise ValueError("is sent in a header: it must be visible ASCII without spaces, or nobody can send it")
    return value


Named = Annotated[Text, AfterValidator(_named)]
"""What somebody or something is called."""
Token = Annotated[Secret, AfterValidator(_token)]
"""A secret that is sent as it is, in a header of its own or behind ``Bearer`` (RFC 6750, section 2.1)."""
