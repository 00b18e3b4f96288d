// Words, numbers and elements: everything that is shown goes through here, as text and never as markup.

export const $ = (selector) => document.querySelector(selector);

export function el(tag, props = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

// Sets text only where it changes, so that nothing is laid out or read aloud twice.
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// Class names as people read them; the prefix of made-up ones is said once, above.
export const words = (name) => (name ?? "").replace(/^synthetic_/, "").replaceAll("_", " ");

export const FAMILIES = { mlp: "MLP", lmu: "LMU", l2mu: "L2MU", elm: "ELM", learner: "Learner" };
export const family = (name) => FAMILIES[name] ?? name;

export const units = (text) => text.replaceAll("^2", "²");

export function number(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  const digits = size >= 100 ? 0 : Math.max(0, Math.min(6, 1 - Math.floor(Math.log10(size))));
  return value.toLocaleString("en", { maximumFractionDigits: digits });
}

export const percent = (share, digits = 0) => `${(100 * share).toFixed(digits)} %`;

// A value with a unit that suits its size: 0.42 ms rather than 420 µs from a thousand on.
const LARGER = { "µs": "ms", "µJ": "mJ", "nJ": "µJ", ms: "s" };
const SMALLER = { "µJ": "nJ", "µs": "ns" };
function scaled(values, unit) {
  const size = Math.max(...values.map(Math.abs));
  if (size >= 1000 && LARGER[unit]) return [values.map((v) => v / 1000), LARGER[unit]];
  if (size < 0.1 && size > 0 && SMALLER[unit]) return [values.map((v) => v * 1000), SMALLER[unit]];
  return [values, unit];
}

export function figure(value, low, high, unit) {
  if (value === null || value === undefined) return "–";
  const range = low !== null && low !== undefined && high !== null && high !== undefined;
  const [shown, suited] = scaled(range ? [low, high] : [value], unit);
  return `${shown.map(number).join("–")} ${suited}`;
}

export function badge(grade) {
  return el("span", { className: `badge ${/^[a-z]+$/.test(grade) ? grade : ""}`, textContent: grade });
}

export const bytes = (count) => (count >= 1000 ? `${number(count / 1000)} kB` : `${count} B`);

export const HUES = 10;

// The colour of each class: those of Okabe and Ito, in the order of the classes.
export function hue(name, state) {
  const at = state.classes.indexOf(name);
  return `var(--class-${at < 0 ? 8 : (at % HUES) + 1})`;
}
