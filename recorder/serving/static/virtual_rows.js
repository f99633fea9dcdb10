// A long list of which only the rows that can be seen exist; they are used again and again while one scrolls.

const BEYOND = 4;

export class VirtualRows {
  /** @param make () => element with .show(index)  the list gives each its place */
  constructor(scroll, make) {
    this.scroll = scroll;
    this.spacer = scroll.querySelector(".spacer");
    this.make = make;
    this.pool = [];
    this.count = 0;
    this.height = 30;
    scroll.addEventListener("scroll", () => this.place(), { passive: true });
    new ResizeObserver(() => this.measure()).observe(scroll);
  }

  measure() {
    const height = parseFloat(getComputedStyle(this.scroll).getPropertyValue("--row")) || 30;
    if (height !== this.height) this.pool.forEach((row) => (row.index = null)); // Each has another place then.
    this.height = height;
    this.seen = this.scroll.clientHeight;
    this.setCount(this.count);
  }

  setCount(count) {
    this.count = count;
    this.spacer.style.height = `${count * this.height}px`;
    this.place();
  }

  first() {
    return Math.max(0, Math.floor(this.scroll.scrollTop / this.height) - BEYOND);
  }

  /** How many rows a page is. */
  page() {
    return Math.max(1, Math.floor((this.seen ?? 0) / this.height) - 1);
  }

  place() {
    const first = this.first();
    const needed = Math.min(this.count - first, Math.ceil((this.seen ?? 0) / this.height) + 2 * BEYOND);
    while (this.pool.length < needed) {
      const row = this.make();
      this.pool.push(row);
      this.scroll.append(row.element);
    }
    this.pool.forEach((row, offset) => {
      const index = offset < needed ? first + offset : -1;
      if (row.index !== index) {
        row.index = index;
        row.element.hidden = index < 0;
        if (index >= 0) row.element.style.transform = `translateY(${index * this.height}px)`;
      }
      if (index >= 0) row.show(index);
    });
  }

  reveal(index) {
    const top = index * this.height;
    const view = this.scroll;
    if (top < view.scrollTop) view.scrollTop = top;
    else if (top + this.height > view.scrollTop + view.clientHeight)
      view.scrollTop = top + this.height - view.clientHeight;
  }
}
