// One canvas over one span of time: the channels, every spike, and below them what each model answered.

import { groups } from "./channels.js";
import { HUES, family, words } from "./words.js";

const ROW = 21; // px of an answer
const AXIS = 18;
const GAP = 10;

export class Chart {
  calm = false; // nothing glides
  #canvas;
  #pen;
  #colors = {};
  #scales = new Map();

  constructor(canvas) {
    this.#canvas = canvas;
    this.#pen = canvas.getContext("2d");
    this.recolor();
  }

  recolor() {
    const style = getComputedStyle(document.documentElement);
    for (const name of ["ink", "soft", "line", "faint", "card", "accent", "bad", "series-1", "series-2", "series-3"])
      this.#colors[name] = style.getPropertyValue(`--${name}`).trim();
    for (let at = 1; at <= HUES; at++) this.#colors[`class-${at}`] = style.getPropertyValue(`--class-${at}`).trim();
    this.#colors.font = getComputedStyle(document.body).fontFamily;
  }

  // Draws the seconds of the stream that end at `now`.
  draw(state, now) {
    const { width, height } = this.#fit();
    const narrow = width < 520;
    const left = narrow ? 58 : 76;
    const right = 22;
    const span = Math.max(5, Math.min(10, (width - left - right) / 75));
    const view = { left, width: width - left - right, span, now, narrow };
    view.x = (t) => view.left + view.width * (1 - (now - t) / span);
    const pen = this.#pen;
    pen.clearRect(0, 0, width, height);
    if (!state.scene) return;

    const rows = answerRows(state);
    const answers = rows.length * ROW;
    const plots = groups(state.scene);
    const spiking = Object.entries(state.scene.models).filter(([, model]) => Object.keys(model.populations).length);
    const free = height - answers - AXIS - GAP * (plots.length + spiking.length);
    const share = free / (plots.length * 0.58 + spiking.length);
    this.#grid(view, height - AXIS, height);
    let top = 0;
    for (const plot of plots) {
      this.#plot(view, state, plot, top, share * 0.58);
      top += share * 0.58 + GAP;
    }
    for (const [name, model] of spiking) {
      this.#raster(view, state, name, model, top, share);
      top += share + GAP;
    }
    for (const row of rows) {
      this.#answers(view, state, row, top);
      top += ROW;
    }
  }

  #fit() {
    const ratio = (window.devicePixelRatio || 1) * (this.#canvas.currentCSSZoom ?? 1);
    const width = this.#canvas.clientWidth;
    const height = this.#canvas.clientHeight;
    if (this.#canvas.width !== Math.round(width * ratio) || this.#canvas.height !== Math.round(height * ratio)) {
      this.#canvas.width = Math.round(width * ratio);
      this.#canvas.height = Math.round(height * ratio);
    }
    this.#pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    return { width, height };
  }

  #text(text, x, y, { color = "soft", align = "left", size = 12, weight = 400 } = {}) {
    const pen = this.#pen;
    pen.font = `${weight} ${size}px ${this.#colors.font}`;
    pen.textAlign = align;
    pen.textBaseline = "middle";
    pen.fillStyle = this.#colors[color] ?? color;
    pen.fillText(text, x, y);
  }

  #grid(view, bottom, height) {
    const pen = this.#pen;
    const step = view.narrow ? 2 : 1;
    const first = Math.ceil((view.now - view.span) / step);
    for (let line = 0; line <= view.span / step; line++) { // counted: far seconds plus one may be the same second
      const t = (first + line) * step;
      if (t < 0 || t > view.now) continue;
      const x = view.x(t);
      pen.fillStyle = this.#colors.faint;
      pen.fillRect(x - 0.5, 0, 1, bottom);
      if (x > view.left + 8) this.#text(`${t} s`, x, height - AXIS / 2 + 2, { align: "center", size: 11 });
    }
  }

  #clip(view, top, height) {
    const pen = this.#pen;
    pen.save();
    pen.beginPath();
    pen.rect(view.left, top, view.width, height);
    pen.clip();
  }

  #plot(view, state, plot, top, height) {
    const pen = this.#pen;
    const shown = state.frames.filter((frame) => frame.t > view.now - view.span - 0.2 && frame.t <= view.now + 0.3);
    let most = 0;
    for (const frame of shown) for (const at of plot.channels) most = Math.max(most, Math.abs(frame.sample[at] ?? 0));
    const wanted = niceAbove(most);
    const before = this.#scales.get(plot.name) ?? wanted;
    const scale = before + (wanted - before) * (this.calm ? 1 : wanted > before ? 0.4 : 0.08);
    this.#scales.set(plot.name, scale);
    const y = (value) => top + height / 2 - (value / scale) * (height / 2 - 3);

    this.#text(plot.name, 0, top + height / 2 - 8, { color: "ink", size: 12, weight: 600 });
    this.#text(plot.unit, 0, top + height / 2 + 7, { size: view.narrow ? 10 : 11 });
    pen.fillStyle = this.#colors.line;
    pen.fillRect(view.left, y(0) - 0.5, view.width, 1);
    if (!view.narrow)
      for (const [value, at] of [[wanted, top + 7], [-wanted, top + height - 7]])
        this.#text(`${value > 0 ? "+" : "−"}${short(Math.abs(value))}`, view.left - 6, at, { size: 10, align: "right" });

    this.#clip(view, top, height);
    pen.lineWidth = 1.6;
    pen.lineJoin = "round";
    plot.channels.forEach((at, index) => {
      pen.strokeStyle = this.#colors[`series-${(index % 3) + 1}`];
      pen.beginPath();
      let down = false;
      for (const frame of shown) {
        const value = frame.sample[at];
        if (value === null) down = false;
        else if (down) pen.lineTo(view.x(frame.t), y(value));
        else {
          pen.moveTo(view.x(frame.t), y(value));
          down = true;
        }
      }
      pen.stroke();
    });
    pen.restore();

    const last = shown.at(-1);
    if (!last) return;
    const labels = plot.channels.map((at, index) => ({ text: plot.axes[index], y: y(last.sample[at] ?? 0), index }));
    labels.sort((a, b) => a.y - b.y);
    const lowest = top + height - 6;
    labels.forEach((label, at) => (label.y = Math.max(label.y, top + 6, at ? labels[at - 1].y + 12 : 0)));
    for (let at = labels.length - 1; at >= 0; at--)
      labels[at].y = Math.min(labels[at].y, at === labels.length - 1 ? lowest : labels[at + 1].y - 12);
    for (const label of labels)
      this.#text(label.text, view.left + view.width + 6, label.y, { color: `series-${(label.index % 3) + 1}`, weight: 650 });
  }

  #raster(view, state, name, model, top, height) {
    const pen = this.#pen;
    const populations = Object.entries(model.populations);
    const between = 4;
    const least = 12; // px that a small population gets, so that it can be named
    const free = height - between * (populations.length - 1);
    const sum = populations.reduce((all, [, size]) => all + size, 0);
    const small = populations.filter(([, size]) => (size / sum) * free < least);
    const rest = (free - least * small.length) / (sum - small.reduce((all, [, size]) => all + size, 0) || 1);
    let from = top;
    const places = {};
    populations.forEach(([population, size], index) => {
      const row = (size / sum) * free < least ? least / size : rest;
      const tall = row * size;
      pen.fillStyle = this.#colors.faint;
      pen.globalAlpha = 0.55;
      pen.fillRect(view.left, from, view.width, tall);
      pen.globalAlpha = 1;
      places[population] = { from, row, color: this.#colors[`series-${(index % 3) + 1}`] };
      const room = view.left - 6;
      if (tall >= 30) {
        this.#text(shortened(pen, population, room), 0, from + tall / 2 - 8, { color: "ink", weight: 600 });
        this.#text(shortened(pen, view.narrow ? `${size}` : `${size} cells`, room), 0, from + tall / 2 + 7, { size: view.narrow ? 10 : 11 });
      } else if (tall >= 5) this.#text(shortened(pen, population, room), 0, from + tall / 2, { size: view.narrow ? 10 : 11 });
      from += tall + between;
    });
    this.#clip(view, top, height);
    const wide = Math.max(1.6, Math.min(3, (view.width / view.span / state.scene.rate_hz) * 0.55));
    for (const frame of state.frames) {
      if (frame.t < view.now - view.span || frame.t > view.now) continue;
      const x = view.x(frame.t) - wide;
      for (const [population, fired] of Object.entries(frame.models[name]?.spikes ?? {})) {
        const place = places[population];
        if (!place) continue;
        const tall = Math.max(1.4, Math.min(place.row * 0.9, 9));
        pen.fillStyle = place.color;
        for (const neuron of fired) pen.fillRect(x, place.from + (neuron + 0.5) * place.row - tall / 2, wide, tall);
      }
    }
    pen.restore();
  }

  #answers(view, state, row, top) {
    const pen = this.#pen;
    this.#text(shortened(pen, row.label, view.left - 6), 0, top + ROW / 2, {
      color: row.chosen ? "ink" : "soft", weight: row.chosen ? 650 : 400, size: view.narrow ? 11 : 12,
    });
    this.#clip(view, top, ROW);
    for (const { start, end, name, verdict } of row.segments) {
      if (end < view.now - view.span || start > view.now) continue;
      const from = Math.max(view.x(start), view.left - 1) + 1;
      const to = view.x(end) - 1;
      const at = state.classes.indexOf(name);
      pen.fillStyle = this.#colors[`class-${at < 0 ? 8 : (at % HUES) + 1}`];
      const wrong = verdict === "wrong";
      pen.globalAlpha = wrong || verdict === "new" ? 0.12 : 0.36;
      pen.beginPath();
      pen.roundRect(from, top + 2, to - from, ROW - 4, 4);
      pen.fill();
      pen.globalAlpha = 1;
      if (wrong) {
        pen.strokeStyle = this.#colors.bad;
        pen.lineWidth = 1.2;
        pen.setLineDash([3, 3]);
        pen.stroke();
        pen.setLineDash([]);
      }
      pen.font = `400 12px ${this.#colors.font}`;
      const text = shortened(pen, (wrong ? "✕ " : "") + words(name), to - from - 10);
      if (text) this.#text(text, from + 6, top + ROW / 2 + 0.5, { color: "ink" });
    }
    pen.restore();
  }
}

function answerRows(state) {
  const row = (key, label) => ({ label, segments: state.segments.get(key) ?? [], chosen: key === state.chosen });
  const rows = [...state.answering].map((name) => row(name, family(name)));
  return state.segments.get("truth")?.length ? [row("truth", "wearer"), ...rows] : rows;
}

function niceAbove(value) {
  for (const limit of [0.5, 1, 2, 3, 4, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 75, 100, 150, 200, 500, 1000, 2000, 5000, 10000, 50000]) if (value <= limit) return limit;
  return value;
}

const short = (value) => (value > 50000 ? value.toExponential(0) : String(value));

function shortened(pen, text, room) {
  if (room < 14) return "";
  if (pen.measureText(text).width <= room) return text;
  let kept = text.length;
  while (kept > 1 && pen.measureText(`${text.slice(0, kept)}…`).width > room) kept--;
  return `${text.slice(0, kept)}…`;
}
