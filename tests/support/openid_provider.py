"""A real OpenID provider, built on authlib, under a prefix of its own: ``python -m tests.support.openid_provider PORT PREFIX``.

To the provider's protocol it adds what those of the real world have beside it: a login form that is protected by a cookie, and
authlib's own proof keys for codes (PKCE, RFC 7636), of which it takes S256 only.
"""

from __future__ import annotations

import logging
import secrets
import sys
import warnings
from typing import Any, ClassVar


def main(port: int, prefix: str) -> None:
    """Serve until somebody ends it."""
    warnings.simplefilter("ignore")  # of the provider's own dependencies
    import flask
    from oidc_provider_mock._app import Config, blueprint
    from werkzeug.serving import make_server

    _prove_codes()
    app = flask.Flask("oidc_provider_mock", static_folder=None)  # its templates
    app.config["SESSION_COOKIE_NAME"] = "provider_session"
    app.config["SESSION_COOKIE_PATH"] = prefix
    app.secret_key = secrets.token_bytes()
    app.register_blueprint(blueprint, url_prefix=prefix, config=Config())

    @app.before_request
    def only_with_the_cookie() -> Any:
        """A form that was not opened in this browser cannot be sent from it."""
        if flask.request.path.endswith("/authorize"):
            if flask.request.method == "POST" and "form" not in flask.session:
                return "no cookie, no login", 403
            flask.session["form"] = True
        return None

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    make_server("127.0.0.1", port, app, threaded=True).serve_forever()


def _prove_codes() -> None:
    """Whoever asked for a code with a challenge gets a token for it with the answer to that alone; who has no secret has to."""
    from authlib.oauth2.rfc7636 import CodeChallenge
    from oidc_provider_mock import _app

    challenges: dict[str, tuple[str | None, str | None]] = {}

    class ProofKey(CodeChallenge):
        SUPPORTED_CODE_CHALLENGE_METHOD: ClassVar = ["S256"]

        def get_authorization_code_challenge(self, authorization_code: Any) -> str | None:
            return challenges[authorization_code.code][0]

        def get_authorization_code_challenge_method(self, authorization_code: Any) -> str | None:
            return challenges[authorization_code.code][1]

    class ProvenCodeGrant(_app.AuthorizationCodeGrant):
        TOKEN_ENDPOINT_AUTH_METHODS: ClassVar = ["client_secret_basic", "client_secret_post", "none"]

        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            ProofKey()(self)

        def save_authorization_code(self, code: str, request: Any) -> None:
            asked = request.payload.data
            challenges[code] = (asked.get("code_challenge"), asked.get("code_challenge_method"))
            super().save_authorization_code(code, request)

    _app.AuthorizationCodeGrant = ProvenCodeGrant


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
