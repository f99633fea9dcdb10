// Light, dark, or as the system has it.

const NAMES = { system: "Auto", light: "Light", dark: "Dark" };
const ORDER = ["system", "light", "dark"];

export class Theme {
  constructor(onChange) {
    this.onChange = onChange;
    this.button = document.getElementById("theme");
    this.system = matchMedia("(prefers-color-scheme: dark)");
    this.chosen = localStorage.getItem("theme");
    if (!ORDER.includes(this.chosen)) this.chosen = "system";
    this.system.addEventListener("change", () => this.apply());
    this.button.addEventListener("click", () => this.next());
    this.apply();
  }

  next() {
    this.chosen = ORDER[(ORDER.indexOf(this.chosen) + 1) % ORDER.length];
    localStorage.setItem("theme", this.chosen);
    this.apply();
  }

  apply() {
    const isDark = this.chosen === "dark" || (this.chosen === "system" && this.system.matches);
    document.documentElement.classList.toggle("dark", isDark);
    document.documentElement.classList.toggle("light", !isDark);
    this.button.textContent = NAMES[this.chosen];
    this.onChange?.();
  }
}
