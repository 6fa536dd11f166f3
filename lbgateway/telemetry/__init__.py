"""What the gateway tells about itself: numbers, access log, events. The request path only counts and appends."""
