# Beside server.hcl or agent.hcl, for TLS between all parties: the gateway speaks https to port 8501, and shows a certificate.
# `make-certificates.sh` makes the files. In the gateway's configuration:
#
#   discovery:
#     consul:
#       url: https://consul-agent:8501
#       tls: {ca: consul-agent-ca.pem, cert: gateway.pem, key: gateway-key.pem}
ports {
  http  = -1
  https = 8501
}

ca_file   = "/consul/tls/consul-agent-ca.pem"
cert_file = "/consul/tls/consul.pem"
key_file  = "/consul/tls/consul-key.pem"

verify_incoming        = true
verify_outgoing        = true
verify_server_hostname = true
