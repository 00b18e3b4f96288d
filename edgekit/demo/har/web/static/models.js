// The watch, a card for each model, the rates of its populations, and what was taken for what.

import { $, badge, bytes, el, family, figure, hue, number, percent, say, words } from "./words.js";

const cards = new Map();
const VERDICTS = { right: ["good", "✓ right"], wrong: ["bad", "✕ wrong"], new: ["unsaid", "new to it"] };

export function buildModels(state, choose) {
  const { scene } = state;
  cards.clear();
  $("#models").replaceChildren($("#models-title"));
  for (const [name, model] of Object.entries(scene.models)) {
    if (name === "learner") continue; // it has its own place: the watch, and where it is taught
    const card = buildCard(name, model, scene);
    card.root.addEventListener("click", () => choose(name)); // for a pointer; keys have the buttons under the watch
    cards.set(name, card);
    $("#models").append(card.root);
  }
  $("#who").replaceChildren($("#who legend"));
  for (const name of Object.keys(scene.models)) {
    const input = el("input", { type: "radio", name: "who", value: name, checked: name === state.chosen });
    input.addEventListener("change", () => choose(name));
    $("#who").append(el("label", {}, input, family(name)));
  }
}

function buildCard(name, model, scene) {
  const rows = new Map();
  const classes = el("ul", { className: "classes" });
  const answer = el("p", { className: "answer" });
  const values = Object.fromEntries(["right", "latency", "energy", "total", "instructions"].map((key) => [key, el("dd")]));
  const once = model.steps === 1 ? "window" : "step";
  const spiking = Object.keys(model.populations).length > 0;
  const kind = [spiking ? "spiking" : "", model.precision].filter(Boolean).join(" · ");
  const root = el("article", { className: "model", "aria-label": family(name) },
    el("h3", { textContent: family(name) }), el("p", { className: "kind", textContent: kind }),
    answer, classes,
    el("dl", {}, ...[
      ["right", values.right],
      [`time/${once}`, values.latency],
      [`energy/${once}`, values.energy],
      ...(model.steps === 1 ? [] : [["energy/window", values.total]]),
      [`instructions/${once}`, values.instructions],
      ["flash", el("dd", {}, bytes(model.flash_bytes), " ", badge(model.flash_grade))],
      ["RAM", el("dd", {}, bytes(model.ram_bytes), " ", badge(model.ram_grade))],
    ].map(([term, value]) => el("div", {}, el("dt", { textContent: term }), value))),
    ...[`as a program: ${model.engine}`, ...model.notes].map((note) => el("p", { className: "soft", textContent: note })));
  for (const of of scene.classes) addRow(rows, classes, of, "");
  return { root, answer, classes, rows, values, steps: model.steps };
}

function addRow(rows, list, name, color) {
  const fill = el("span");
  const share = el("span");
  const row = el("li", {}, el("span", { textContent: words(name), title: words(name) }), el("span", { className: "bar" }, fill), share);
  if (color) fill.style.setProperty("--hue", color);
  list.append(row);
  rows.set(name, { row, fill, share });
  return rows.get(name);
}

export function showModels(state) {
  const last = state.frames.at(-1);
  for (const [name, card] of cards) {
    card.root.toggleAttribute("data-chosen", name === state.chosen);
    const model = last?.models[name];
    if (!model) continue;
    const called = state.segments.get(name)?.at(-1);
    answer(card.answer, words(model.label) || "…", called);
    const best = Math.max(...Object.values(model.confidence));
    for (const [of, share] of Object.entries(model.confidence)) {
      const row = card.rows.get(of) ?? addRow(card.rows, card.classes, of, "");
      row.fill.style.width = `${100 * share}%`;
      row.fill.style.setProperty("--hue", hue(of, state));
      say(row.share, percent(share));
      row.row.toggleAttribute("data-best", share === best);
    }
    const right = { grade: model.known ? "measured" : "unavailable", about: "of the windows whose truth is known" };
    graded(card.values.right, model.known ? `${model.right} of ${model.known} (${percent(model.right / model.known)})` : "no truth known", right);
    const { latency, energy, instructions, instructions_grade } = state.typical(name);
    graded(card.values.latency, figure(latency.value, latency.low, latency.high, latency.unit), latency);
    const { value, low, high, unit } = energy;
    const times = (part) => (part === null ? null : part * card.steps);
    graded(card.values.energy, figure(value, low, high, unit), energy);
    const whole = { grade: energy.grade, about: `${card.steps} times that of a step: ${energy.about}` };
    graded(card.values.total, figure(times(value), times(low), times(high), unit), whole);
    const counted = { grade: instructions_grade, about: `on an emulated ${state.scene.target}` };
    graded(card.values.instructions, number(instructions === null ? null : Math.round(instructions)), counted);
  }
}

function graded(dd, text, { grade, about }) {
  if (dd.dataset.shown === text + grade) return;
  dd.dataset.shown = text + grade;
  dd.title = about;
  dd.replaceChildren(text, " ", badge(grade));
}

export function showWatch(state, now) {
  const last = state.frames.at(-1);
  const model = state.chosen === "learner" ? last?.teach.model : last?.models[state.chosen];
  const who = family(state.chosen);
  const name = words(model?.label);
  const sure = model?.confidence[model.label];
  fitted($("#watch-name"), name || "…");
  say($("#watch-sure"), sure === undefined ? "" : percent(sure));
  say($("#watch-who"), who);
  const ring = $("#window-ring");
  ring.style.setProperty("--hue", hue(model?.label, state));
  const windowSeconds = state.scene.window / state.scene.rate_hz;
  const end = state.segments.get(state.chosen)?.at(-1)?.end ?? 0;
  const share = Math.max(0, Math.min(1, (now - end) / windowSeconds));
  ring.style.opacity = share > 0.02 ? 1 : 0; // its round ends would leave a dot
  ring.style.strokeDasharray = `${(100 * share).toFixed(1)} 100`;
  const spoken = name ? `${who}: ${name}${sure === undefined ? "" : `, ${percent(sure)} sure`}` : "no decision yet";
  say($("#watch-text"), spoken);
  const truth = last?.truth;
  answer($("#truth"), truth ? `wearer: ${words(truth)}` : "What the wearer does, nobody said.", state.segments.get(state.chosen)?.at(-1), "last window: ");
}

// A text, and whether the newest window was called right, where the source knows.
function answer(line, text, called, of = "") {
  const verdict = called?.verdict ?? "";
  if (line.dataset.shown === text + verdict) return;
  line.dataset.shown = text + verdict;
  line.replaceChildren(text);
  if (verdict) line.append(el("span", { className: `mark ${VERDICTS[verdict][0]}`, textContent: of + VERDICTS[verdict][1] }));
}

function fitted(text, shown) {
  if (text.textContent === shown) return;
  text.textContent = shown;
  text.style.fontSize = `${Math.max(13, Math.min(26, 225 / Math.max(shown.length, 1)))}px`;
}

export function showRates(state) {
  const list = $("#rates");
  if (list.children.length !== state.rates.length) {
    list.replaceChildren(...state.rates.map(({ population }) =>
      el("li", {}, el("span", { textContent: population }), el("span", { className: "bar" }, el("span")), el("span"))));
  }
  state.rates.forEach(({ population, share, size }, at) => {
    const [title, bar, value] = list.children[at].children;
    say(title, population);
    bar.firstChild.style.width = `${100 * (share ?? 0)}%`;
    bar.firstChild.style.setProperty("--hue", `var(--series-${(at % 3) + 1})`);
    say(value, `${share === null ? "–" : percent(share, 1)} of ${size} fire`);
  });
}

export function showConfusion(state) {
  const { scene, counted: chosen } = state;
  const table = $("#confusion table");
  const tally = state.tally[chosen];
  const key = JSON.stringify([chosen, tally]);
  if (table.dataset.key === key) return;
  table.dataset.key = key;
  if (!tally) return;
  const total = tally.flat().reduce((a, b) => a + b, 0);
  const right = tally.reduce((sum, row, at) => sum + (row[at] ?? 0), 0);
  const caption = total
    ? `${family(chosen)}: ${right} of ${total} windows right. Rows: what the wearer did. Columns: what it was called.`
    : `${family(chosen)}: no window whose truth is known yet.`;
  const head = el("tr", {}, el("td", { className: "none", ariaHidden: "true" }),
    ...scene.classes.map((name, at) => el("th", { scope: "col", ariaLabel: words(name) },
      el("span", { className: "number", textContent: String(at + 1) }), el("span", { className: "long", textContent: words(name) }))));
  head.firstChild.style.background = "none";
  const rows = tally.map((counts, at) => {
    const sum = counts.reduce((a, b) => a + b, 0);
    return el("tr", {},
      el("th", { scope: "row" }, el("span", { className: "number", ariaHidden: "true", textContent: `${at + 1}` }), words(scene.classes[at])),
      ...counts.map((count, column) => {
        const cell = el("td", { textContent: String(count), className: count ? "" : "none", title: `${words(scene.classes[at])} called ${words(scene.classes[column])}: ${count}` });
        cell.style.setProperty("--share", sum ? count / sum : 0);
        cell.style.setProperty("--hue", column === at ? "var(--series-1)" : "var(--series-2)");
        return cell;
      }));
  });
  table.replaceChildren(el("caption", {}, caption, " ", badge(total ? "measured" : "unavailable")), el("thead", {}, head), el("tbody", {}, ...rows));
}
