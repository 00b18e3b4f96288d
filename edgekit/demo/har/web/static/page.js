// The page: what came last, what is drawn of it, and who listens to keys.

import { described } from "./channels.js";
import { Chart } from "./charts.js";
import { buildModels, showConfusion, showModels, showRates, showWatch } from "./models.js";
import { Stream } from "./stream.js";
import { buildTeach, showTeach } from "./teach.js";
import { $, el, family, say, words } from "./words.js";

const KEPT = 12; // seconds of frames and answers
const MOST = 6000; // frames, and answers of each model, whatever their times say
const RATES_OVER = 2; // seconds
const DRAW = 1000 / 30; // ms: a calm page for a phone's battery too
const CALM = matchMedia("(prefers-reduced-motion: reduce)");

const state = {
  scene: null, classes: [], frames: [], segments: new Map(), answering: new Set(), rates: [], tally: {},
  chosen: "l2mu", counted: "l2mu", hold: false, link: "connecting", missed: 0, complaint: "", typical,
  teach: null, recorded: null, waiting: false, touch: () => (changed = true),
};
const chart = new Chart($("#chart"));
const stream = new Stream({ link, scene, frames });
let shownAt = 0; // second of the stream at the right edge
let drawnAt = 0;
let changed = false;
let bannerOff = 0;
let linkText = "connecting";

function link(kind, text) {
  state.link = kind;
  document.body.dataset.link = kind;
  linkText = text;
  showLink();
}

// A sensor that is silent is told from a connection that is lost.
function showLink() {
  const waiting = state.link === "live" && state.waiting;
  document.body.toggleAttribute("data-waiting", waiting);
  say($("#link-text"), waiting ? "waiting for samples" : linkText);
  changed = true;
}

function scene(told, restarted) {
  Object.assign(state, { scene: told, classes: [...told.classes], frames: [], segments: new Map(), tally: told.tally, missed: 0, teach: null, recorded: null, waiting: false });
  state.answering = new Set(Object.keys(told.models));
  if (!state.answering.has(state.chosen)) state.chosen = state.counted = spiking(told) ?? Object.keys(told.models)[0];
  shownAt = 0;
  const made = told.synthetic ? " Figures on it say nothing about real activities." : "";
  say($("#facts"), `${told.source} · steps at ${told.rate_hz} Hz · instructions and energy of ${told.target}${told.emulated ? ", emulated in the loop" : ""}.${made}`);
  notes(told.notes);
  buildModels(state, choose);
  buildTeach(state, stream);
  link("live", "live");
  if (restarted) banner("The server was started again: what was counted and taught before is gone.");
  document.documentElement.dataset.launches = Number(document.documentElement.dataset.launches ?? 0) + 1;
}

function notes(told) {
  $("#notes").replaceChildren(...told.map((note) => el("li", { textContent: note })));
}

function banner(text) {
  clearTimeout(bannerOff);
  say($("#banner"), text);
  $("#banner").hidden = false;
  bannerOff = setTimeout(() => ($("#banner").hidden = true), 12000);
}

function frames({ frames: came, missed, counted, standing }) {
  state.missed += missed;
  if (standing) stands(standing);
  if (counted) {
    state.tally = counted.tally;
    notes(counted.notes);
  }
  for (const frame of came) take(frame);
  const oldest = (state.frames.at(-1)?.t ?? 0) - KEPT;
  state.frames = state.frames.filter((frame) => frame.t >= oldest).slice(-MOST);
  for (const [name, list] of state.segments) state.segments.set(name, list.filter((segment) => segment.end >= oldest).slice(-MOST));
  changed = true;
}

function stands({ teach, recorded, waiting }) {
  // whoever taught it something wants to see whether it knows it
  if (state.teach && teach.undoable > state.teach.undoable) choose("learner");
  Object.assign(state, { teach, recorded, waiting, classes: [...state.scene.classes, ...teach.taught] });
  showLink();
}

function take(frame) {
  const before = state.frames.at(-1);
  if (before && frame.t < before.t) {
    state.frames = [];
    state.segments = new Map();
  }
  frame.stepped = frame.steps > (before?.steps ?? 0); // a sensor may be faster than its models
  state.frames.push(frame);
  for (const text of frame.events) banner(text);
  if (frame.truth) extend("truth", frame.t, frame.truth);
  const { model } = frame.teach;
  const answers = Object.entries(frame.models);
  if (model) answers.push(["learner", model]);
  for (const [name, { decision }] of answers) if (decision) answered(name, frame.t, decision);
}

function answered(name, end, { name: label, confidence, truth }) {
  const list = state.segments.get(name) ?? [];
  const start = Math.max(end - state.scene.window / state.scene.rate_hz, list.at(-1)?.end ?? 0);
  list.push({ start, end, name: label, verdict: verdict(name, label, truth) });
  state.segments.set(name, list);
  const text = `${family(name)}: ${words(label)}`;
  if (name === state.chosen && list.at(-2)?.name !== label) say($("#say"), `${text}, ${Math.round(100 * confidence)} % sure`);
}

// An activity that a model was never shown cannot be called right, nor wrong.
function verdict(model, label, truth) {
  if (truth === null) return "";
  if (words(label) === words(truth)) return "right";
  const known = model === "learner" ? state.classes : state.scene.classes;
  return known.some((name) => words(name) === words(truth)) ? "wrong" : "new";
}

function extend(key, t, name) {
  const list = state.segments.get(key) ?? [];
  const last = list.at(-1);
  const step = 1 / state.scene.rate_hz;
  if (last?.name === name && t - last.end < 4 * step) last.end = t;
  else list.push({ start: t - step, end: t, name, verdict: "right" });
  state.segments.set(key, list);
}

function choose(name) {
  state.chosen = name;
  if (name !== "learner") state.counted = name;
  const input = document.querySelector(`#who input[value="${CSS.escape(name)}"]`);
  if (input) input.checked = true;
  changed = true;
}

const spiking = (told) => Object.keys(told.models).find((name) => Object.keys(told.models[name].populations).length);

function recent(seconds) {
  const from = (state.frames.at(-1)?.t ?? 0) - seconds;
  return state.frames.filter((frame) => frame.t >= from);
}

// Costs that can be read: those of the step of the last seconds that took neither long nor short.
function typical(name) {
  const steps = recent(RATES_OVER).map((frame) => frame.models[name]).filter((model) => model);
  steps.sort((a, b) => (a.latency.value ?? 0) - (b.latency.value ?? 0));
  return steps[steps.length >> 1];
}

function rates() {
  const over = recent(RATES_OVER).filter((frame) => frame.stepped);
  return Object.entries(state.scene.models).flatMap(([model, { populations }]) =>
    Object.entries(populations).map(([population, size]) => {
      const fired = over.reduce((sum, frame) => sum + (frame.models[model]?.spikes[population]?.length ?? 0), 0);
      return { model, population, size, share: over.length ? fired / over.length / size : null };
    }));
}

let textAt = 0;
function draw(now) {
  requestAnimationFrame(draw);
  const calm = CALM.matches ? 500 : DRAW;
  if (now - drawnAt < calm - 2 || !state.scene) return;
  const passed = Math.min(1, (now - drawnAt) / 1000);
  drawnAt = now;
  const newest = state.frames.at(-1)?.t ?? 0;
  if (!state.hold) {
    if (CALM.matches || Math.abs(newest - shownAt) > 2) shownAt = newest;
    else shownAt += (newest - shownAt) * (1 - Math.exp(-passed / 0.15));
    chart.calm = CALM.matches;
    chart.draw(state, shownAt);
    document.documentElement.dataset.second = shownAt.toFixed(1);
    showWatch(state, shownAt);
  }
  if ((changed || state.link !== "live") && now - textAt > 120) {
    changed = false;
    textAt = now;
    showTeach(state);
    if (state.hold) return;
    state.rates = rates();
    showModels(state);
    showRates(state);
    showConfusion(state);
    $("#chart").setAttribute("aria-label", described(state));
    say($("#stream-note"), streamNote());
  }
}

function streamNote() {
  if (document.body.hasAttribute("data-waiting")) return `waiting for samples from ${state.scene.source}`;
  return state.missed ? `${state.missed} ${state.missed === 1 ? "sample was" : "samples were"} left out: this page was too slow` : "";
}

function hold() {
  state.hold = !state.hold;
  $("#hold").setAttribute("aria-pressed", String(state.hold));
  say($("#hold"), state.hold ? "Go on" : "Pause");
  changed = true;
}

$("#hold").addEventListener("click", hold);
for (const query of [matchMedia("(prefers-color-scheme: dark)")]) query.addEventListener("change", () => chart.recolor());
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input[type=text], input:not([type]), select, button")) return;
  const keys = { " ": hold, t: () => $("#name").focus(), u: () => $("#undo").click() };
  const names = [...document.querySelectorAll("#who input")].map((input) => input.value);
  const does = keys[event.key] ?? (names[Number(event.key) - 1] && (() => choose(names[Number(event.key) - 1])));
  if (!does) return;
  event.preventDefault();
  does();
});
requestAnimationFrame(draw);
stream.run();
