"""CORS, cache, compression, OAuth, SPA: known to the schema before they are built."""

from lbgateway.config.edge import CacheSettings, CompressionSettings, CorsSettings, OauthSettings, SpaSettings


def test_all_keys_of_the_contract_are_known():
    """What is only not built is never called unknown."""
    assert set(CorsSettings.model_fields) == {
        "allow_origins", "allow_origin_regex", "allow_methods", "allow_headers", "allow_credentials", "expose_headers", "max_age",
    }  # fmt: skip
    assert set(CacheSettings.model_fields) == {"store", "max_size"}
    assert set(CompressionSettings.model_fields) == {"min_size", "types", "algorithms"}
    assert set(OauthSettings.model_fields) == {"prefix", "service"}
    assert set(SpaSettings.model_fields) == {"directory", "index"}


def test_values_are_read():
    """The contract's own examples."""
    assert CorsSettings.model_validate({"allow_origins": ["https://app.example"], "max_age": "10m"}).max_age == 600.0
    assert CacheSettings.model_validate({"max_size": "64MiB"}).max_size == 64 * 2**20
    assert CompressionSettings.model_validate({"min_size": "1KiB"}).algorithms == ("zstd", "br", "gzip")
    assert OauthSettings.model_validate({"service": "auth"}).prefix == "/oauth"
    assert SpaSettings.model_validate({"directory": "frontend/dist"}).index == "index.html"
