"""The gateway's own paths: health, metrics, admin. Sees the gateway through `port.GatewayPort` only."""
