"""`lbgateway token`."""

import time

import jwt
import pytest

from lbgateway.cli import FINE, NO, WRONG_USAGE, main
from lbgateway.cli.token import claims_of, sign
from lbgateway.config import load_text

SECRET = "0123456789abcdef" * 4


@pytest.fixture
def path(tmp_path):
    """A configuration that can sign."""
    path = tmp_path / "gw.yaml"
    path.write_text(f"auth: {{jwt: {{secret: {SECRET}, algorithms: [HS512, HS256], issuer: us, audience: [shop, other]}}}}")
    return path


def test_a_token_says_what_was_asked_for_and_what_is_configured():
    """Subject, scope, life, issuer, the first audience and algorithm."""
    settings = load_text(f"auth: {{jwt: {{secret: {SECRET}, algorithms: [HS512], issuer: us, audience: shop}}}}", "gw", {}).auth.jwt
    assert settings is not None

    token = sign(settings, subject="me", scope="a b", ttl_s=3600.0, now_s=1000.9)

    assert claims_of(token) == {"sub": "me", "scope": "a b", "iat": 1000, "exp": 4600, "iss": "us", "aud": "shop"}
    assert jwt.get_unverified_header(token)["alg"] == "HS512"


def test_a_token_needs_no_more_than_a_secret():
    """What is not configured is not claimed."""
    settings = load_text(f"auth: {{jwt: {{secret: {SECRET}}}}}", "gw", {}).auth.jwt
    assert settings is not None

    assert claims_of(sign(settings, subject="me", scope=None, ttl_s=1.0, now_s=5.0)) == {"sub": "me", "iat": 5, "exp": 6}


def test_stdout_holds_the_token_and_nothing_else(path, capsys):
    """So that it can be put into a variable."""
    assert main(["token", "--subject", "me", "--ttl", "30m", "--config", str(path)]) == FINE

    out = capsys.readouterr().out
    claims = jwt.decode(out.strip(), SECRET, algorithms=["HS512"], audience="shop", issuer="us")
    assert out.count("\n") == 1
    assert claims["exp"] - claims["iat"] in (1800, 1801)
    assert abs(claims["iat"] - time.time()) < 60


@pytest.mark.parametrize(
    ("ttl", "said"), [("5", "--ttl: a duration needs a unit: write 5s"), ("soon", "--ttl: not a duration"), ("0s", "of no use")]
)
def test_a_bad_life_is_wrong_usage(path, capsys, ttl, said):
    """Told before the file is looked at."""
    assert main(["token", "--subject", "me", "--ttl", ttl, "--config", str(path)]) == WRONG_USAGE
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("auth: {default: none}", "has no auth.jwt: add `auth: {jwt: {secret: ${JWT_SECRET}}}`"),
        ("auth: {jwt: {secret: short}}", "the configuration has errors:\n"),
    ],
)
def test_what_cannot_sign_says_why(tmp_path, capsys, text, said):
    """And nothing goes to stdout."""
    path = tmp_path / "gw.yaml"
    path.write_text(text)

    assert main(["token", "--subject", "me", "--config", str(path)]) == NO
    captured = capsys.readouterr()
    assert captured.out == ""
    assert said in captured.err


def test_a_token_that_the_gateway_will_refuse_comes_with_a_warning(tmp_path, capsys):
    """It requires a claim that this command does not make."""
    path = tmp_path / "gw.yaml"
    path.write_text(f"auth: {{jwt: {{secret: {SECRET}, required_claims: [exp, tenant]}}}}")

    assert main(["token", "--subject", "me", "--config", str(path)]) == FINE
    assert "requires the claim tenant" in capsys.readouterr().err
