// What is done, or was not: said above all else. What went wrong stays until somebody has seen it.

import { h } from "./dom.js";

const SECONDS = { good: 5, warn: 12 };
const AT_MOST = 4;
const list = document.getElementById("toasts");

// `close` does not bubble, but can be caught on its way down.
document.addEventListener("close", settle, true);

/** Say it; with the tone `bad` until it is dismissed. */
export function toast(text, tone = "good") {
  const line = h("p", { class: "toast", "data-tone": tone }, h("span", { text }));
  const drop = () => {
    line.remove();
    settle();
  };
  if (tone === "bad") line.append(h("button", { type: "button", class: "quiet", text: "Dismiss", on: { click: drop } }));
  else setTimeout(drop, SECONDS[tone] * 1000);
  settle();
  list.append(line);
  while (list.children.length > AT_MOST) list.firstChild.remove();
  settle();
}

/** Show the list where it can be heard and clicked: a modal dialog makes deaf and dumb whatever is not inside of it. */
function settle() {
  const home = [...document.querySelectorAll("dialog:modal")].at(-1) ?? document.body;
  if (list.parentNode !== home) home.append(list);
  list.popover = "manual";
  const shown = list.matches(":popover-open");
  if (list.children.length && !shown) list.showPopover();
  if (!list.children.length && shown) list.hidePopover();
}
