// One instance, whole: why it may or may not be picked, what became of it lately, and what can be ordered of it.

import { Refused, get } from "./api.js";
import { confirmed, titleOf, verbsFor } from "./confirm.js";
import { h, pill } from "./dom.js";
import * as format from "./format.js";
import { nameOf } from "./model.js";
import { TONES } from "./states.js";

export class Drawer {
  /** `onClose` is told when a reader has closed it; `onAct` after each order. */
  constructor(model, { onClose, onAct }) {
    this.model = model;
    this.onAct = onAct;
    this.shown = null;
    this.title = h("h2", { id: "drawer-title" });
    this.of = h("p", { class: "note" });
    this.notice = h("div", { class: "notice", role: "status" });
    this.content = h("div", { class: "content" });
    this.element = h(
      "dialog",
      { class: "drawer", "aria-labelledby": "drawer-title" },
      h(
        "div",
        { class: "drawer-top" },
        h("div", {}, this.title, this.of),
        h("button", { type: "button", class: "quiet", text: "Close", on: { click: () => this.element.close() } }),
        this.notice,
      ),
      this.content,
    );
    this.element.addEventListener("close", () => {
      this.shown = null;
      onClose();
    });
    // A click beside it closes it.
    this.element.addEventListener("click", (event) => event.target === this.element && this.element.close());
  }

  show(service, name) {
    this.shown = { service, name };
    const node = name.slice(0, name.indexOf(":"));
    this.title.textContent = name.slice(node.length + 1);
    this.of.textContent = `of ${service}${node ? `, on ${node}` : ""}`;
    this.content.replaceChildren(h("p", { class: "note", text: "Loading…" }));
    this.drawnFor = "";
    if (!this.element.open) this.element.showModal();
    return this.refresh();
  }

  close() {
    if (this.element.open) this.element.close();
  }

  /** Read it anew, if one is shown. */
  async refresh() {
    if (!this.shown) return;
    const { service, name } = this.shown;
    try {
      const path = `/admin/upstreams/${encodeURIComponent(service)}/explain?instance=${encodeURIComponent(name)}`;
      const { instances } = await get(path);
      if (this.shown?.name !== name) return;
      if (instances.length) this.render(instances[0]);
      else this.say(`${service} has no instance ${name} any more.`);
    } catch (error) {
      if (error instanceof Refused && error.status === 404) this.say(error.message);
    }
  }

  say(text) {
    this.content.replaceChildren(h("p", { class: "empty", text }));
  }

  render(instance) {
    const now = Date.now() + this.model.skewMs;
    // Only what has changed: somebody may be reading, or about to press a button.
    const { generated_at: _, ...rest } = instance;
    const key = JSON.stringify(rest) + format.since(instance.since, now);
    if (key === this.drawnFor || this.isMarked()) return;
    this.drawnFor = key;
    const focused = this.content.contains(document.activeElement) ? document.activeElement.dataset.verb : null;
    this.content.replaceChildren(
      h(
        "p",
        { class: "verdict" },
        pill(TONES[instance.state] ?? "bad", instance.state),
        h("span", { class: "note", text: `for ${format.since(instance.since, now)}` }),
      ),
      h("p", { class: "why", text: sentence(withoutOutput(instance)) }),
      ...section("The registry’s check", output(instance.check_output)),
      ...this.orders(instance),
      this.numbers(instance),
      ...section("Last changes", changes(instance.changes)),
      ...section("Last picks", picks(instance.picks)),
      h("h3", { text: "What the registry says" }),
      registered(instance),
    );
    // What was ordered is there no more to be pressed, but its opposite is.
    if (focused) (this.content.querySelector(`[data-verb="${focused}"]`) ?? this.content.querySelector("[data-verb]")).focus();
  }

  /** Whether somebody has marked a part of it, an error to send to a colleague: that must not vanish under the mouse. */
  isMarked() {
    const marked = getSelection();
    return !marked.isCollapsed && this.content.contains(marked.anchorNode);
  }

  orders(instance) {
    const verbs = verbsFor(instance).map((verb) =>
      h("button", { type: "button", "data-verb": verb, text: titleOf(verb), on: { click: () => this.order(verb, instance) } }),
    );
    return [h("p", { class: "buttons", role: "group", "aria-label": "Actions" }, ...verbs), ...standing(instance.order)];
  }

  async order(verb, instance) {
    const service = this.model.services.get(this.shown.service);
    const now = await confirmed(verb, service ?? { name: this.shown.service, usable: 2 }, instance);
    if (now) {
      getSelection().removeAllRanges();
      if (this.shown?.name === nameOf(now)) this.render(now);
      this.onAct();
    }
  }

  numbers(instance) {
    const { latency_ms: latency, connections } = instance;
    const until = instance.ejected_until && !instance.order?.ejected_by ? `; this one until ${format.at(instance.ejected_until)}` : "";
    const most = instance.adaptive ? ` of ${format.count(instance.limit)} at most, by its latency` : "";
    const failures = instance.requests_total ? ` (${format.ratio(instance.failures_total / instance.requests_total)})` : "";
    return facts({
      "Requests": `${format.count(instance.requests_total)}, ${format.count(instance.failures_total)} failed${failures}`,
      "Active now": `${format.count(instance.active_requests)}${most}`,
      "p50 / p99": `${format.latency(latency.p50)} / ${format.latency(latency.p99)}`,
      "Latency as picks see it": format.latency(instance.latency_ewma_ms),
      "Cost": instance.cost === null ? "not compared" : String(Math.round(instance.cost * 1e6) / 1e6),
      "Weight": String(instance.weight),
      "Connections": `${connections.idle} idle, ${connections.active} in use`,
      "Ejections": `${format.count(instance.ejections_total)}${until}`,
      "Last error": instance.last_error,
    });
  }
}

function sentence(text) {
  return text ? `${text[0].toUpperCase()}${text.slice(1)}.` : "";
}

/** Why, where what the check says stands below by itself. */
function withoutOutput({ why, check_output: told }) {
  return told ? why.replace(` (${told})`, "") : why;
}

/** What a check has printed, line by line as it did. */
function output(text) {
  return text ? h("p", { class: "output", text: text }) : null;
}

/** Orders in force, and by whom. */
function standing(order) {
  const told = [];
  if (order?.drained_by) told.push(`Drained by ${order.drained_by}.`);
  const until = order?.ejected_until ? format.at(order.ejected_until) : "unejected";
  if (order?.ejected_by) told.push(`Ejected by ${order.ejected_by} until ${until}.`);
  if (order?.weighed_by) told.push(`Weight ${order.weight} by ${order.weighed_by}.`);
  return told.length ? [h("p", { class: "note", text: told.join(" ") })] : [];
}

function registered(instance) {
  const meta = Object.entries(instance.meta).map(([key, value]) => `${key}=${value}`);
  return facts({
    "Address": `${instance.scheme}://${instance.address}:${instance.port}`,
    "Node": instance.node || "–",
    "Id": instance.id,
    "Health": instance.consul_status,
    "Zone": instance.zone ?? "–",
    "Tags": instance.tags.join(", ") || "–",
    "Meta": meta.join(", ") || "–",
  });
}

function facts(values) {
  const pairs = Object.entries(values).filter(([, value]) => value !== null && value !== undefined);
  return h("dl", { class: "sheet" }, ...pairs.map(([label, value]) => h("div", {}, h("dt", { text: label }), h("dd", { text: value }))));
}

function section(title, content) {
  return content ? [h("h3", { text: title }), content] : [];
}

function changes(list) {
  if (!list) return null;
  if (!list.length) return h("p", { class: "note", text: "None since the gateway knows it." });
  const told = list.map((change) =>
    h(
      "li",
      {},
      h("time", { datetime: change.at, text: format.at(change.at) }),
      h("span", {}, `${change.from} → `, pill(TONES[change.to] ?? "bad", change.to), change.reason ? ` ${change.reason}` : ""),
    ),
  );
  return h("ol", { class: "log" }, ...told);
}

function picks(list) {
  if (!list) return null;
  if (!list.length) return h("p", { class: "note", text: "None was noted of late." });
  const told = list.map((pick) =>
    h("li", {}, h("time", { datetime: pick.at, text: format.at(pick.at) }), h("span", { text: choice(pick) })),
  );
  return h("ol", { class: "log" }, ...told);
}

/** "the lower cost of two; of 4: orders-1 (cost 0.004, 2 active), orders-3 (cost 0.006, 3 active)"; a trial had no others. */
function choice({ reason, of, candidates }) {
  const others = candidates.map((each) => {
    const cost = each.cost === null ? "" : `cost ${Number(each.cost.toPrecision(3))}, `;
    return `${each.instance} (${cost}${each.active} active)`;
  });
  return others.length ? `${reason}; of ${of}: ${others.join(", ")}` : reason;
}
