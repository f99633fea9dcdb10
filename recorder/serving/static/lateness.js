// How late: a small chart for each class of topics, all over the same axis.

import { count, element, milliseconds, say } from "./text.js";

const SVG = "http://www.w3.org/2000/svg";
const WIDE = 260, HIGH = 56;
const TICKS = [0.01, 0.1, 1, 10, 100, 1000, 10000];
const NAMES = ["10 µs", "", "1 ms", "", "100 ms", "", "10 s"];

export class Lateness {
  constructor() {
    this.root = document.getElementById("lateness");
    this.ways = document.getElementById("ways");
    this.way = "push";
    this.told = null;
    this.charts = new Map();
    this.dirty = false;
    this.usual = new Map();
    this.buttons = [["push", "push → receive"], ["match", "match → receive"], ["own", "inside the recorder"]].map(([way, words]) => {
      const button = element("button", "", words);
      button.type = "button";
      button.setAttribute("aria-pressed", String(way === this.way));
      button.addEventListener("click", () => {
        this.way = way;
        this.buttons.forEach((each) => each.setAttribute("aria-pressed", String(each === button)));
        this.draw();
      });
      return button;
    });
    this.ways.append(...this.buttons);
  }

  take(message) {
    this.told = message;
    this.usual = new Map(
      message.histograms.filter((each) => each.way === "push").map((each) => [`${each.collector}/${each.class}`, each.quantiles[0]]),
    );
    this.dirty = true;
  }

  usualOf(collector, kind) {
    return this.usual.get(`${collector}/${kind}`) ?? null;
  }

  draw() {
    this.dirty = false;
    if (!this.told) return;
    const several = new Set(this.told.histograms.map((each) => each.collector)).size > 1;
    const shown = this.told.histograms.filter((each) => (this.way === "own" ? !each.class : each.way === this.way));
    const charts = shown.map((each) => {
      const key = `${each.collector}/${each.class}/${each.way}`;
      if (!this.charts.has(key)) this.charts.set(key, new Chart());
      const chart = this.charts.get(key);
      chart.show(each, this.told.edges_ms, several);
      return chart.root;
    });
    if (!charts.length) charts.push(element("p", "none", "Nothing is recording."));
    const same = charts.length === this.root.children.length && charts.every((chart, at) => chart === this.root.children[at]);
    if (!same) this.root.replaceChildren(...charts);
  }
}

function drawn(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

class Chart {
  constructor() {
    this.root = element("div", "multiple");
    this.title = element("span");
    this.count = element("small");
    const head = element("h3");
    head.append(this.title, this.count);
    this.numbers = element("p");
    this.values = ["p50", "p99", "p99.9"].map((name) => {
      const value = element("b");
      const item = element("span", "", `${name} `);
      item.append(value);
      this.numbers.append(item);
      return value;
    });
    this.svg = drawn("svg", { viewBox: `0 0 ${WIDE} ${HIGH + 4}`, preserveAspectRatio: "none", role: "img" });
    this.bars = drawn("path", { class: "bars" });
    this.tail = drawn("path", { class: "tail" });
    this.axis = drawn("path", { class: "axis" });
    this.svg.append(this.axis, this.bars, this.tail);
    this.labels = element("div", "labels");
    this.labels.setAttribute("aria-hidden", "true");
    this.root.append(head, this.numbers, this.svg, this.labels);
  }

  show(told, edges, several) {
    const name = told.class || told.words;
    say(this.title, several ? `${name} · ${told.collector}` : name);
    say(this.count, told.count ? count(told.count) : "");
    told.quantiles.forEach((quantile, at) => say(this.values[at], milliseconds(quantile)));
    const step = WIDE / told.bars.length;
    const tallest = Math.max(...told.bars, 0.02);
    const path = told.bars.map((share, at) => {
      if (!share) return "";
      const tall = Math.max(1, (share / tallest) * (HIGH - 2));
      return `M${(at * step + 0.5).toFixed(2)} ${HIGH}v${(-tall).toFixed(2)}h${(step - 1).toFixed(2)}v${tall.toFixed(2)}z`;
    });
    this.bars.setAttribute("d", path.join(""));
    const place = (ms) => step + (Math.log10(ms / edges[0]) / Math.log10(edges.at(-1) / edges[0])) * (WIDE - 2 * step);
    const p99 = told.quantiles[1];
    this.tail.setAttribute("d", p99 > edges[0] ? `M${Math.min(WIDE, place(p99)).toFixed(1)} 2V${HIGH}` : "");
    if (!this.axis.hasAttribute("d")) {
      this.axis.setAttribute("d", `M0 ${HIGH}H${WIDE}${TICKS.map((ms) => `M${place(ms).toFixed(1)} ${HIGH}v4`).join("")}`);
      TICKS.forEach((ms, at) => {
        if (!NAMES[at]) return;
        const label = element("span", at ? (at === TICKS.length - 1 ? "last" : "") : "first", NAMES[at]);
        label.style.left = `${(place(ms) / WIDE) * 100}%`;
        this.labels.append(label);
      });
    }
    this.svg.setAttribute("aria-label", `${name}: half within ${milliseconds(told.quantiles[0])}, 99 % within ${milliseconds(p99)}`);
  }
}
