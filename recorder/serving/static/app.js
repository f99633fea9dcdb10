// The page: messages in, one drawing a frame, and a word back for how much has been drawn.

import { Connection } from "./connection.js";
import { BOOK, COLLECTOR, FeedTable, TOPIC } from "./feed_table.js";
import { Gaps } from "./gaps.js";
import { HeatMap } from "./heat_map.js";
import { Ladder } from "./ladder.js";
import { Lateness } from "./lateness.js";
import { Summary } from "./summary.js";
import { legend, rate, say, timeOfDay } from "./text.js";
import { Theme } from "./theme.js";

const ALWAYS = ["summary", "feeds", "lateness", "events"];

const summary = new Summary();
const ladder = new Ladder();
const heatMap = new HeatMap();
const lateness = new Lateness();
const gaps = new Gaps();
const feeds = new FeedTable((row) => openBook(row));
const theme = new Theme(() => {
  heatMap.theme();
  feeds.redraw();
});
const away = document.getElementById("away");
const clock = document.getElementById("clock");
const pace = document.getElementById("pace");

let skewMs = 0; // How far the server's clock is ahead of the browser's.
let open = null;
let wanted = decodeURIComponent(location.hash.slice(1));
let messages = 0;
let isAsked = false;

feeds.now = () => Date.now() + skewMs;
feeds.lagOf = (collector, kind) => lateness.usualOf(collector, kind);

function openBook(row) {
  const [collector, topic] = [row.fixed[COLLECTOR], row.fixed[BOOK]];
  const name = topic === null ? null : `book/${collector}/${topic}`;
  history.replaceState(null, "", `#${encodeURIComponent(`${collector}/${row.fixed[TOPIC]}`)}`);
  if (name === open) return;
  open = name;
  heatMap.begin();
  ladder.begin(topic ?? row.fixed[TOPIC], collector, feeds.several);
  if (name === null) ladder.lack("No book of this symbol is recorded.");
  connection.listen(name === null ? ALWAYS : [...ALWAYS, name]);
}

/** Show what the address names, else the first book there is. */
function openFirst() {
  const slash = wanted.indexOf("/");
  if (slash > 0 && feeds.chooseNamed(wanted.slice(0, slash), wanted.slice(slash + 1))) return;
  if (feeds.first) feeds.choose(feeds.first);
}

const takers = {
  summary(message) {
    skewMs = message.now_ms - Date.now();
    document.getElementById("logout").hidden = !message.login;
    summary.take(message);
  },
  feeds(message) {
    feeds.take(message);
    if (!open && feeds.rows.length && !feeds.chosen) openFirst();
  },
  lateness: (message) => lateness.take(message),
  events: (message) => gaps.take(message),
};

const connection = new Connection(
  (message) => {
    messages += 1;
    const taker = takers[message.channel];
    if (taker) taker(message);
    else if (message.channel === open) {
      ladder.take(message.ladder);
      heatMap.take(message);
    }
  },
  (state, words) => {
    const isAway = state === "away";
    away.hidden = !isAway;
    if (isAway) {
      say(away, `■ The server of this page is away${words ? ` (${words})` : ""}; what is shown is from before. Trying again.`);
      summary.judge(true, "■", "Not connected");
    } else if (!isAsked) {
      isAsked = true;
      gaps.ask();
    }
  },
);
connection.channels = ALWAYS;
connection.open();

const drawers = [summary, feeds, ladder, heatMap, lateness];

function frame() {
  for (const drawer of drawers) if (drawer.dirty) drawer.draw();
  connection.acknowledge();
  requestAnimationFrame(frame);
}
requestAnimationFrame(frame);

setInterval(() => {
  say(clock, `${timeOfDay(feeds.now())} UTC`);
  say(pace, `${rate(messages)} updates a second`);
  messages = 0;
  feeds.dirty = true;
}, 1000);

const help = document.getElementById("help");
document.getElementById("legend").append(...legend());
document.getElementById("help-button").addEventListener("click", () => help.showModal());
window.addEventListener("hashchange", () => {
  wanted = decodeURIComponent(location.hash.slice(1));
  openFirst();
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
  if (event.target.matches("input, select, textarea")) return;
  const act = {
    "/": () => document.getElementById("search").focus(),
    g: () => document.getElementById("at").focus(),
    n: () => feeds.show("unwell"),
    t: () => theme.next(),
    "?": () => help.showModal(),
  }[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});
