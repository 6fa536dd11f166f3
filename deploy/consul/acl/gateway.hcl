# All that a gateway needs. Without node:read Consul answers "no instances" and not "forbidden": lbgateway says which rule is missing.
service_prefix "" {
  policy = "read"
}
node_prefix "" {
  policy = "read"
}

# discovery.consul.register: the gateway registers itself.
service "lbgateway" {
  policy = "write"
}

# discovery.consul.config_key
key_prefix "lbgateway/" {
  policy = "read"
}
