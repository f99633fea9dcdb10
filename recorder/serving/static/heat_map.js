// What rested at which price over the last minutes. Columns come from the server with a brightness for each band of price;
// here they are painted, moved to the left, and moved up or down when the market leaves the middle.

import { colour, timeOfDay } from "./text.js";

const AXIS = 74; // Pixels for prices at the right, and for times below.
const FOOT = 18;
const MARGIN = 0.22; // How near to an edge the touch may come before the picture follows it.
const LIGHT = ["#ffffff", "#dce9f3", "#9cc3de", "#4a8dbb", "#1b5e8f", "#0b2f50"];
const DARK = ["#191d21", "#16324a", "#27587b", "#5f8696", "#c0b479", "#ffe08a"];

function palette(stops) {
  const parts = stops.map((hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)));
  return Array.from({ length: 256 }, (_, shade) => {
    const place = (shade / 255) * (parts.length - 1);
    const low = Math.min(Math.floor(place), parts.length - 2);
    return parts[low].map((part, at) => Math.round(part + (parts[low + 1][at] - part) * (place - low)));
  });
}

export class HeatMap {
  constructor() {
    this.canvas = document.getElementById("heat-canvas");
    this.box = document.getElementById("heat");
    this.told = document.getElementById("heat-told");
    this.paint = this.canvas.getContext("2d", { alpha: false });
    this.picture = document.createElement("canvas");
    this.columns = [];
    this.grid = null;
    this.low = null;
    this.dirty = true;
    this.fresh = 0;
    this.theme();
    new ResizeObserver(() => {
      this.dirty = true;
    }).observe(this.box);
    this.box.addEventListener("pointermove", (event) => this.point(event));
    this.box.addEventListener("pointerleave", () => {
      this.told.hidden = true;
    });
  }

  theme() {
    const isDark = document.documentElement.classList.contains("dark");
    this.shades = palette(isDark ? DARK : LIGHT);
    this.colours = Object.fromEntries(["sheet", "line", "soft", "faint", "buy", "sell", "gap", "gap-soft", "ink"].map((name) => [name, colour(name)]));
    this.fresh = Infinity;
    this.dirty = true;
  }

  begin() {
    this.columns = [];
    this.grid = null;
    this.low = null;
    this.fresh = Infinity;
    this.dirty = true;
  }

  take(message) {
    if (message.whole) {
      this.columns = [];
      this.low = null;
      this.fresh = Infinity;
      this.grid = message.grid;
      this.unit = 10 ** message.grid.exponent * message.grid.band;
      this.places = Math.max(0, -message.grid.exponent - Math.floor(Math.log10(message.grid.band || 1)));
      this.picture.width = message.grid.columns;
      this.picture.height = message.grid.rows;
    }
    if (!message.columns.length || !this.grid) return;
    this.columns.push(...message.columns);
    this.columns.splice(0, Math.max(0, this.columns.length - this.grid.columns));
    this.fresh += message.columns.length;
    this.dirty = true;
  }

  /** Keep the touch away from the edges; whether everything has to be painted again. */
  follow() {
    const last = this.columns.findLast((column) => column[3] !== null);
    if (!last) return false;
    const { rows } = this.grid;
    const middle = (last[3] + last[4]) / 2;
    const share = this.low === null ? -1 : (middle - this.low) / rows;
    if (share > MARGIN && share < 1 - MARGIN) return false;
    this.low = Math.round(middle - rows / 2);
    return true;
  }

  draw() {
    this.dirty = false;
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    const wide = this.box.clientWidth, high = this.box.clientHeight;
    if (this.canvas.width !== Math.round(wide * ratio) || this.canvas.height !== Math.round(high * ratio)) {
      this.canvas.width = Math.round(wide * ratio);
      this.canvas.height = Math.round(high * ratio);
    }
    const paint = this.paint;
    paint.setTransform(ratio, 0, 0, ratio, 0, 0);
    paint.fillStyle = this.colours.sheet;
    paint.fillRect(0, 0, wide, high);
    if (!this.grid || !this.columns.length) return;
    if (this.follow()) this.fresh = Infinity;
    this.paintPicture();
    const inner = { wide: wide - AXIS, high: high - FOOT };
    paint.imageSmoothingEnabled = false;
    paint.drawImage(this.picture, 0, 0, inner.wide, inner.high);
    this.drawTouch(inner);
    this.drawAxes(inner, wide, high);
  }

  paintPicture() {
    const { columns, rows } = this.grid;
    const paint = this.picture.getContext("2d", { willReadFrequently: false });
    const many = Math.min(this.fresh, this.columns.length);
    if (many < columns && this.fresh !== Infinity && many > 0) {
      paint.globalCompositeOperation = "copy";
      paint.drawImage(this.picture, -many, 0);
      paint.globalCompositeOperation = "source-over";
    }
    if (this.fresh === Infinity) {
      paint.fillStyle = this.colours.sheet;
      paint.fillRect(0, 0, columns, rows);
    }
    this.fresh = 0;
    if (!many) return;
    const image = paint.createImageData(many, rows);
    const pixels = new Uint32Array(image.data.buffer);
    const lookup = this.shades.map(([red, green, blue]) => (255 << 24) | (blue << 16) | (green << 8) | red);
    pixels.fill(lookup[0]);
    const gap = (255 << 24) | hexToBgr(this.colours.gap);
    const soft = (255 << 24) | hexToBgr(this.colours["gap-soft"]);
    this.columns.slice(-many).forEach((column, at) => {
      if (column[5] !== "live") {
        for (let row = 0; row < rows; row += 1) pixels[row * many + at] = (row + Math.floor(column[0] / this.grid.column_ms)) % 6 ? soft : gap;
        return;
      }
      if (!column.bytes) column.bytes = Uint8Array.from(atob(column[2]), (letter) => letter.charCodeAt(0));
      for (let band = 0; band < column.bytes.length; band += 1) {
        const row = rows - 1 - (column[1] + band - this.low);
        if (row >= 0 && row < rows) pixels[row * many + at] = lookup[column.bytes[band]];
      }
    });
    paint.putImageData(image, columns - many, 0);
  }

  x(number, inner) {
    return ((this.grid.columns - this.columns.length + number) / this.grid.columns) * inner.wide;
  }

  y(band, inner) {
    return inner.high * (1 - (band - this.low) / this.grid.rows);
  }

  /** Best bid and ask as lines, broken where the book was not to be believed. */
  drawTouch(inner) {
    const paint = this.paint;
    paint.save();
    paint.beginPath();
    paint.rect(0, 0, inner.wide, inner.high);
    paint.clip();
    for (const [field, name] of [[3, "buy"], [4, "sell"]]) {
      paint.beginPath();
      paint.strokeStyle = this.colours[name];
      paint.lineWidth = 1.25;
      let isDown = false;
      this.columns.forEach((column, number) => {
        if (column[field] === null) {
          isDown = false;
          return;
        }
        const left = this.x(number, inner), top = this.y(column[field] + 0.5, inner);
        if (isDown) paint.lineTo(left, top);
        else paint.moveTo(left, top);
        paint.lineTo(this.x(number + 1, inner), top);
        isDown = true;
      });
      paint.stroke();
    }
    paint.restore();
  }

  drawAxes(inner, wide, high) {
    const paint = this.paint;
    paint.font = `11px ${getComputedStyle(document.body).fontFamily}`;
    paint.fillStyle = this.colours.soft;
    paint.strokeStyle = this.colours.line;
    paint.lineWidth = 1;
    paint.strokeRect(inner.wide + 0.5, -1, wide, inner.high + 1.5);
    paint.textBaseline = "middle";
    paint.textAlign = "left";
    if (this.low !== null) {
      const step = niceStep(this.grid.rows / 6);
      for (let band = Math.ceil(this.low / step) * step; band < this.low + this.grid.rows; band += step) {
        const top = this.y(band + 0.5, inner);
        if (top > 8 && top < inner.high - 8) paint.fillText(this.price(band), inner.wide + 7, top);
      }
    }
    paint.textBaseline = "alphabetic";
    paint.textAlign = "center";
    const last = this.columns.length - 1;
    const every = 30000 / this.grid.column_ms;
    for (let number = last; number >= 0; number -= 1) {
      const column = this.columns[number];
      if (Math.round(column[0] / this.grid.column_ms) % every) continue;
      const left = this.x(number, inner);
      if (left > 30 && left < inner.wide - 26) paint.fillText(timeOfDay(column[0]), left, high - 5);
    }
  }

  price(band) {
    return (band * this.unit).toFixed(this.places);
  }

  point(event) {
    const inner = { wide: this.box.clientWidth - AXIS, high: this.box.clientHeight - FOOT };
    const at = this.box.getBoundingClientRect();
    const left = event.clientX - at.left, top = event.clientY - at.top;
    const number = this.grid ? Math.floor((left / inner.wide) * this.grid.columns) - (this.grid.columns - this.columns.length) : -1;
    const column = this.columns[number];
    this.told.hidden = !column || top > inner.high || this.low === null;
    if (this.told.hidden) return;
    const band = Math.floor(this.low + (1 - top / inner.high) * this.grid.rows);
    this.told.textContent = `${timeOfDay(column[0])}  ${column[5] === "live" ? this.price(band) : column[5]}`;
    const shift = left > inner.wide / 2 ? left - this.told.offsetWidth - 10 : left + 12;
    this.told.style.transform = `translate(${shift}px, ${Math.max(2, top - 26)}px)`;
  }
}

function niceStep(least) {
  const power = 10 ** Math.floor(Math.log10(least));
  return [1, 2, 5, 10].map((part) => part * power).find((step) => step >= least);
}

function hexToBgr(text) {
  const number = parseInt(text.slice(1), 16);
  return ((number & 255) << 16) | (number & 0xff00) | (number >> 16);
}
