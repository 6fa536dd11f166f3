"""Bodies of ``catalog/register``: what is taken over, and what is completed; refusals are in the contract suite."""

from __future__ import annotations

import json

from discovery.embedded.catalog_bodies import parse_entry, parse_removal
from discovery.embedded.records import CatalogEntry, CatalogRemoval, Check, Node, Service


def test_everything_that_is_given_is_taken_over() -> None:
    """What an answer of the catalogue says beyond it, such as indexes, is no error: it may be sent back as it is."""
    body = {
        "ID": "n-id",
        "Node": "n",
        "Address": "10.0.0.9",
        "TaggedAddresses": {"lan": "10.0.0.9"},
        "NodeMeta": {"zone": "a"},
        "Service": {
            "ID": "w1",
            "Service": "web",
            "Tags": ["t"],
            "Port": 80,
            "Meta": {"k": "v"},
            "TaggedAddresses": {"wan": {"Address": "192.0.2.1", "Port": 81}},
            "Weights": {"Passing": 3, "Warning": 2},
            "CreateIndex": 5,
        },
        "Check": {"Node": "n", "CheckID": "c", "Name": "check", "Status": "passing", "ServiceID": "w1", "Definition": {}, "ModifyIndex": 7},
        "Checks": [{"Name": "k", "Notes": "why", "Output": "said"}],
    }
    assert parse_entry(json.dumps(body).encode(), "dc1") == CatalogEntry(
        Node("n-id", "n", "10.0.0.9", "dc1", {"lan": "10.0.0.9"}, {"zone": "a"}),
        Service("w1", "web", ("t",), "", 80, {"wan": ("192.0.2.1", 81)}, {"k": "v"}, 3, 2),
        (Check("c", "check", "passing", service_id="w1"), Check("k", "k", "critical", "why", "said")),
    )


def test_a_node_alone_is_enough() -> None:
    """A service is known by its name where it has no id; a removal names what of the node is to go."""
    assert parse_entry(b'{"Node": "n", "Address": "a"}', "dc1") == CatalogEntry(Node("", "n", "a"))
    entry = parse_entry(b'{"Node": "n", "SkipNodeUpdate": true, "Service": {"Service": "web"}}', "dc1")
    assert (entry.service, entry.skip_node_update) == (Service("web", "web"), True)
    assert parse_removal(b'{"Node": "n", "ServiceID": "w"}', "dc1") == CatalogRemoval("n", "w")
