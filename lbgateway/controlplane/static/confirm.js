// What an operator may order of one instance: asked first, with what will come of it.

import { Refused, act } from "./api.js";
import { h } from "./dom.js";
import { plural } from "./format.js";
import { nameOf, placeOf } from "./model.js";
import { USABLE } from "./states.js";
import { toast } from "./toasts.js";

const KEPT = "On this gateway only, over reloads and changes of the registry, until it is taken back or the gateway restarts.";

/** Verb -> title, what it means, and how it is told that it is done. */
const VERBS = {
  drain: ["Drain", (one) => `It gets nothing new, and finishes what runs there${running(one)}. ${KEPT}`, "is draining"],
  undrain: ["Undrain", () => "It takes requests again, as its health allows.", "is drained no more"],
  eject: ["Eject", (one) => `It gets nothing new for a time, and finishes what runs there${running(one)}. ${KEPT}`, "is ejected"],
  uneject: ["Uneject", () => "It takes requests again at once, even after failures.", "is ejected no more"],
  weight: ["Set weight of", () => `Its share of the requests beside the weights of others; 0 is none. ${KEPT}`, "has its new weight"],
};

/** The verbs that make sense for an instance as it is. */
export function verbsFor(instance) {
  const ejected = instance.order?.ejected_by || instance.state === "ejected";
  return [instance.order?.drained_by ? "undrain" : "drain", ejected ? "uneject" : "eject", "weight"];
}

export function titleOf(verb) {
  return VERBS[verb][0].replace(/ of$/, "");
}

/** Ask, and if the answer is yes, do it. Resolves to the instance as it is then; null if nothing was done. */
export async function confirmed(verb, service, instance) {
  const body = await asked(verb, service, instance);
  if (body === null) return null;
  try {
    const now = await act(service.name, nameOf(instance), verb, Object.keys(body).length ? body : null);
    toast(...done(verb, now));
    return now;
  } catch (error) {
    const doubt = error instanceof Refused ? "" : ". Whether it was done is not known.";
    toast(`${titleOf(verb)} ${instance.id}: ${error.message}${doubt}`, "bad");
    return null;
  }
}

/** How it went, as `toast` takes it: who is back by order may still be kept out by something else. */
function done(verb, { id, state, reason }) {
  const told = `${id} ${VERBS[verb][2]}`;
  if (!["undrain", "uneject"].includes(verb)) return [`${told}.`];
  if (USABLE.includes(state)) return [`${told}, and takes requests.`];
  return [`${told}, but ${state}${reason ? ` (${reason})` : ""}.`, "warn"];
}

/** The body to send, or null for no. */
function asked(verb, service, instance) {
  const [title, meaning] = VERBS[verb];
  const field = { weight: weightField, eject: timeField }[verb]?.(instance);
  const whose = `of ${service.name} · ${placeOf(instance)}`;
  const form = h(
    "form",
    { method: "dialog" },
    h("div", {}, h("h2", { id: "asked", text: `${title} ${instance.id}?` }), h("p", { class: "note", id: "whose", text: whose })),
    h("p", { id: "meant", text: meaning(instance) }),
    warning(verb, service, instance),
    field?.element,
    h(
      "p",
      { class: "buttons" },
      h("button", { type: "button", class: "quiet", text: "Cancel", on: { click: () => dialog.close() } }),
      h("button", { type: "submit", class: ["drain", "eject"].includes(verb) ? "danger" : "primary", text: titleOf(verb) }),
    ),
  );
  const dialog = h("dialog", { class: "confirm", "aria-labelledby": "asked", "aria-describedby": "whose meant" }, form);
  return new Promise((resolve) => {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      resolve(field ? field.body() : {});
      dialog.close();
    });
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(null);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

function weightField(instance) {
  const ordered = instance.order?.weight ?? null;
  const value = String(ordered ?? Math.round(instance.weight));
  const input = h("input", { type: "number", min: "0", max: "65535", step: "1", required: true, value, id: "weight" });
  const own = h("input", { type: "checkbox", id: "own", on: { change: () => (input.disabled = own.checked) } });
  const element = h(
    "div",
    { class: "fields" },
    h("label", { for: "weight", text: "Weight" }),
    input,
    ordered === null ? null : h("label", { class: "check" }, own, "The registry’s own again"),
  );
  return { element, body: () => ({ weight: own.checked ? null : Number(input.value) }) };
}

function timeField() {
  const times = { "": "Until it is unejected", "1m": "1 minute", "5m": "5 minutes", "30m": "30 minutes", "4h": "4 hours" };
  const select = h("select", { id: "for" }, ...Object.entries(times).map(([value, text]) => h("option", { value, text })));
  select.value = "5m";
  const element = h("div", { class: "fields" }, h("label", { for: "for", text: "For how long" }), select);
  return { element, body: () => (select.value ? { for: select.value } : {}) };
}

function running(instance) {
  return instance.active_requests ? ` (${plural(instance.active_requests, "request")} now)` : "";
}

/** What else would happen. */
function warning(verb, service, instance) {
  const takesOut = verb === "drain" || verb === "eject";
  if (!takesOut || !USABLE.includes(instance.state) || service.usable > 1) return null;
  return h("p", { class: "problem", text: `This is the last usable instance of ${service.name}: its clients will get 503.` });
}
