// What happens, as it happens: the gateway's server-sent events, read by `fetch`, since an EventSource cannot send a token.

import { Refused, ask } from "./api.js";
import { h, pill, setHidden } from "./dom.js";
import * as format from "./format.js";
import { TONES, USABLE } from "./states.js";

const KEEP = 300;
const AGAIN_MS = 2000;
/** The gateway says something every 15 s; a connection that is silent for longer is a dead one. */
const SILENT_MS = 40000;

/** Reads the stream and goes on after every break, from where it was. */
export class EventStream {
  /** `onEvent(kind, facts)` is told of each. */
  constructor(onEvent) {
    this.onEvent = onEvent;
    this.running = false;
    this.lastId = null;
  }

  async start() {
    if (this.running) return;
    this.running = true;
    while (this.running) {
      try {
        await this.read();
      } catch (error) {
        // Without a token that is good there is nothing to hear; the next login starts it again.
        if (error instanceof Refused) this.running = false;
      }
      if (this.running) await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
  }

  async read() {
    const headers = { Accept: "text/event-stream" };
    if (this.lastId !== null) headers["Last-Event-ID"] = this.lastId;
    const control = new AbortController();
    const answer = await ask("/admin/events", { headers, signal: control.signal });
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let left = "";
    for (;;) {
      const silence = setTimeout(() => control.abort(), SILENT_MS);
      const { done, value } = await reader.read().finally(() => clearTimeout(silence));
      if (done) return;
      const blocks = (left + value).split("\n\n");
      left = blocks.pop();
      blocks.forEach((block) => this.take(block));
    }
  }

  take(block) {
    const fields = {};
    for (const line of block.split("\n")) {
      const colon = line.indexOf(":");
      if (colon > 0) fields[line.slice(0, colon)] = line.slice(colon + 1).trimStart();
    }
    if (fields.id) this.lastId = fields.id;
    if (fields.event && fields.data) this.onEvent(fields.event, JSON.parse(fields.data));
  }
}

export class EventsView {
  constructor() {
    this.list = h("ol", { class: "log events", reversed: true });
    const text = "Nothing has happened yet. Changes of the registry, ejections, breakers and orders appear here.";
    this.empty = h("p", { class: "empty", text });
    this.element = h("section", { "aria-label": "Events" }, this.empty, this.list);
  }

  add(kind, facts) {
    setHidden(this.empty, true);
    const [tone, word] = nameOf(kind, facts);
    const when = facts.at ? h("time", { datetime: facts.at, text: format.at(facts.at) }) : h("span");
    const what = h("span", {}, h("strong", { text: facts.service ?? "" }), ` ${told(kind, facts)}`);
    this.list.prepend(h("li", {}, when, pill(tone, word), what));
    if (this.list.children.length > KEEP) this.list.lastChild.remove();
  }
}

function nameOf(kind, facts) {
  if (kind === "ejection") return [TONES[facts.to] ?? "bad", USABLE.includes(facts.to) ? "back" : facts.to];
  if (kind === "breaker") return [{ closed: "good", half_open: "warn" }[facts.state] ?? "bad", "breaker"];
  if (kind === "reload") return [facts.ok ? "info" : "bad", "configuration"];
  return [{ missed: "warn", operator: "info" }[kind] ?? "muted", kind];
}

function told(kind, facts) {
  const because = facts.reason ? `: ${facts.reason}` : "";
  if (facts.from && facts.to) return `${facts.instance} ${facts.from} → ${facts.to}${because}`;
  if (kind === "registry") return registry(facts);
  if (kind === "breaker") return `is ${facts.state.replace("_", " ")}${because}`;
  if (kind === "operator") return order(facts);
  if (kind === "reload") return configuration(facts);
  if (kind === "missed") return `${facts.missed} events were too many at once and are not shown`;
  const { at: _at, service: _service, ...rest } = facts;
  return Object.entries(rest).map(([name, value]) => `${name}: ${typeof value === "object" ? JSON.stringify(value) : value}`).join(", ");
}

function configuration({ ok, source, changes = [], errors = [] }) {
  return ok ? `${source}: ${changes.join("; ") || "read again, as it was"}` : `${source} refused: ${errors.join("; ")}`;
}

function order({ action, instance, weight, for_seconds, by }) {
  const value = weight === undefined ? "" : ` ${weight ?? "as registered"}`;
  const time = for_seconds === undefined ? "" : ` for ${format.duration(for_seconds)}`;
  return `${action} ${instance}${value}${time} by ${by}`;
}

function registry({ state, instances, added = [], removed = [], changed = [] }) {
  const parts = [format.plural(instances, "instance")];
  if (added.length) parts.push(`new: ${added.join(", ")}`);
  if (removed.length) parts.push(`gone: ${removed.join(", ")}`);
  if (changed.length) parts.push(`changed: ${changed.join(", ")}`);
  if (state !== "fresh") parts.push(`discovery is ${state}`);
  return parts.join("; ");
}
