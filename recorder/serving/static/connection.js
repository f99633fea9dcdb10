// The one WebSocket: what the page listens to, what it has shown, and coming back when the server has been away.

const FIRST_MS = 500;
const LONGEST_MS = 10000;

export class Connection {
  /** @param onMessage (message) => void  @param onState (state, words) => void  state: "open" | "away" */
  constructor(onMessage, onState) {
    this.onMessage = onMessage;
    this.onState = onState;
    this.channels = [];
    this.socket = null;
    this.pauseMs = FIRST_MS;
    this.received = 0;
    this.told = 0;
  }

  open() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/live`);
    this.socket = socket;
    socket.onopen = () => {
      this.received = 0;
      this.told = 0;
      this.pauseMs = FIRST_MS;
      this.send({ listen: this.channels });
      this.onState("open", "");
    };
    socket.onmessage = (event) => {
      this.received += 1;
      this.onMessage(JSON.parse(event.data));
    };
    socket.onclose = (event) => {
      if (this.socket !== socket) return;
      this.socket = null;
      this.onState("away", event.code === 1008 ? event.reason : "");
      setTimeout(() => this.comeBack(), this.pauseMs);
      this.pauseMs = Math.min(this.pauseMs * 2, LONGEST_MS);
    };
  }

  /** A server that wants a token again answers the page itself with its login. */
  async comeBack() {
    try {
      const answer = await fetch("/", { redirect: "manual", cache: "no-store" });
      if (answer.type === "opaqueredirect") {
        location.assign("/login");
        return;
      }
    } catch {
      // Not there yet: the socket will say so.
    }
    this.open();
  }

  listen(channels) {
    this.channels = channels;
    this.send({ listen: channels });
  }

  /** Say how many messages have been drawn: the server sends no more than a few beyond that. */
  acknowledge() {
    if (this.told === this.received) return;
    this.told = this.received;
    this.send({ seen: this.received });
  }

  send(word) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(word));
  }
}
