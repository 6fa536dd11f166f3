// The list of services: search, filter, order, and who is open. What is off the screen is neither asked for nor drawn.

import { get } from "./api.js";
import { h, setAttribute, setChildren, setHidden, setText } from "./dom.js";
import * as format from "./format.js";
import { ServiceRow } from "./service_row.js";
import { SearchIndex } from "./search.js";
import { severity } from "./states.js";

const ORDERS = {
  name: ["By name", () => 0],
  trouble: ["Worst first", (one, two) => severity(two) - severity(one) || two.notReady - one.notReady],
  rate: ["Most requests first", (one, two) => two.requests_per_second - one.requests_per_second],
  errors: ["Most errors first", (one, two) => (two.failureRatio ?? 0) - (one.failureRatio ?? 0)],
  latency: ["Slowest p99 first", (one, two) => (two.latency_ms.p99 ?? 0) - (one.latency_ms.p99 ?? 0)],
};
const NOBODY =
  "No service yet. One appears when it is registered with the tag lbgateway.enable=true, or named under `services` in the configuration.";
/** So many instances of one service are looked through. */
const AT_MOST = 2000;
const LABELS = ["Service", "State", "Requests/s", "Errors", "p50 / p99", "Active", "Ejections"];

export class ServicesView {
  /** `measured(work)` runs and times what blocks the page; `openInstance(service, name)` shows one. */
  constructor(model, { measured, openInstance }) {
    this.model = model;
    this.measured = measured;
    this.rows = new Map();
    this.chosen = new Map(); // service -> opened or closed by hand
    this.onlyNotReady = false;
    this.allOpen = false;
    this.index = new SearchIndex(() => this.render());
    this.actions = {
      toggle: (name) => this.toggle(name),
      more: (name) => this.load(this.rows.get(name)),
      instance: openInstance,
    };
    this.observer = new IntersectionObserver((entries) => this.seen(entries), { rootMargin: "200px" });
    this.build();
  }

  build() {
    const search = { type: "search", placeholder: "Service, instance, address, tag", "aria-keyshortcuts": "/" };
    const calm = { "aria-label": "Search services and instances", spellcheck: "false", autocomplete: "off" };
    this.search = h("input", { ...search, ...calm, on: { input: () => this.searched() } });
    this.all = h("button", { type: "button", "aria-pressed": "true", on: { click: () => this.filter(false) } });
    this.notReady = h("button", { type: "button", "aria-pressed": "false", on: { click: () => this.filter(true) } });
    const options = Object.entries(ORDERS).map(([value, [text]]) => h("option", { value, text }));
    this.order = h("select", { "aria-label": "Order", on: { change: () => this.render() } }, ...options);
    const expand = () => this.setAllOpen(!this.allOpen);
    this.expandAll = h("button", { type: "button", class: "quiet", text: "Expand all", on: { click: expand } });
    this.list = h("ul", { class: "services", role: "list" });
    this.empty = h("p", { class: "empty", hidden: true });
    this.element = h(
      "section",
      { "aria-label": "Services" },
      h(
        "div",
        { class: "tools" },
        this.search,
        h("div", { class: "choice", role: "group", "aria-label": "Filter" }, this.all, this.notReady),
        this.order,
        this.expandAll,
      ),
      h("div", { class: "labels", "aria-hidden": "true" }, ...LABELS.map((text) => h("span", { text }))),
      this.list,
      this.empty,
    );
  }

  // -- what readers do

  searched() {
    this.chosen.clear();
    this.index.follow(this.words);
    this.render();
    this.loadVisible();
  }

  filter(onlyNotReady) {
    this.onlyNotReady = onlyNotReady;
    this.chosen.clear();
    this.render();
    this.loadVisible();
  }

  setAllOpen(open) {
    this.allOpen = open;
    this.chosen.clear();
    setText(this.expandAll, open ? "Collapse all" : "Expand all");
    this.render();
    this.loadVisible();
  }

  toggle(name) {
    this.open(name, !this.isOpen(this.model.services.get(name)));
  }

  open(name, open = true) {
    this.chosen.set(name, open);
    this.render();
    if (open) this.load(this.rows.get(name));
  }

  /** Open a service and bring it into view; false if there is none. */
  reveal(name) {
    if (!this.model.services.has(name)) return false;
    this.open(name);
    this.rows.get(name).element.scrollIntoView({ block: "nearest" });
    return true;
  }

  // -- what is shown

  get words() {
    return this.search.value.toLowerCase().split(/\s+/).filter(Boolean);
  }

  isOpen(service) {
    return this.chosen.get(service.name) ?? (this.allOpen || (this.onlyNotReady && service.notReady > 0) || this.foundInside(service.name));
  }

  /** Whether the search names an instance of the service, and not the service itself. */
  foundInside(name) {
    const words = this.words;
    return words.length > 0 && !words.every((word) => name.toLowerCase().includes(word)) && this.index.matches(name, words);
  }

  isWanted(service) {
    if (this.onlyNotReady && !service.needsAttention) return false;
    const words = this.words;
    return words.every((word) => service.name.toLowerCase().includes(word)) || this.index.matches(service.name, words);
  }

  isWantedInstance(service, instance) {
    if (this.onlyNotReady && ["ready", "warming", "gone"].includes(instance.state)) return false;
    return !this.foundInside(service) || this.index.instanceMatches(instance, this.words);
  }

  render() {
    const services = [...this.model.services.values()];
    const wanted = services.filter((service) => this.isWanted(service)).sort(ORDERS[this.order.value][1]);
    const rows = wanted.map((service) => this.row(service));
    setChildren(this.list, rows.map((row) => row.element));
    rows.forEach((row, index) => {
      if (row.visible || !row.drawn) row.render(wanted[index], this.isOpen(wanted[index]));
      else row.expand(this.isOpen(wanted[index]), wanted[index].total);
    });
    this.forget();
    const needy = services.filter((service) => service.needsAttention).length;
    setText(this.all, `All ${format.count(services.length)}`);
    setText(this.notReady, `Not ready ${format.count(needy)}`);
    setAttribute(this.all, "aria-pressed", String(!this.onlyNotReady));
    setAttribute(this.notReady, "aria-pressed", String(this.onlyNotReady));
    setHidden(this.empty, wanted.length > 0);
    setText(this.empty, wanted.length ? "" : this.whyEmpty(services.length));
  }

  whyEmpty(known) {
    if (known === 0) return NOBODY;
    const among = this.onlyNotReady ? " among what is not ready" : "";
    if (this.words.length) return `Nothing matches “${this.search.value.trim()}”${among}.`;
    return "Every instance of every service is ready.";
  }

  row(service) {
    let row = this.rows.get(service.name);
    if (!row) {
      row = new ServiceRow(service.name, this.actions);
      row.element.row = row;
      this.rows.set(service.name, row);
      this.observer.observe(row.element);
    }
    return row;
  }

  forget() {
    for (const [name, row] of this.rows) {
      if (this.model.services.has(name)) continue;
      this.observer.unobserve(row.element);
      this.rows.delete(name);
      this.chosen.delete(name);
    }
  }

  seen(entries) {
    for (const { target, isIntersecting } of entries) {
      target.row.visible = isIntersecting;
      if (!isIntersecting) continue;
      const service = this.model.services.get(target.row.name);
      if (service) this.measured(() => target.row.render(service, this.isOpen(service)));
      if (target.row.expanded) this.load(target.row);
    }
  }

  // -- instances

  /** Have the instances that are on the screen read anew, a few at a time. */
  async loadVisible() {
    const rows = [...this.rows.values()].filter((row) => row.visible && row.expanded);
    const next = async () => {
      for (let row = rows.shift(); row; row = rows.shift()) await this.load(row);
    };
    await Promise.all([next(), next(), next()]);
  }

  async load(row) {
    if (row.loading) return;
    row.loading = true;
    try {
      // Those that are looked for may be behind the first page.
      const limit = this.onlyNotReady || this.foundInside(row.name) ? AT_MOST : row.instances.limit;
      const document = await get(`/admin/upstreams/${encodeURIComponent(row.name)}?limit=${limit}`);
      const wanted = (instance) => this.isWantedInstance(row.name, instance);
      if (row.expanded) this.measured(() => row.instances.render(document, wanted, Date.now() + this.model.skewMs));
    } catch {
      // The next look says what is wrong, once for all.
    } finally {
      row.loading = false;
    }
  }
}
