// The levels of one book, best first, bids on the left. Rows are made once; only what differs is touched.

import { element, milliseconds, say, showState } from "./text.js";

const SHOWN = 14;

export class Ladder {
  constructor() {
    this.root = document.getElementById("ladder");
    this.state = document.getElementById("book-state");
    this.facts = document.getElementById("book-facts");
    this.words = document.getElementById("book-words");
    this.title = document.getElementById("book-title");
    this.heat = document.getElementById("heat");
    this.told = null;
    this.dirty = false;
    this.bids = this.side("bids", ["total", "size", "price"], ["Sum", "Size", "Bid"]);
    this.asks = this.side("asks", ["price", "size", "total"], ["Ask", "Size", "Sum"]);
    this.root.hidden = true;
  }

  side(name, fields, titles) {
    const side = element("div", `side ${name}`);
    const head = element("div", "titles");
    head.append(...titles.map((title, number) => element("span", fields[number], title)));
    side.append(head);
    const rows = Array.from({ length: SHOWN }, () => {
      const row = element("div", "level");
      const cells = Object.fromEntries(fields.map((field) => [field, element("span", field)]));
      const all = element("i", "all");
      const own = element("i", "own");
      row.append(...fields.map((field) => cells[field]), all, own);
      side.append(row);
      return { row, cells, all, own };
    });
    this.root.append(side);
    return rows;
  }

  begin(topic, collector, several) {
    say(this.title, topic);
    this.title.title = several ? collector : "";
    this.told = null;
    this.root.hidden = true;
    this.words.hidden = false;
    say(this.words, "Opening the book");
    say(this.facts, "");
    this.heat.hidden = false;
    this.forgetState();
  }

  /** There is no book to show, and why. */
  lack(words) {
    this.heat.hidden = true;
    say(this.words, words);
  }

  forgetState() {
    this.state.replaceChildren();
    delete this.state.dataset.state;
  }

  take(ladder) {
    this.told = ladder;
    this.dirty = true;
  }

  draw() {
    this.dirty = false;
    const { told } = this;
    if (!told) return;
    if (told.state) showState(this.state, told.state);
    else this.forgetState();
    this.heat.hidden = !told.state; // No book is shared: then there is no picture either.
    const isShown = Boolean(told.bids);
    this.root.hidden = !isShown;
    this.words.hidden = isShown;
    if (!isShown) {
      say(this.words, told.trouble || (told.state === "live" ? "" : "This book is not to be believed now, so it isn't shown."));
      say(this.facts, "");
      return;
    }
    const facts = [
      told.middle && `middle ${told.middle}`,
      told.spread && `spread ${told.spread} (${told.spread_bps?.toFixed(2)} bp)`,
      told.lag_ms !== null && `lag ${milliseconds(told.lag_ms)}`,
    ];
    say(this.facts, facts.filter(Boolean).join(" · "));
    fill(this.bids, told.bids);
    fill(this.asks, told.asks);
  }
}

function fill(rows, levels) {
  rows.forEach(({ cells, all, own }, number) => {
    const [price, size, total, share, totalShare] = levels[number] ?? ["", "", "", 0, 0];
    say(cells.price, price);
    say(cells.size, size);
    say(cells.total, total);
    scale(own, share);
    scale(all, totalShare);
  });
}

function scale(bar, share) {
  if (bar.share === share) return;
  bar.share = share;
  bar.style.transform = `scaleX(${share})`;
}
