// Elements, and the rule that keeps the page quiet: only what has changed is written.

/** An element. `props`: `class`, `text`, `on: {event: listener}`; everything else becomes an attribute. */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "text") element.textContent = value;
    else if (name === "on") for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Give `node` this text, if it has another. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Give `node` this attribute, if it has another value; null takes it away. */
export function setAttribute(node, name, value) {
  if (value === null || value === undefined || value === false) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
  } else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}

export function setHidden(node, hidden) {
  if (node.hidden !== hidden) node.hidden = hidden;
}

/** Let `parent` have exactly `children`, in this order; those that are right already are not touched. */
export function setChildren(parent, children) {
  let next = parent.firstChild;
  for (const child of children) {
    if (child === next) next = next.nextSibling;
    else parent.insertBefore(child, next);
  }
  while (next) {
    const after = next.nextSibling;
    next.remove();
    next = after;
  }
}

/** A state as colour and word. */
export function pill(tone, word) {
  return h("span", { class: "pill", "data-tone": tone, text: word });
}

export function setPill(node, tone, word) {
  setAttribute(node, "data-tone", tone);
  setText(node, word);
}
