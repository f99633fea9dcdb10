// Figures and moments as text; the page shows UTC only.

export const STATES = {
  live: "●",
  syncing: "◐",
  empty: "○",
  stale: "▲",
  refused: "✕",
  dead: "■",
  ended: "–",
};

const MEANINGS = {
  live: "may be believed",
  syncing: "waiting for a snapshot",
  empty: "nothing yet",
  stale: "not to be believed",
  refused: "the exchange said no",
  dead: "its recorder died",
  ended: "its recorder has ended",
};

export function element(name, className = "", text = "") {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

/** Set a text only where it differs: a browser lays out again otherwise. */
export function say(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

export function stateMark(state) {
  const mark = element("span", "mark", STATES[state] ?? "?");
  mark.setAttribute("aria-hidden", "true");
  return mark;
}

export function showState(target, state) {
  if (target.dataset.state === state) return;
  target.dataset.state = state;
  target.className = `state ${state}`;
  target.replaceChildren(stateMark(state), document.createTextNode(state));
}

export function legend() {
  return Object.entries(MEANINGS).map(([state, meaning]) => {
    const item = element("span", `state ${state}`);
    item.append(stateMark(state), document.createTextNode(`${state}: ${meaning}`));
    return item;
  });
}

const GROUPED = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

export function count(number) {
  return number === null || number === undefined ? "" : GROUPED.format(number);
}

/** A rate with as many places as it needs. */
export function rate(number) {
  if (number === null || number === undefined) return "";
  if (number >= 100) return GROUPED.format(number);
  return number >= 10 || number === 0 ? number.toFixed(0) : number.toFixed(1);
}

export function milliseconds(ms) {
  if (ms === null || ms === undefined) return "–";
  const size = Math.abs(ms);
  if (size >= 10000) return `${(ms / 1000).toFixed(0)} s`;
  if (size >= 1000) return `${(ms / 1000).toFixed(1)} s`;
  if (size >= 100) return `${ms.toFixed(0)} ms`;
  if (size >= 1) return `${ms.toFixed(1)} ms`;
  return size >= 0.001 ? `${(ms * 1000).toFixed(size >= 0.01 ? 0 : 1)} µs` : `${ms} ms`;
}

/** How long ago, in steps that don't flicker. */
export function age(ms) {
  if (ms < 1500) return "now";
  if (ms < 100000) return `${Math.round(ms / 1000)} s`;
  if (ms < 5400000) return `${Math.round(ms / 60000)} min`;
  if (ms < 172800000) return `${Math.round(ms / 3600000)} h`;
  return `${Math.round(ms / 86400000)} d`;
}

const two = (number) => String(number).padStart(2, "0");

export function timeOfDay(ms) {
  const moment = new Date(ms);
  return `${two(moment.getUTCHours())}:${two(moment.getUTCMinutes())}:${two(moment.getUTCSeconds())}`;
}

export function dateOf(ms) {
  const moment = new Date(ms);
  return `${moment.getUTCFullYear()}-${two(moment.getUTCMonth() + 1)}-${two(moment.getUTCDate())}`;
}

/** What CSS calls a colour, as the canvas wants it. */
export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}
