// Which request goes where, what is wrong with routes that are not in force, and what is registered but out of reach.

import { get } from "./api.js";
import { h, pill, setChildren } from "./dom.js";
import { count, period, plural } from "./format.js";

const COLUMNS = ["Requests for", "Go to", "Who may", "How often", "From", "State"];

export class RoutesView {
  constructor() {
    this.element = h("section", { "aria-label": "Routes" }, h("p", { class: "note", text: "Loading…" }));
    this.drawnFor = "";
  }

  async refresh() {
    const document = await get("/admin/routes");
    const { generated_at: _, ...rest } = document;
    const key = JSON.stringify(rest);
    if (key === this.drawnFor) return;
    this.drawnFor = key;
    this.refused = document.rate_limited;
    const { config_key: stored, rate_limit_store: store } = document;
    const parts = [this.stored(stored), this.counting(store), this.routes(document.routes), this.unexposed(document.unexposed)];
    setChildren(this.element, parts.flat());
  }

  stored(key) {
    if (!key) return [];
    const tone = { applied: "good", absent: "muted", unknown: "muted" }[key.state] ?? "bad";
    const line = h("p", { class: "stored" }, "Key ", h("code", { text: key.key }), " of the registry’s store: ", pill(tone, key.state));
    return key.error ? [line, h("p", { class: "problem", text: key.error })] : [line];
  }

  /** Where limits are counted, if not here; and what holds while that is away. */
  counting(store) {
    if (!store) return [];
    const up = store.state === "up";
    const meanwhile = { local: "each gateway counts for itself", open: "nobody is refused", closed: "all that is limited is refused" };
    const text = up ? "" : ` Meanwhile, ${meanwhile[store.on_store_failure]}.`;
    return [h("p", { class: "stored" }, "Limits are counted in Redis: ", pill(up ? "good" : "bad", store.state), text)];
  }

  routes(list) {
    const wrong = list.filter((route) => route.error);
    const sorted = [...wrong, ...list.filter((route) => !route.error)];
    const title = `${plural(list.length - wrong.length, "route")} in force${wrong.length ? `, ${wrong.length} with an error` : ""}`;
    const heads = COLUMNS.map((text) => h("th", { scope: "col", role: "columnheader", text }));
    const table = h(
      "table",
      { class: "cards", role: "table", "aria-label": "Routes" },
      h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, ...heads)),
      h("tbody", { role: "rowgroup" }, ...sorted.map((route) => line(route, this.refused))),
    );
    return [h("h2", { text: title }), sorted.length ? table : h("p", { class: "empty", text: "No routes." })];
  }

  unexposed(list) {
    if (!list?.length) return [];
    const told = list.map(({ service, what_to_do }) => h("div", {}, h("dt", { text: service }), h("dd", { text: what_to_do })));
    return [h("h2", { text: `${plural(list.length, "service")} registered, but not exposed` }), h("dl", { class: "sheet wide" }, ...told)];
  }
}

function line(route, refused) {
  const label = `${route.host ?? ""}${route.prefix}`;
  const pattern = h("span", {}, h("code", { text: label }), ...conditions(route));
  const [goes, from] = [target(route), route.source].map((text) => h("span", { text }));
  const cells = [pattern, goes, admission(route), frequency(route.limit, refused[label]), from, stateOf(route)];
  return h("tr", { role: "row" }, ...cells.map((cell, index) => h("td", { role: "cell", "data-label": COLUMNS[index] }, cell)));
}

function stateOf(route) {
  if (!route.error) return pill("good", "in force");
  const text = route.tag ? `${route.tag}: ${route.error}` : route.error;
  return h("span", {}, pill("bad", route.tag ? "tag refused" : "disabled"), h("span", { class: "note", text }));
}

function conditions(route) {
  const told = [];
  if (route.methods) told.push(route.methods.join(", "));
  for (const [name, value] of Object.entries(route.headers)) told.push(`${name}: ${value}`);
  return told.length ? [h("span", { class: "note", text: told.join(" · ") })] : [];
}

function target(route) {
  if (route.redirect) return `${route.redirect.status} → ${route.redirect.to}`;
  const edits = [];
  if (route.strip_prefix && route.prefix !== "/") edits.push("prefix stripped");
  if (route.add_prefix) edits.push(`${route.add_prefix} added`);
  return `${route.service ?? "the service that the path names"}${edits.length ? ` (${edits.join(", ")})` : ""}`;
}

function admission(route) {
  const who = { none: "anyone", optional: "anyone; a token is checked", required: "who has a token" }[route.auth] ?? route.auth;
  const text = route.scopes?.length ? `${who} with ${route.scopes.join(", ")}` : who;
  const pages = route.cors?.length ? [h("span", { class: "note", text: `pages of ${route.cors.join(", ")}` })] : [];
  return h("span", {}, text, ...pages);
}

/** "100 per second and client, 200 at once": how often who may. */
function frequency(limit, refused) {
  if (!limit) return h("span", { text: "no limit" });
  const whom = limit.key === "route" ? "" : ` and ${limit.key}`;
  const rate = `${count(limit.requests)} per ${period(limit.per_seconds)}${whom}`;
  const burst = limit.burst === limit.requests ? "" : `, ${count(limit.burst)} at once`;
  const notes = limit.shared ? ["shared with other routes"] : [];
  if (refused) notes.push(`${count(refused)} refused so far`);
  return h("span", {}, rate + burst, notes.length ? h("span", { class: "note", text: notes.join(" · ") }) : null);
}
