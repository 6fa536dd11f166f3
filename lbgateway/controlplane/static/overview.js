// The strip on top: the whole gateway in one line of numbers.

import { h, pill, setHidden, setPill, setText } from "./dom.js";
import * as format from "./format.js";
import { Spark } from "./spark.js";
import { DISCOVERY_TONES } from "./states.js";

export class Overview {
  constructor() {
    this.services = h("dd", {});
    this.servicesNote = h("dd", { class: "note" });
    this.instances = h("dd", {});
    this.instancesNote = h("dd", { class: "note" });
    this.rate = h("dd", {});
    this.spark = new Spark("accent");
    this.errors = h("dd", {});
    this.active = h("dd", {});
    this.discovery = pill("muted", "–");
    this.discoveryNote = h("dd", { class: "note" });
    this.problem = h("p", { class: "problem", hidden: true });
    this.element = h(
      "section",
      { class: "overview", "aria-label": "The gateway at a glance" },
      h(
        "dl",
        { class: "tiles" },
        tile("Services", this.services, this.servicesNote),
        tile("Instances usable", this.instances, this.instancesNote),
        tile("Requests/s", this.rate, h("dd", { class: "chart" }, this.spark.element)),
        tile("Errors", this.errors, h("dd", { class: "note", text: "of the last 30 s" })),
        tile("Active requests", this.active, h("dd", { class: "note", text: "at instances now" })),
        tile("Discovery", h("dd", {}, this.discovery), this.discoveryNote),
      ),
      this.problem,
    );
  }

  render(model) {
    const services = [...model.services.values()];
    const needy = services.filter((service) => service.needsAttention).length;
    setText(this.services, format.count(services.length));
    setText(this.servicesNote, needy ? `${needy} not fully ready` : "all ready");
    const total = model.sum("total");
    setText(this.instances, `${format.count(model.sum("usable"))} of ${format.count(total)}`);
    setText(this.instancesNote, notes(services) || "none in trouble");
    setText(this.rate, format.rate(model.rates.values.at(-1)));
    this.spark.draw(model.rates, 1);
    setText(this.errors, format.ratio(model.failureRatio));
    setText(this.active, format.count(model.sum("active_requests")));
    this.renderDiscovery(model.envelope.discovery);
  }

  renderDiscovery({ provider, state, age_seconds, last_error }) {
    setPill(this.discovery, DISCOVERY_TONES[state] ?? "bad", state ?? "nothing heard yet");
    const age = age_seconds === null ? "" : `, confirmed ${format.duration(age_seconds)} ago`;
    setText(this.discoveryNote, `${provider}${age}`);
    setHidden(this.problem, !last_error || state === "fresh");
    setText(this.problem, last_error ? `Discovery: ${last_error}` : "");
  }
}

/** "2 ejected, 1 critical", over all services. */
function notes(services) {
  const states = {};
  for (const service of services) {
    for (const [state, number] of Object.entries(service.states)) {
      if (state !== "ready" && state !== "gone" && number) states[state] = (states[state] ?? 0) + number;
    }
  }
  return Object.entries(states).map(([state, number]) => `${format.count(number)} ${state}`).join(", ");
}

function tile(label, ...values) {
  return h("div", { class: "tile" }, h("dt", { text: label }), ...values);
}
