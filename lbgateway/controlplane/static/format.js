// Numbers and moments as people read them.

const NONE = "–";
const grouped = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });

export function count(value) {
  return value === null || value === undefined ? NONE : grouped.format(value);
}

/** Per second: 0, 0.3, 12.4, 1,240. */
export function rate(value) {
  if (value === null || value === undefined) return NONE;
  if (value < 0.05) return "0";
  return value < 99.95 ? value.toFixed(1) : grouped.format(value);
}

/** A share of 0..1: 0 %, 0.04 %, 3.1 %, 100 %. */
export function ratio(value) {
  if (value === null || value === undefined) return NONE;
  const percent = value * 100;
  if (percent === 0) return "0 %";
  if (percent < 1) return `${percent.toFixed(2)} %`;
  return `${percent < 99.95 ? percent.toFixed(1) : "100"} %`;
}

/** Milliseconds: 0.84 ms, 12 ms, 1.20 s. */
export function latency(ms) {
  if (ms === null || ms === undefined) return NONE;
  if (ms >= 1000) return `${(ms / 1000).toFixed(2)} s`;
  return `${ms < 10 ? ms.toFixed(ms < 1 ? 2 : 1) : Math.round(ms)} ms`;
}

/** Seconds as the two largest units: 8 s, 3 m 20 s, 2 h 5 m, 4 d 3 h. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return NONE;
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} m ${whole % 60} s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} m`;
  return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
}

/** What something is counted per: second, minute, 10 s. */
export function period(seconds) {
  return { 1: "second", 60: "minute", 3600: "hour", 86400: "day" }[seconds] ?? duration(seconds);
}

/** How long ago a moment of the gateway's clock is. `nowMs` is that clock, too. */
export function since(moment, nowMs) {
  return duration((nowMs - Date.parse(moment)) / 1000);
}

/** A moment as the time of day, of another day with its date. */
export function at(moment) {
  const then = new Date(moment);
  if (Number.isNaN(then.getTime())) return moment;
  const today = then.toDateString() === new Date().toDateString();
  return today ? clock.format(then) : `${day.format(then)}, ${clock.format(then)}`;
}

/** "1 instance", "3 instances". */
export function plural(number, word) {
  return `${grouped.format(number)} ${word}${number === 1 ? "" : "s"}`;
}
