// What the words of the API mean for the eye. A tone is a colour; it never stands without its word.

/** State of an instance -> tone. */
export const TONES = {
  ready: "good",
  warming: "info",
  suspect: "warn",
  draining: "muted",
  maintenance: "muted",
  ejected: "bad",
  unhealthy: "bad",
  critical: "bad",
  gone: "muted",
};

/** The states that take traffic. */
export const USABLE = ["ready", "warming", "suspect"];

export const DISCOVERY_TONES = { fresh: "good", stale: "warn", snapshot: "warn", expired: "bad" };

export function breakerWord(state) {
  return `breaker ${state.replace("_", " ")}`;
}

/** How a service is, in one word: [tone, word]. `service` is one of `model.js`. */
export function verdict(service) {
  if (service.total === 0) return ["bad", "no instances"];
  if (service.usable === 0) return ["bad", "down"];
  if (service.breaker.state === "open") return ["bad", "breaker open"];
  if (service.panic) return ["bad", "panic"];
  if (service.breaker.state === "half_open") return ["warn", "breaker half open"];
  if (service.ready < service.total) return ["warn", "degraded"];
  return ["good", "healthy"];
}

/** How bad that is: who has no instance at all is worse off than who lacks many. */
export function severity(service) {
  return ["good", "warn", "bad"].indexOf(verdict(service)[0]);
}
