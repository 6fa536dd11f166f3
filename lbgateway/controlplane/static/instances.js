// The instances of one service, a line each. Lines are kept and only their changed cells are written.

import { h, pill, setAttribute, setChildren, setHidden, setPill, setText } from "./dom.js";
import * as format from "./format.js";
import { InstanceMeters, nameOf, placeOf } from "./model.js";
import { TONES } from "./states.js";

/** So many lines to begin with; a reader may ask for more. */
const PAGE = 100;

/** Those of the service above them, in the same places. */
const COLUMNS = ["Instance", "State", "Requests/s", "Errors", "p50 / p99", "Active", "Ejections"];
const meters = new InstanceMeters();

export class Instances {
  constructor(service, actions) {
    this.service = service;
    this.actions = actions;
    this.lines = new Map();
    this.limit = PAGE;
    this.rows = h("tbody", { role: "rowgroup" });
    this.note = h("p", { class: "note", text: "Loading…" });
    this.more = h("button", { type: "button", class: "quiet", hidden: true, text: "Show more", on: { click: () => this.showMore() } });
    const heads = COLUMNS.map((text) => h("th", { scope: "col", role: "columnheader", text }));
    this.table = h(
      "table",
      { role: "table", "aria-label": `Instances of ${service}`, hidden: true },
      h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, ...heads)),
      this.rows,
    );
    this.element = h("div", {}, this.table, h("p", { class: "more" }, this.note, this.more));
  }

  showMore() {
    this.limit *= 4;
    this.actions.more(this.service);
  }

  /** Show those of an answer to `/admin/upstreams/{service}` that `wanted` lets pass. */
  render(document, wanted, nowMs) {
    const atS = Date.parse(document.generated_at) / 1000;
    const shown = document.instances.filter(wanted);
    const lines = shown.map((instance) => {
      const name = nameOf(instance);
      let line = this.lines.get(name);
      if (!line) this.lines.set(name, (line = new Line(() => this.actions.instance(this.service, name))));
      line.render(instance, meters.take(this.service, instance, atS), nowMs);
      return line.element;
    });
    setChildren(this.rows, lines);
    if (this.lines.size > 2 * shown.length + PAGE) this.forgetAllBut(shown);
    setHidden(this.table, shown.length === 0);
    setHidden(this.more, document.next_cursor === null);
    setText(this.note, noteOf(document, shown.length));
    setHidden(this.note, this.note.textContent === "");
  }

  forgetAllBut(shown) {
    const names = new Set(shown.map(nameOf));
    for (const name of this.lines.keys()) if (!names.has(name)) this.lines.delete(name);
  }

  clear() {
    this.lines.clear();
    this.rows.replaceChildren();
    this.limit = PAGE;
    setHidden(this.table, true);
    setHidden(this.more, true);
    setText(this.note, "Loading…");
    setHidden(this.note, false);
  }
}

function noteOf(document, shown) {
  const known = document.instances.length;
  const matching = shown < known ? `, of which ${shown} match` : "";
  if (document.next_cursor !== null) return `The first ${format.plural(known, "instance")}${matching}.`;
  if (known === 0) return "The registry knows no instance of this service.";
  if (shown === 0) return "None of its instances matches.";
  return shown < known ? `${format.plural(known - shown, "other")} of this service ${known - shown === 1 ? "is" : "are"} not shown.` : "";
}

class Line {
  constructor(open) {
    this.id = h("button", { type: "button", class: "link", on: { click: open } });
    this.place = h("span", { class: "note" });
    this.state = pill("muted", "–");
    this.since = h("span", { class: "note since" });
    this.reason = h("span", { class: "note" });
    this.cells = COLUMNS.slice(2).map((label) => h("td", { role: "cell", "data-label": label }));
    this.element = h(
      "tr",
      { role: "row" },
      h("th", { role: "rowheader", scope: "row", "data-label": COLUMNS[0] }, this.id, this.place),
      h("td", { role: "cell", "data-label": COLUMNS[1], class: "state" }, this.state, this.since, this.reason),
      ...this.cells,
    );
  }

  render(instance, meter, nowMs) {
    setText(this.id, instance.id);
    setText(this.place, placeOf(instance));
    setPill(this.state, TONES[instance.state] ?? "bad", instance.state);
    setText(this.since, `for ${format.since(instance.since, nowMs)}`);
    setText(this.reason, instance.reason ?? "");
    const failureRatio = meter.failureRatio;
    const { p50, p99 } = instance.latency_ms;
    const texts = [
      format.rate(meter.rate),
      format.ratio(failureRatio),
      `${format.latency(p50)} / ${format.latency(p99)}`,
      format.count(instance.active_requests),
      format.count(instance.ejections_total),
    ];
    texts.forEach((text, index) => setText(this.cells[index], text));
    setAttribute(this.cells[1], "data-tone", failureRatio > 0.01 ? "bad" : null);
  }
}
