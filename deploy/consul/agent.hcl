# A Consul agent for one machine: gateways and services talk to it, it talks to the servers.
server      = false
data_dir    = "/consul/data"
client_addr = "0.0.0.0"
bind_addr   = "0.0.0.0"
retry_join  = ["consul-server"]

acl {
  enabled                  = true
  default_policy           = "deny"
  enable_token_persistence = true
}
