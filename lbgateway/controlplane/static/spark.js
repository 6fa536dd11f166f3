// A sparkline: the last minutes in the size of a word. It says nothing that its number beside it does not, so it is hidden from readers.

import { setAttribute } from "./dom.js";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 96;
const HEIGHT = 24;
/** So many values have the whole width; fewer, a part of it. */
const LEAST = 30;

export class Spark {
  constructor(tone) {
    this.element = document.createElementNS(SVG, "svg");
    this.element.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    this.element.setAttribute("preserveAspectRatio", "none");
    this.element.setAttribute("class", "spark");
    this.element.setAttribute("data-tone", tone);
    this.element.setAttribute("aria-hidden", "true");
    this.area = this.element.appendChild(document.createElementNS(SVG, "path"));
    this.under = this.element.appendChild(document.createElementNS(SVG, "path"));
    this.line = this.element.appendChild(document.createElementNS(SVG, "path"));
    this.area.setAttribute("class", "area");
    this.under.setAttribute("class", "under");
    this.line.setAttribute("class", "line");
    this.drawn = -1;
  }

  /** Draw a `Series`, and a smaller one in the same scale `under` it; the top is its largest value, at least `floor`. */
  draw(series, floor, under = null) {
    if (this.drawn === series.pushed) return;
    this.drawn = series.pushed;
    const top = Math.max(floor, ...series.values.filter((value) => value !== null));
    const line = lineOf(series.values, top);
    if (under) setAttribute(this.under, "d", lineOf(under.values, top));
    setAttribute(this.element, "data-flat", series.values.every((value) => !value) ? "" : null);
    setAttribute(this.line, "d", line);
    const [first, last] = [line.match(/^M([\d.]+)/)?.[1], WIDTH];
    setAttribute(this.area, "d", line && `${line}L${last} ${HEIGHT}L${first} ${HEIGHT}Z`);
  }
}

function lineOf(values, top) {
  // The first minute has the whole width, from then on it gets denser.
  const step = WIDTH / (Math.max(LEAST, values.length) - 1);
  let path = "";
  values.forEach((value, index) => {
    const x = WIDTH - (values.length - 1 - index) * step;
    const y = HEIGHT - 1.5 - ((value ?? 0) / top) * (HEIGHT - 4);
    path += `${path ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
  });
  return path;
}
