// What is known of the services, and of the last minutes: the API tells totals, and here they become rates.

import { USABLE } from "./states.js";

/** Seconds between two looks. */
export const EVERY_S = 2;
/** Looks that are remembered: five minutes. */
export const KEEP = 150;
/** Errors are a share of the requests of so many looks: one failure in a quiet second is not 100 %. */
const WINDOW = 15;
/** Seconds after which an instance that nobody looks at is forgotten. */
const FORGET_S = 60;

/** One line of a sparkline: the newest `KEEP` values, null where nothing was known. */
export class Series {
  constructor() {
    this.values = [];
    this.pushed = 0;
  }

  push(value) {
    this.values.push(value);
    this.pushed += 1;
    if (this.values.length > KEEP) this.values.shift();
  }
}

/** Totals that grow, and what became of them lately. */
export class Meter {
  constructor() {
    this.looks = [];
  }

  take(atS, requests, failures) {
    const last = this.looks.at(-1);
    // Smaller than before: the gateway, or the instance, has begun anew.
    if (last && (requests < last.requests || failures < last.failures)) this.looks = [];
    this.looks.push({ atS, requests, failures });
    if (this.looks.length > WINDOW) this.looks.shift();
  }

  /** Requests per second since the look before; null with the first one. */
  get rate() {
    const [before, now] = [this.looks.at(-2), this.looks.at(-1)];
    return before && now.atS > before.atS ? (now.requests - before.requests) / (now.atS - before.atS) : null;
  }

  /** The share of failed ones (0..1) of late; null if there were none to fail. */
  get failureRatio() {
    const [first, now] = [this.looks[0], this.looks.at(-1)];
    const requests = now ? now.requests - first.requests : 0;
    return requests > 0 ? Math.min(1, (now.failures - first.failures) / requests) : null;
  }
}

/** One service as the list shows it; the fields of the API's summary are its own. */
export class Service {
  constructor(name) {
    this.name = name;
    this.meter = new Meter();
    this.rates = new Series();
    this.errors = new Series();
    this.medians = new Series();
    this.latencies = new Series();
  }

  take(summary, atS) {
    Object.assign(this, summary);
    this.total = 0;
    this.usable = 0;
    for (const [state, number] of Object.entries(summary.states)) {
      if (state !== "gone") this.total += number;
      if (USABLE.includes(state)) this.usable += number;
    }
    this.ready = (summary.states.ready ?? 0) + (summary.states.warming ?? 0);
    this.meter.take(atS, summary.requests_total, summary.failures_total);
    this.failureRatio = this.meter.failureRatio;
    this.rates.push(summary.requests_per_second);
    this.errors.push(this.failureRatio ?? 0);
    this.medians.push(summary.latency_ms.p50);
    this.latencies.push(summary.latency_ms.p99);
  }

  get notReady() {
    return this.total - this.ready;
  }

  get needsAttention() {
    return this.total === 0 || this.notReady > 0 || this.breaker.state !== "closed" || this.panic;
  }
}

/** All of it. `services` is sorted by name. */
export class Model {
  constructor() {
    this.services = new Map();
    this.rates = new Series();
    this.envelope = null;
    this.skewMs = 0;
    this.before = new Set(); // the runs of gateways that have answered before the present one
    this.several = false;
  }

  /** Take over an answer to `/admin/upstreams?summary=true`; returns "restarted", "several" (once) or null: who has answered. */
  take(document, localMs) {
    const news = this.whoAnswers(document.gateway.id);
    const atMs = Date.parse(document.generated_at);
    const known = this.services;
    this.services = new Map();
    for (const summary of document.services) {
      const service = known.get(summary.name) ?? new Service(summary.name);
      service.take(summary, atMs / 1000);
      this.services.set(summary.name, service);
    }
    this.envelope = document;
    this.skewMs = atMs - localMs;
    this.rates.push(this.sum("requests_per_second"));
    return news;
  }

  /** Another gateway than before is a new run of it; one that comes back after that was there all the time. */
  whoAnswers(id) {
    const before = this.envelope?.gateway.id ?? id;
    if (id === before || this.several) return null;
    this.several = this.before.has(id);
    this.before.add(before);
    return this.several ? "several" : "restarted";
  }

  sum(field) {
    let total = 0;
    for (const service of this.services.values()) total += service[field];
    return total;
  }

  /** The share of failed requests (0..1) over all services; null if there were no requests. */
  get failureRatio() {
    let requests = 0;
    let failures = 0;
    for (const { meter } of this.services.values()) {
      requests += meter.looks.at(-1).requests - meter.looks[0].requests;
      failures += meter.looks.at(-1).failures - meter.looks[0].failures;
    }
    return requests > 0 ? failures / requests : null;
  }
}

/** Meters of the instances that are, or were a moment ago, on the screen. */
export class InstanceMeters {
  constructor() {
    this.meters = new Map();
    this.sweptAtS = 0;
  }

  /** The meter of an instance after one more look; one that was not looked at for a while begins anew. */
  take(service, instance, atS) {
    const key = `${service}\n${instance.node}\n${instance.id}`;
    let meter = this.meters.get(key);
    if (!meter || atS - meter.looks.at(-1).atS > 5 * EVERY_S) {
      meter = new Meter();
      this.meters.set(key, meter);
    }
    meter.take(atS, instance.requests_total, instance.failures_total);
    if (atS - this.sweptAtS > FORGET_S) this.sweep(atS);
    return meter;
  }

  /** A page may stay open for months, and instances come and go with each deploy. */
  sweep(atS) {
    this.sweptAtS = atS;
    for (const [key, meter] of this.meters) if (atS - meter.looks.at(-1).atS > FORGET_S) this.meters.delete(key);
  }
}

/** The name that the API takes for an instance, unique on every node. */
export function nameOf(instance) {
  return `${instance.node}:${instance.id}`;
}

/** "10.0.0.7:9001 · n1 · zone a · weight 3"; an ordinary weight is not told. */
export function placeOf({ address, port, node, zone, weight }) {
  const told = [`${address}:${port}`];
  if (node) told.push(node);
  if (zone) told.push(`zone ${zone}`);
  if (weight !== 1) told.push(`weight ${weight}`);
  return told.join(" · ");
}
