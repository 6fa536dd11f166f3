# A service that cannot register itself: the agent on its machine does, from a file in its -config-dir (`consul reload` after a change).
service {
  name    = "orders"
  id      = "orders-1"
  address = "10.0.0.7"
  port    = 9001
  tags    = ["lbgateway.enable=true"] # lets the gateway route to it: /api/orders

  meta = {
    lbgateway-timeout-response = "5s" # what tags may say, Meta may say with dashes (docs/routes.md)
  }

  weights {
    passing = 10
    warning = 1 # a tenth of the traffic while a check is warning
  }

  check {
    http     = "http://10.0.0.7:9001/health"
    interval = "5s"
    timeout  = "2s"

    deregister_critical_service_after = "10m"
  }
}
