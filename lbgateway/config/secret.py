"""A value that no repr, log, error or endpoint ever shows."""

from __future__ import annotations

import hmac
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic_core import core_schema

from lbgateway.config.document import text_of
from lbgateway.config.shapes import SECRET

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
    from pydantic.json_schema import JsonSchemaValue

MASK = "***"


class Secret:
    """A secret text. In the file either the text itself or ``{file: PATH}``, read when the file is loaded.

    Only `reveal` gives the text; everything that prints, formats or serialises a secret shows ``***``.
    """

    __slots__ = ("_text", "path")

    def __init__(self, text: str, path: Path | None = None) -> None:
        self._text = text
        self.path = path
        """The file that it was read from, for whoever follows it; None if it was given as text."""

    def reveal(self) -> str:
        """The text itself, for signing or sending it; never for showing."""
        return self._text

    def __repr__(self) -> str:
        return f"Secret({MASK})"

    def __str__(self) -> str:
        return MASK

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash(self._text)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """Accept text or ``{file: …}``; serialise as a mask."""
        del source, handler
        return core_schema.with_info_plain_validator_function(
            _read,
            serialization=core_schema.plain_serializer_function_ser_schema(lambda _secret: MASK),
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, source: object, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """For editors."""
        del source, handler
        return dict(SECRET)


FORMS = 'text, "${NAME}" from the environment, or {file: PATH}'


def _read(value: object, info: core_schema.ValidationInfo) -> Secret:
    if isinstance(value, Secret):
        return value
    if isinstance(value, dict):
        return Secret(read_file(value, info.context, "a secret"), _path_of(value, info.context))
    text = text_of(value)
    if text is None:
        raise ValueError(f"a secret is {FORMS}")
    if not text:
        raise ValueError("a secret cannot be empty; leave the key out to have none")
    return Secret(text)


def read_file(value: dict[object, object], context: dict[str, object] | None, what: str) -> str:
    """The text that ``{file: PATH}`` names; relative paths start at the folder of the configuration file. `ValueError` if there is none."""
    if set(value) != {"file"} or not isinstance(value["file"], str):
        raise ValueError(f"{what} is {FORMS} with nothing else in the map")
    path = _path_of(value, context)
    try:
        # Editors and `echo` end a file with a newline that is no part of the secret.
        text = path.read_text(encoding="utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8 text") from None
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None
    if not text:
        raise ValueError(f"{path} is empty")
    return text


def from_file(value: object, info: ValidationInfo) -> object:
    """Of a text that may hold a secret, such as an address with a password: ``{file: PATH}`` is what stands there."""
    return read_file(value, info.context, "an address") if isinstance(value, dict) else value


def _path_of(value: dict[object, object], context: dict[str, object] | None) -> Path:
    return Path(str((context or {}).get("folder", "."))) / str(value["file"])
