# One Consul server. In production three or five, each with `bootstrap_expect` of that number and `retry_join` of the others.
server           = true
bootstrap_expect = 1
data_dir         = "/consul/data"
client_addr      = "0.0.0.0"
bind_addr        = "0.0.0.0"
retry_join       = []

acl {
  enabled                  = true
  default_policy           = "deny"
  enable_token_persistence = true
}

limits {
  http_max_conns_per_client = 200 # a gateway takes at most 90 (discovery.consul, docs/discovery.md)
}
