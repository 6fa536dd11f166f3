"""Which suites of real bytes run over both transports of an upstream, and which of their cases httpx cannot pass.

What happens in those cases instead has tests of its own, in ``tests/integration/test_httpx_transport.py``.
"""

SUITES = (
    "test_http_connections",
    "test_http_header_rules",
    "test_http_limits",
    "test_http_malformed_responses",
    "test_http_pipelining",
    "test_http_repeated_heads",
    "test_http_responses",
    "test_http_streaming",
    "test_http_upgrades",
)

NO_INTERIM = "httpcore drops interim responses"
NO_TRAILERS = "httpcore drops trailers, and takes none"
NO_TUNNEL = "httpx has no tunnels that could be joined: an upgrade is not asked for"
NO_WAITING = "httpcore sends the whole request before it reads: nothing can be waited for in between"
LENIENT = "h11 takes it, and in one way only: it is framed anew for the client"
PIECES = "h11 gives each chunk by itself"
SLOW = "a matter of the client's side, where thousands over httpx take ten seconds; the other cases here pipeline, too"
OLD = "h11 keeps no connection of HTTP/1.0"

EXCEPTIONS = {
    "test_http_header_rules.py::test_te_trailers_passes_if_it_is_meant_for_the_gateway": NO_TRAILERS,
    "test_http_malformed_responses.py::test_a_malformed_response_is_502[two equal lengths]": LENIENT,
    "test_http_malformed_responses.py::test_a_malformed_response_is_502[list of lengths]": LENIENT,
    "test_http_malformed_responses.py::test_a_malformed_response_is_502[LF only]": LENIENT,
    "test_http_malformed_responses.py::test_a_malformed_response_is_502[one bare LF]": LENIENT,
    "test_http_malformed_responses.py::test_a_malformed_response_is_502[folded field]": LENIENT,
    "test_http_pipelining.py::test_thousands_proxied_come_back_in_order": SLOW,
    "test_http_responses.py::test_chunks_are_framed_anew": PIECES,
    "test_http_responses.py::test_trailers_pass_in_both_directions_but_for_dangerous_ones": NO_TRAILERS,
    "test_http_responses.py::test_trailers_do_not_leak_into_the_next_message": NO_TRAILERS,
    "test_http_responses.py::test_interim_answers_pass_to_http_1_1": NO_INTERIM,
    "test_http_responses.py::test_the_upstream_says_when_to_continue": NO_WAITING,
    "test_http_responses.py::test_the_upstream_answers_without_wanting_the_body": NO_WAITING,
    "test_http_responses.py::test_an_early_answer_arrives_whole_while_the_client_still_uploads": NO_WAITING,
    "test_http_responses.py::test_an_upstream_of_http_1_0_is_understood": OLD,
    "test_http_streaming.py::test_both_directions_flow_at_once": NO_WAITING,
    "test_http_upgrades.py::test_a_websocket_echoes_through_the_gateway": NO_TUNNEL,
    "test_http_upgrades.py::test_fragments_stay_fragments": NO_TUNNEL,
    "test_http_upgrades.py::test_either_side_closes_with_its_code": NO_TUNNEL,
    "test_http_upgrades.py::test_bytes_sent_too_early_arrive_on_both_sides": NO_TUNNEL,
    "test_http_upgrades.py::test_early_bytes_in_the_same_packet_as_the_request": NO_TUNNEL,
    "test_http_upgrades.py::test_half_closing_passes_through": NO_TUNNEL,
    "test_http_upgrades.py::test_the_end_of_one_side_is_the_end_of_the_other": NO_TUNNEL,
    "test_http_upgrades.py::test_an_idle_tunnel_ends": NO_TUNNEL,
}
"""A case, or all cases of a test, and why it is out of httpx's reach."""


def exception_for(file: str, name: str, original: str) -> str | None:
    """Why a case is not run over httpx. `name`: as pytest shows it, without the transport; `original`: the function's."""
    return EXCEPTIONS.get(f"{file}::{name}") or EXCEPTIONS.get(f"{file}::{original}")
