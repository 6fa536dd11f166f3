// The page: looks every two seconds, shows what has changed, and says so when it cannot.

import { Refused, get, hasToken } from "./api.js";
import { h, pill, setAttribute, setChildren, setHidden, setText } from "./dom.js";
import { EventStream, EventsView } from "./events.js";
import { Drawer } from "./explain.js";
import * as format from "./format.js";
import { Login } from "./login.js";
import { EVERY_S, Model } from "./model.js";
import { Overview } from "./overview.js";
import { RoutesView } from "./routes.js";
import { ServicesView } from "./services.js";
import { followTheme } from "./theme.js";
import { toast } from "./toasts.js";

const SUMMARY = "/admin/upstreams?summary=true";
const MOST_S = 10;
/** What `Model.take` may find out beside the numbers, and how it is told. */
const NEWS = {
  restarted: ["The gateway has restarted: counts begin anew.", "warn"],
  several: ["Several gateways answer here in turn, each with its own numbers and orders. Open one of them by its own address.", "bad"],
};

const byId = (id) => document.getElementById(id);
const [main, banner, live, about, tabs] = ["main", "banner", "live", "about", "tabs"].map(byId);
const livePill = live.appendChild(pill("muted", "Connecting"));

const model = new Model();
const overview = new Overview();
const services = new ServicesView(model, { measured, openInstance: (service, name) => go("services", service, name) });
const routes = new RoutesView();
const events = new EventsView();
const views = { services: h("div", {}, overview.element, services.element), routes: routes.element, events: events.element };
const drawer = new Drawer(model, { onClose: () => current().view === "services" && go("services"), onAct: () => lookSoon() });
const login = new Login(() => look());
const stream = new EventStream(happened);

let timer = 0;
let looking = false;
let lostAtMs = null;
let failures = 0;
let closed = false;

document.body.append(drawer.element);
followTheme(byId("theme"));
addEventListener("hashchange", () => navigate());
addEventListener("keydown", shortcut);
document.addEventListener("visibilitychange", () => document.hidden || closed || look());
// Who needs a token is asked for it first: without one the API would refuse, and somebody would read that in a log.
if (document.querySelector("meta[name=lbgateway-token]").content === "wanted") shut(null);
else look();

// -- looking

/** Ask, show, and plan the next time. */
async function look() {
  clearTimeout(timer);
  if (looking || document.hidden) return;
  looking = true;
  try {
    const document = await get(SUMMARY);
    measured(() => update(document));
    found();
    await Promise.all([services.loadVisible(), drawer.refresh(), current().view === "routes" ? routes.refresh() : null]);
    services.index.follow(services.words);
  } catch (error) {
    if (error instanceof Refused && (error.status === 401 || error.status === 403)) return refused(error);
    lost(error);
  } finally {
    looking = false;
  }
  const seconds = failures ? Math.min(2 ** (failures - 1), MOST_S) : EVERY_S;
  timer = setTimeout(look, seconds * 1000);
}

/** Look at once: something has happened. */
function lookSoon() {
  clearTimeout(timer);
  timer = setTimeout(look, 150);
}

function update(document) {
  const news = model.take(document, Date.now());
  if (NEWS[news]) toast(...NEWS[news]);
  const { version, workers, uptime_seconds } = document.gateway;
  setText(about, `${version} · ${format.plural(workers, "worker")} · up ${format.duration(uptime_seconds)}`);
  overview.render(model);
  services.render();
  const needy = [...model.services.values()].filter((service) => service.needsAttention).length;
  const title = needy ? `(${needy}) lbgateway` : "lbgateway";
  if (globalThis.document.title !== title) globalThis.document.title = title;
}

/** Do what blocks the page, and note how long it took. */
function measured(work) {
  const start = performance.now();
  work();
  performance.measure("lbgateway:update", { start, end: performance.now() });
  performance.clearMeasures("lbgateway:update");
}

function happened(kind, facts) {
  events.add(kind, facts);
  lookSoon();
}

// -- connection

function found() {
  failures = 0;
  closed = false;
  setHidden(tabs, false);
  setHidden(live, false);
  setLive("good", "Live");
  if (lostAtMs !== null) {
    toast(`Connected again after ${format.duration((Date.now() - lostAtMs) / 1000)}.`);
    lostAtMs = null;
    past(null);
  }
  stream.start();
  if (!main.firstElementChild || main.firstElementChild === login.element || main.firstElementChild.tagName === "NOSCRIPT") navigate();
}

function lost(error) {
  failures += 1;
  setHidden(live, false);
  setLive("bad", "Reconnecting");
  if (lostAtMs !== null) return;
  lostAtMs = Date.now();
  const stale = model.envelope ? ` What you see is as of ${format.at(model.envelope.generated_at)}.` : "";
  past(`Connection lost: ${error.message}.${stale} Trying again …`);
}

/** Say that all of this is over and done with, also to who has an instance open; null: it is the present again. */
function past(text) {
  const again = () => h("button", { type: "button", class: "quiet", text: "Try now", on: { click: look } });
  const notice = () => (text === null ? [] : [h("p", { class: "problem" }, h("span", { text }), again())]);
  banner.replaceChildren(...notice());
  drawer.notice.replaceChildren(...notice());
  document.body.classList.toggle("past", text !== null);
}

function refused(error) {
  const first = !hasToken() && !closed;
  shut(first && error.status === 401 ? null : error.message);
}

/** Ask for a token, and say why the last one was none. */
function shut(problem) {
  setHidden(live, false);
  setLive("warn", "Closed");
  lostAtMs = null;
  past(null);
  closed = true;
  drawer.close();
  setHidden(tabs, true);
  setChildren(main, [login.element]);
  login.show(problem);
}

function setLive(tone, word) {
  setAttribute(livePill, "data-tone", tone);
  setText(livePill, word);
}

// -- places

/** What the address names: `#/services/orders/n1:orders-1`. */
function current() {
  let parts = [];
  try {
    parts = location.hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
  } catch {
    // Somebody has cut the address: the list is a good place, too.
  }
  const [view, service, instance] = parts;
  return { view: Object.hasOwn(views, view ?? "") ? view : "services", service, instance };
}

function go(...parts) {
  location.hash = `#/${parts.map(encodeURIComponent).join("/")}`;
}

function navigate() {
  if (!model.envelope || closed) return;
  const { view, service, instance } = current();
  for (const link of tabs.children) setAttribute(link, "aria-current", link.hash === `#/${view}` ? "page" : null);
  setChildren(main, [views[view]]);
  if (view === "routes") routes.refresh().catch(() => lookSoon());
  const known = service && services.reveal(service);
  if (service && !known) toast(`There is no service ${service}.`, "warn");
  if (known && instance) drawer.show(service, instance);
  else drawer.close();
}

function shortcut(event) {
  const typing = event.target.closest?.("input, select, textarea, dialog");
  if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey || current().view !== "services") return;
  event.preventDefault();
  services.search.focus();
}
