// The channels of a stream by what they measure, drawn or told.

import { family, percent, units } from "./words.js";

// Channels with one unit share a plot: acc_x, acc_y, acc_z are x, y, z of acc.
export function groups(scene) {
  const named = Object.fromEntries([...scene.unit.matchAll(/([^,()]+) \((\w+)\)/g)].map(([, unit, name]) => [name, unit.trim()]));
  const made = new Map();
  scene.channels.forEach((channel, at) => {
    const cut = channel.lastIndexOf("_");
    const name = cut > 0 ? channel.slice(0, cut) : channel;
    if (!made.has(name)) made.set(name, { name, unit: units(named[name] ?? (Object.keys(named).length ? "" : scene.unit)), channels: [], axes: [] });
    made.get(name).channels.push(at);
    made.get(name).axes.push(cut > 0 ? channel.slice(cut + 1) : channel);
  });
  return [...made.values()];
}

// What the canvas shows, for those who do not see it.
export function described(state) {
  const last = state.frames.at(-1);
  if (!last) return "Nothing has come yet";
  const parts = groups(state.scene).map(
    (plot) => `${plot.name} ${plot.channels.map((at, i) => `${plot.axes[i]} ${last.sample[at]?.toFixed(1) ?? "missing"}`).join(", ")} ${plot.unit}`,
  );
  for (const { model, population, share } of state.rates) if (share !== null) parts.push(`${family(model)} ${population}: ${percent(share, 1)} fire`);
  return `The last seconds of the stream. Now: ${parts.join("; ")}.`;
}
