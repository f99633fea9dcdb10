// The table of feeds: order, search, keys. What each cell says comes from the server.

import { STATES, age, colour, count, element, milliseconds, rate, say, showState } from "./text.js";
import { VirtualRows } from "./virtual_rows.js";

// Of a row's fixed part, and of its cell (recorder/serving/feed_table.py).
const COLLECTOR = 0, TOPIC = 2, KIND = 3, SYMBOL = 4, BOOK = 5, REFUSED = 6, DAY = 7;
const STATE = 0, BID = 1, ASK = 2, SPREAD = 3, LAG = 4, LAST = 5, MESSAGES = 6, GAPS = 7, RATE = 8, TRUSTED = 9;

const RANK = { dead: 0, refused: 1, stale: 2, empty: 3, syncing: 4, live: 5, ended: 6 };
const SETTLE_MS = 2000; // An order by something that moves is made anew this often.

const COLUMNS = [
  { id: "state", words: "State", value: (row) => RANK[row.cell[STATE]] ?? 9 },
  { id: "feed", words: "Feed", value: (row) => row.fixed[SYMBOL] },
  { id: "bid", words: "Bid", number: true, value: (row) => -Number(row.cell[BID] ?? 0) },
  { id: "ask", words: "Ask", number: true, value: (row) => -Number(row.cell[ASK] ?? 0) },
  { id: "spread", words: "bp", title: "Spread in basis points of the middle", number: true, moves: true, value: (row) => -(row.cell[SPREAD] ?? -1) },
  { id: "lag", words: "Lag", title: "Push to receive, of the newest message; grey: usual of its class", number: true, moves: true, value: (row) => -(row.cell[LAG] ?? -1e9) },
  { id: "last", words: "Last", title: "How long ago the newest message came", number: true, moves: true, value: (row) => row.cell[LAST] ?? 0 },
  { id: "rate", words: "Msg/s", number: true, moves: true, value: (row) => -(row.cell[RATE] ?? -1) },
  { id: "gaps", words: "Gaps", title: "Since the recorder started", number: true, moves: true, value: (row) => -row.cell[GAPS] },
  { id: "day", words: "Last 24 h", title: "Coverage in the archive: whole, lost something, not recorded", value: (row) => row.cell[TRUSTED] ?? 2 },
];

const isWell = (row) => row.cell[STATE] === "live" || row.cell[STATE] === "ended";
const FILTERS = [
  ["all", "all", () => true],
  ["unwell", "not well", (row) => !isWell(row)],
  ["books", "books", (row) => row.fixed[KIND].startsWith("orderbook")],
];

export class FeedTable {
  /** @param onChosen (row) => void */
  constructor(onChosen) {
    this.onChosen = onChosen;
    this.rows = [];
    this.shown = [];
    this.filter = "all";
    this.text = "";
    this.sorting = { column: COLUMNS[0], turned: false };
    this.active = null;
    this.chosen = null;
    this.dirty = false;
    this.stale = true;
    this.sortedAt = 0;
    this.ranks = new Map();
    this.now = () => Date.now();
    this.lagOf = () => null;
    this.grid = document.getElementById("feeds");
    this.none = document.getElementById("none");
    this.chips = document.getElementById("chips");
    this.list = new VirtualRows(document.getElementById("rows"), () => new RowView(this));
    this.head();
    this.listen();
  }

  head() {
    this.heads = COLUMNS.map((column) => {
      const head = element("span", column.number ? "number" : "");
      head.setAttribute("role", "columnheader");
      const button = element("button", "", column.words);
      button.type = "button";
      if (column.title) button.title = column.title;
      button.addEventListener("click", () => this.sort(column));
      head.append(button);
      return head;
    });
    document.getElementById("columns").append(...this.heads);
    this.buttons = FILTERS.map(([id, words]) => {
      const button = element("button", "", words);
      button.type = "button";
      button.dataset.filter = id;
      button.addEventListener("click", () => this.show(id));
      return button;
    });
    this.chips.append(...this.buttons);
    this.sort(COLUMNS[0]);
  }

  listen() {
    const search = document.getElementById("search");
    search.addEventListener("input", () => {
      this.text = search.value.trim().toLowerCase();
      this.stale = true;
      this.draw();
    });
    search.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === "ArrowDown") {
        event.preventDefault();
        this.grid.focus();
        if (event.key === "Enter" && this.shown.length) this.choose(this.shown[0]);
      } else if (event.key === "Escape") {
        search.value = "";
        search.dispatchEvent(new Event("input"));
        this.grid.focus();
      }
    });
    this.grid.addEventListener("keydown", (event) => this.key(event));
    this.grid.addEventListener("focus", () => {
      if (!this.active && this.shown.length) this.move(0);
    });
  }

  key(event) {
    if (event.target !== this.grid || event.ctrlKey || event.metaKey || event.altKey) return;
    const at = this.shown.indexOf(this.active);
    const steps = {
      ArrowDown: at + 1, j: at + 1, ArrowUp: at - 1, k: at - 1,
      PageDown: at + this.list.page(), PageUp: at - this.list.page(), Home: 0, End: this.shown.length - 1,
    };
    if (event.key in steps) {
      event.preventDefault();
      this.move(steps[event.key]);
    } else if ((event.key === "Enter" || event.key === " ") && this.active) {
      event.preventDefault();
      this.choose(this.active);
    }
  }

  move(index) {
    if (!this.shown.length) return;
    const at = Math.min(Math.max(index, 0), this.shown.length - 1);
    this.active = this.shown[at];
    this.list.reveal(at);
    this.list.place();
    this.grid.setAttribute("aria-activedescendant", this.list.pool.find((row) => row.index === at)?.element.id ?? "");
  }

  choose(row) {
    this.chosen = row;
    this.active = row;
    this.list.place();
    this.onChosen(row);
  }

  /** Choose a feed by its names, such as the address says them. */
  chooseNamed(collector, topic) {
    const row = this.rows.find((each) => each.fixed[COLLECTOR] === collector && each.fixed[TOPIC] === topic);
    if (row) this.choose(row);
    return Boolean(row);
  }

  sort(column) {
    const turned = this.sorting.column === column ? !this.sorting.turned : false;
    this.sorting = { column, turned: column === COLUMNS[0] && !this.rows.length ? false : turned };
    this.heads.forEach((head, number) => {
      const is = COLUMNS[number] === column;
      if (is) head.setAttribute("aria-sort", this.sorting.turned ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
      say(head.firstChild, COLUMNS[number].words + (is ? (this.sorting.turned ? " ↑" : " ↓") : ""));
    });
    this.stale = true;
    this.dirty = true;
  }

  show(id) {
    this.filter = this.filter === id && id !== "all" ? "all" : id;
    this.stale = true;
    this.draw();
  }

  take(message) {
    if (message.whole) {
      const before = new Map(this.rows.map((row) => [row.key, row]));
      this.rows = message.fixed.map((fixed, number) => {
        const key = `${fixed[COLLECTOR]}/${fixed[TOPIC]}`;
        const row = before.get(key) ?? { key, cell: [] };
        row.fixed = fixed;
        row.found = `${fixed[TOPIC]} ${fixed[COLLECTOR]}`.toLowerCase();
        row.number = number;
        return row;
      });
      this.isLaidOut = false;
      this.first = message.first === null ? null : this.rows[message.first];
      this.several = new Set(this.rows.map((row) => row.fixed[COLLECTOR])).size > 1;
      this.stale = true;
      if (this.chosen && !this.rows.includes(this.chosen)) this.chosen = null;
      if (this.active && !this.rows.includes(this.active)) this.active = null;
    }
    for (const [number, cell] of message.cells) {
      const row = this.rows[number];
      if (row.cell[STATE] !== cell[STATE]) this.stale = true;
      row.cell = cell;
    }
    if (!this.isLaidOut) this.layOut();
    this.dirty = true;
  }

  /** Feeds of a symbol stand together, the busiest symbols first: as busy as they were when they were first seen. */
  layOut() {
    this.isLaidOut = true;
    const busy = new Map();
    for (const row of this.rows) {
      const symbol = row.fixed[SYMBOL];
      if (!this.ranks.has(symbol)) busy.set(symbol, (busy.get(symbol) ?? 0) + row.cell[MESSAGES]);
    }
    [...busy].sort((a, b) => b[1] - a[1] || compare(a[0], b[0])).forEach(([symbol]) => this.ranks.set(symbol, this.ranks.size));
    for (const row of this.rows) row.place = this.ranks.get(row.fixed[SYMBOL]) * 1e5 + row.number;
  }

  order() {
    const test = FILTERS.find(([id]) => id === this.filter)[2];
    const sign = this.sorting.turned ? -1 : 1;
    const value = this.sorting.column.value;
    this.shown = this.rows.filter((row) => test(row) && row.found.includes(this.text));
    this.shown.sort((a, b) => {
      const one = value(a), other = value(b);
      return compare(one, other) * sign || a.place - b.place;
    });
    this.stale = false;
    this.sortedAt = performance.now();
    this.grid.setAttribute("aria-rowcount", String(this.shown.length + 1));
    this.none.hidden = this.shown.length > 0 || !this.rows.length;
    this.buttons.forEach((button, number) => {
      const [id, words, passes] = FILTERS[number];
      say(button, `${words} ${count(this.rows.filter(passes).length)}`);
      button.setAttribute("aria-pressed", String(id === this.filter));
    });
    this.list.setCount(this.shown.length);
  }

  draw() {
    this.dirty = false;
    if (this.stale || (this.sorting.column.moves && performance.now() - this.sortedAt > SETTLE_MS)) this.order();
    else this.list.place();
  }

  redraw() {
    this.list.pool.forEach((row) => row.forget());
    this.draw();
  }
}

function compare(one, other) {
  return one < other ? -1 : one > other ? 1 : 0;
}

let rowIds = 0;

class RowView {
  constructor(table) {
    this.table = table;
    this.index = -1;
    this.element = element("div", "row");
    this.element.id = `row-${(rowIds += 1)}`;
    this.element.setAttribute("role", "row");
    this.cells = COLUMNS.map((column) => {
      const cell = element("span", column.number ? "number" : "");
      cell.setAttribute("role", "gridcell");
      return cell;
    });
    this.cells[1].className = "feed";
    this.cells[2].classList.add("price");
    this.cells[3].classList.add("price");
    this.symbol = element("b");
    this.kind = element("small");
    this.cells[1].append(this.symbol, this.kind);
    this.strip = element("canvas");
    this.strip.width = 208;
    this.strip.height = 24;
    this.cells[9].append(this.strip);
    this.element.append(...this.cells);
    this.element.addEventListener("click", () => {
      table.grid.focus({ preventScroll: true });
      table.choose(this.row);
    });
  }

  forget() {
    this.cell = null;
    this.day = null;
  }

  show(index) {
    const { table } = this;
    const row = table.shown[index];
    const isNew = row !== this.row;
    this.row = row;
    const { fixed, cell } = row;
    if (isNew || this.at !== index) {
      this.at = index;
      this.element.setAttribute("aria-rowindex", String(index + 2));
    }
    this.element.classList.toggle("chosen", row === table.chosen);
    this.element.classList.toggle("active", row === table.active);
    this.element.setAttribute("aria-selected", String(row === table.chosen));
    if (isNew || this.fixed !== fixed) {
      this.fixed = fixed;
      say(this.symbol, fixed[SYMBOL] || fixed[TOPIC]);
      say(this.kind, table.several ? `${fixed[KIND]} · ${fixed[COLLECTOR]}` : fixed[KIND]);
      this.cells[1].title = fixed[REFUSED] ? `${fixed[TOPIC]}: ${fixed[REFUSED]}` : fixed[TOPIC];
    }
    if (isNew || this.day !== fixed[DAY]) this.drawDay(fixed[DAY], cell[TRUSTED]);
    if (isNew || this.cell !== cell) {
      this.cell = cell;
      showState(this.cells[0], cell[STATE]);
      this.element.classList.toggle("off", cell[STATE] === "dead" || cell[STATE] === "ended");
      say(this.cells[2], cell[BID] ?? "");
      say(this.cells[3], cell[ASK] ?? "");
      say(this.cells[4], cell[SPREAD] === null ? "" : cell[SPREAD].toFixed(cell[SPREAD] < 10 ? 2 : 0));
      const lag = cell[LAG] ?? table.lagOf(fixed[COLLECTOR], fixed[KIND]);
      say(this.cells[5], lag === null || cell[STATE] !== "live" ? "" : milliseconds(lag));
      this.cells[5].classList.toggle("dim", cell[LAG] === null);
      say(this.cells[7], rate(cell[RATE]));
      this.cells[7].title = `${count(cell[MESSAGES])} messages`;
      say(this.cells[8], cell[GAPS] ? count(cell[GAPS]) : "");
      this.cells[8].classList.toggle("some", cell[GAPS] > 0);
    }
    say(this.cells[6], cell[LAST] === null ? "" : age(table.now() - cell[LAST]));
  }

  /** The last day as a strip: whole and part in blue, loss in pink over its full height, nothing as a line. */
  drawDay(day, trusted) {
    this.day = day;
    const { width, height } = this.strip;
    const paint = this.strip.getContext("2d");
    paint.clearRect(0, 0, width, height);
    if (!day) {
      this.strip.title = "Nothing of the last day is in the archive yet";
      return;
    }
    this.strip.title = `${(trusted * 100).toFixed(trusted > 0.999 && trusted < 1 ? 3 : 1)} % of what was recorded can be trusted`;
    const step = width / day.length;
    [...day].forEach((piece, number) => {
      const share = piece === "#" || piece === "x" ? 1 : piece === "." ? 0 : Number(piece) / 10;
      paint.fillStyle = piece === "." ? colour("line") : piece === "x" ? colour("gap") : colour("buy");
      const tall = piece === "." ? 4 : piece === "x" ? height : Math.max(4, height * 0.62 * share);
      paint.fillRect(number * step, height - tall, step - 1, tall);
    });
  }
}

export { BOOK, COLLECTOR, KIND, SYMBOL, TOPIC, STATES };
