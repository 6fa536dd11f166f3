# What an agent needs to put itself and its services into the catalogue.
node_prefix "" {
  policy = "write"
}
service_prefix "" {
  policy = "read"
}
