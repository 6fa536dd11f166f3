# What the service `orders` needs to register itself, and nothing else. One such file, and one token, for each service.
service "orders" {
  policy = "write"
}
