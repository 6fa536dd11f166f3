// One service of the list: a line of numbers, and below it, when it is open, its instances.

import { h, pill, setAttribute, setHidden, setPill, setText } from "./dom.js";
import * as format from "./format.js";
import { Instances } from "./instances.js";
import { Spark } from "./spark.js";
import { DISCOVERY_TONES, TONES, breakerWord, verdict } from "./states.js";

/** Heights of a closed row and of an instance's line, for rows that were never drawn: the scrollbar shall not jump much. */
const ROW_PX = 72;
const LINE_PX = 57;
let made = 0;

export class ServiceRow {
  /** `actions.toggle(name)`, `actions.more(name)`, `actions.instance(name, instance)` are what a reader may want. */
  constructor(name, actions) {
    this.name = name;
    this.expanded = false;
    this.visible = false;
    this.drawn = false;
    this.instances = new Instances(name, actions);
    // Numbered: a name may hold what an id may not.
    this.instances.element.id = `instances-${(made += 1)}`;
    this.build(actions);
  }

  build(actions) {
    this.button = h("button", {
      type: "button",
      class: "toggle",
      "aria-expanded": "false",
      "aria-controls": this.instances.element.id,
      text: this.name,
      on: { click: () => actions.toggle(this.name) },
    });
    this.about = h("p", { class: "note" });
    this.state = pill("muted", "–");
    this.bar = h("span", { class: "bar", "aria-hidden": "true" });
    this.usable = h("span", { class: "note" });
    this.discovery = pill("warn", "");
    this.numbers = { rate: h("span"), errors: h("span"), latency: h("span"), active: h("span"), ejections: h("span") };
    this.sparks = { rate: new Spark("accent"), errors: new Spark("bad"), latency: new Spark("info") };
    this.budgets = h("p", { class: "note" });
    const body = h("div", { class: "instances", hidden: true }, this.budgets, this.instances.element);
    this.body = body;
    this.element = h("li", { class: "service" }, this.head(), body);
  }

  head() {
    const { numbers, sparks } = this;
    const facts = h(
      "dl",
      { class: "facts" },
      fact("State", h("span", { class: "pills" }, this.state, this.discovery), h("span", { class: "share" }, this.bar, this.usable)),
      fact("Requests/s", numbers.rate, sparks.rate.element),
      fact("Errors", numbers.errors, sparks.errors.element),
      fact("p50 / p99", numbers.latency, sparks.latency.element),
      fact("Active", numbers.active),
      fact("Ejections", numbers.ejections),
    );
    return h("div", { class: "line" }, h("div", { class: "name" }, h("h2", {}, this.button), this.about), facts);
  }

  /** Show `service` of the model, if it can be seen. */
  render(service, expanded) {
    this.drawn = true;
    this.expand(expanded, service.total);
    const [tone, word] = verdict(service);
    setPill(this.state, tone, word);
    setText(this.about, `${service.balancer} · ${breakerWord(service.breaker.state)}`);
    if (expanded) setText(this.budgets, budgetsOf(service));
    setText(this.usable, `${service.usable} of ${service.total} usable`);
    this.renderBar(service.states);
    const discovery = service.discovery_state;
    setHidden(this.discovery, discovery === "fresh");
    setPill(this.discovery, DISCOVERY_TONES[discovery] ?? "bad", discovery ?? "never heard of");
    this.renderNumbers(service);
  }

  renderNumbers(service) {
    setText(this.numbers.rate, format.rate(service.requests_per_second));
    setText(this.numbers.errors, format.ratio(service.failureRatio));
    setAttribute(this.numbers.errors, "data-tone", service.failureRatio > 0.01 ? "bad" : null);
    setText(this.numbers.latency, `${format.latency(service.latency_ms.p50)} / ${format.latency(service.latency_ms.p99)}`);
    setText(this.numbers.active, format.count(service.active_requests));
    setText(this.numbers.ejections, format.count(service.ejections_total));
    this.sparks.rate.draw(service.rates, 1);
    this.sparks.errors.draw(service.errors, 0.05);
    this.sparks.latency.draw(service.latencies, 5, service.medians);
  }

  renderBar(states) {
    const shares = Object.keys(TONES).filter((state) => states[state] && state !== "gone");
    const key = shares.map((state) => `${state}${states[state]}`).join();
    if (this.barKey === key) return;
    this.barKey = key;
    this.bar.replaceChildren(
      ...shares.map((state) => {
        const share = h("i", { "data-tone": TONES[state] });
        share.style.flexGrow = states[state];
        return share;
      }),
    );
  }

  expand(expanded, instances) {
    const px = ROW_PX + (expanded ? LINE_PX * Math.min(instances, 100) + 40 : 0);
    if (this.px !== px) {
      this.px = px;
      this.element.style.containIntrinsicBlockSize = `auto ${px}px`;
    }
    if (this.expanded === expanded) return;
    this.expanded = expanded;
    setAttribute(this.button, "aria-expanded", String(expanded));
    setHidden(this.body, !expanded);
    if (!expanded) this.instances.clear();
  }
}

/** What a service may still do for its requests, and what it has done: a line above its instances. */
function budgetsOf({ breaker, retry_budget: retries, hedge, discovery_state: state, discovery_index: index }) {
  const failed = breaker.failure_ratio > 0 ? `, ${format.ratio(breaker.failure_ratio)} of the last answers failed` : "";
  const told = [
    `Retries: ${format.count(retries.spent_total)} so far, ${format.count(retries.available)} more at once`,
    `${breakerWord(breaker.state)}${failed}`,
  ];
  if (hedge) told.push(`hedges: ${format.count(hedge.hedges_total)} so far, after ${format.latency(hedge.after_ms)}`);
  if (state) told.push(`discovery ${state}${index === null ? "" : ` at index ${index}`}`);
  return `${told.join(" · ")}.`;
}

function fact(label, ...values) {
  return h("div", { class: "fact" }, h("dt", { text: label }), h("dd", {}, ...values));
}
