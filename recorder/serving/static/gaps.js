// What happened at 03:12? Gaps on record around a moment, and what this page's server has seen by itself.

import { STATES, count, dateOf, element, say, timeOfDay } from "./text.js";

const AGAIN_MS = 60000;

export class Gaps {
  constructor() {
    this.form = document.getElementById("ask");
    this.answer = document.getElementById("answer");
    this.rows = document.getElementById("gap-rows");
    this.none = document.getElementById("no-gaps");
    this.seen = document.getElementById("seen");
    this.nothing = document.getElementById("nothing-seen");
    this.since = document.getElementById("seen-since");
    this.asked = 0;
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.ask();
    });
    document.getElementById("within").addEventListener("change", () => this.ask());
    setInterval(() => {
      if (!document.hidden && !document.getElementById("at").value.trim()) this.ask();
    }, AGAIN_MS);
  }

  async ask() {
    const number = (this.asked += 1);
    const question = new URLSearchParams(new FormData(this.form));
    this.form.setAttribute("aria-busy", "true");
    let told;
    let isWrong = false;
    try {
      const answer = await fetch(`/gaps?${question}`, { cache: "no-store" });
      isWrong = !answer.ok;
      told = answer.headers.get("Content-Type")?.startsWith("application/json")
        ? await answer.json()
        : { sentence: await answer.text(), gaps: [] };
    } catch {
      isWrong = true;
      told = { sentence: "The server can't be reached.", gaps: [] };
    }
    if (number !== this.asked) return;
    this.form.removeAttribute("aria-busy");
    this.answer.classList.toggle("wrong", isWrong);
    const more = told.more ? ` The newest ${count(told.gaps.length)} are shown.` : "";
    say(this.answer, `${told.sentence}${more}`);
    this.rows.replaceChildren(...told.gaps.map(gapRow));
    this.none.hidden = told.gaps.length > 0 || isWrong;
  }

  take(message) {
    if (message.whole) this.seen.replaceChildren();
    say(this.since, timeOfDay(message.since_ms));
    for (const event of message.events) this.seen.prepend(eventItem(event));
    while (this.seen.children.length > 200) this.seen.lastChild.remove();
    this.nothing.hidden = this.seen.children.length > 0;
  }
}

function gapRow(gap) {
  const row = element("tr");
  const began = element("time");
  began.append(element("span", "wide", `${dateOf(gap.start_ms)} `), document.createTextNode(timeOfDay(gap.start_ms)));
  began.title = dateOf(gap.start_ms);
  began.dateTime = new Date(gap.start_ms).toISOString();
  const first = element("td");
  first.append(began);
  const lasted = element("td", gap.lasted === null ? "open" : "", gap.lasted ?? "▲ not healed");
  const feed = element("td", "", gap.topic);
  feed.append(element("span", "of", ` ${gap.collector}`));
  const ids = gap.first_update_id === null ? "" : gap.last_update_id === null ? `from ${gap.first_update_id}` : `${gap.first_update_id} – ${gap.last_update_id}`;
  row.append(first, lasted, feed, element("td", "", gap.cause), element("td", "", gap.healed_by ?? ""), element("td", "wide", ids));
  return row;
}

function eventItem(event) {
  const item = element("li");
  const when = element("time", "", timeOfDay(event.at_ms));
  when.dateTime = new Date(event.at_ms).toISOString();
  const what = element("span", "what", event.what);
  const change = element("span", `state ${event.after}`, ` ${STATES[event.after] ?? ""} ${event.after}`);
  what.append(change, element("small", "", event.names || `${event.collector}, was ${event.before}`));
  item.append(when, what);
  return item;
}
