// The head: is all well, what is recording, what is not well.

import { count, element, milliseconds, rate, say } from "./text.js";

export class Summary {
  constructor() {
    this.verdict = document.getElementById("verdict");
    this.cards = document.getElementById("collectors");
    this.troubles = document.getElementById("troubles");
    this.known = new Map();
    this.told = null;
    this.dirty = false;
  }

  take(message) {
    this.told = message;
    this.dirty = true;
  }

  judge(isBad, mark, words) {
    this.verdict.classList.toggle("bad", isBad);
    say(this.verdict.firstElementChild, mark);
    say(this.verdict.lastElementChild, words);
  }

  draw() {
    this.dirty = false;
    const { told } = this;
    if (!told) return;
    say(document.getElementById("data"), told.data);
    say(document.getElementById("version"), `tapebook ${told.version}`);
    const many = told.troubles.length;
    this.judge(many > 0, many ? "▲" : "●", many ? `${many} ${many === 1 ? "thing needs" : "things need"} a look` : "All is well");
    document.title = many ? `▲ ${many} · tapebook` : "tapebook";
    const words = told.troubles.map((each) => `${each.collector}\n${each.words}`).join("\n\n");
    if (words !== this.words) {
      this.words = words;
      this.troubles.hidden = !many;
      this.troubles.replaceChildren(
        ...told.troubles.map((each) => {
          const item = element("li");
          if (each.collector) item.append(element("b", "", each.collector));
          item.append(document.createTextNode(each.words));
          return item;
        }),
      );
    }
    const cards = told.collectors.map((each) => {
      if (!this.known.has(each.collector)) this.known.set(each.collector, new Card());
      const card = this.known.get(each.collector);
      card.show(each);
      return card.root;
    });
    const same = cards.length === this.cards.children.length && cards.every((card, at) => card === this.cards.children[at]);
    if (!same) this.cards.replaceChildren(...cards);
  }
}

const FIGURES = [
  ["Feeds well", (told) => [`${count(told.well)}`, `of ${count(told.feeds)}`]],
  ["Frames/s", (told) => [rate(told.frames_a_second) || "–", told.bytes_a_second ? `${told.bytes_a_second}/s` : ""]],
  ["Late, p99", (told) => [milliseconds(told.p99_ms), told.ahead_ms === null ? "" : `clock ${told.ahead_ms > 0 ? "+" : ""}${told.ahead_ms} ms`]],
  ["Journaled, p99", (told) => [milliseconds(told.journaled_ms), told.paused ? "reading paused" : ""]],
  ["Lines up", (told) => [count(told.lines_up), `of ${count(told.lines)}`]],
  ["Gaps", (told) => [count(told.gaps), "this run"]],
  ["Disk free", (told) => [told.disk_free ?? "–", told.days_left === null ? "" : told.days_left > 999 ? "for years" : `${rate(told.days_left)} d`]],
  ["Memory", (told) => [told.memory ?? "–", ""]],
];

class Card {
  constructor() {
    this.root = element("div", "panel collector");
    this.name = element("span");
    this.state = element("small");
    const head = element("h2");
    head.append(this.name, this.state);
    const list = element("dl");
    this.values = FIGURES.map(([words]) => {
      const box = element("div");
      const value = element("dd");
      const main = element("span");
      const more = element("small");
      value.append(main, document.createTextNode(" "), more);
      box.append(element("dt", "", words), value);
      list.append(box);
      return [main, more];
    });
    this.root.append(head, list);
  }

  show(told) {
    say(this.name, told.collector);
    const doing = told.state === "recording" ? `● recording ${told.category} of ${told.environment}${told.for ? ` for ${told.for}` : ""}` : told.state === "dead" ? `■ died, last word ${told.told_ago} ago` : `– ended ${told.told_ago} ago`;
    say(this.state, doing);
    this.state.className = `state ${told.state === "recording" ? "" : told.state}`;
    this.root.classList.toggle("off", told.state !== "recording");
    FIGURES.forEach(([, values], at) => {
      const [main, more] = values(told);
      say(this.values[at][0], main);
      say(this.values[at][1], more);
    });
  }
}
