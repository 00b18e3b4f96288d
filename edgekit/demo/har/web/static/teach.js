// Teaching: what the wearer does, its name, the recording, what came of it, and undo.

import { $, badge, el, number, percent, say, words } from "./words.js";

const FADES = 10000; // ms for which a refusal is to be seen

export function buildTeach(state, stream) {
  const { activities } = state.scene;
  $("#play").hidden = activities.length === 0;
  $("#activity").replaceChildren(
    el("option", { value: "", textContent: "as it comes" }),
    ...activities.map((name) => el("option", { value: name, textContent: words(name) })),
  );
  state.complaint = "";
  let fades = 0;
  const tell = (why) => {
    clearTimeout(fades);
    state.complaint = why ?? "";
    if (why) fades = setTimeout(tell, FADES);
    state.touch();
  };
  $("#activity").onchange = async () => {
    const activity = $("#activity").value;
    if (activity && !state.scene.classes.includes(activity)) $("#name").value = words(activity);
    tell(await stream.ask("/play", { activity: activity || null }));
  };
  $("#lesson").onsubmit = async (event) => {
    event.preventDefault();
    if (state.teach?.phase === "recording") {
      tell(await stream.ask("/teach/learn"));
      return;
    }
    tell(await stream.ask("/teach/record", { name: $("#name").value, seconds: Number($("#seconds").value) }));
  };
  $("#cancel").onclick = async () => {
    tell(await stream.ask("/teach/cancel"));
  };
  $("#undo").onclick = async () => {
    tell(await stream.ask("/teach/undo"));
  };
}

export function showTeach(state) {
  const { teach } = state;
  if (!teach) return;
  const recording = teach.phase === "recording";
  const possible = teach.phase !== "unavailable" && state.link === "live";
  const record = $("#record");
  say(record, recording ? "Learn now" : "Record");
  record.toggleAttribute("data-recording", recording);
  record.disabled = !possible || (!recording && teach.left === 0);
  $("#name").disabled = $("#seconds").disabled = !possible || recording || teach.left === 0;
  $("#cancel").hidden = !recording;
  $("#activity").disabled = state.link !== "live";
  $("#undo").disabled = !possible || recording || teach.undoable === 0;

  const bar = $("#progress");
  bar.hidden = !recording;
  if (recording) {
    const most = Math.max(state.recorded, teach.seconds);
    bar.setAttribute("aria-valuemax", most);
    bar.setAttribute("aria-valuenow", teach.seconds.toFixed(0));
    bar.firstElementChild.style.width = `${(100 * teach.seconds) / most}%`;
  }
  say($("#teach-about"), about(teach, recording, state));
  showLesson(teach.lesson, state.scene.emulated);
  const list = $("#taught ul");
  if (list.dataset.shown !== teach.taught.join("\n")) {
    list.dataset.shown = teach.taught.join("\n");
    list.replaceChildren(...teach.taught.map((name) => el("li", { textContent: words(name) })));
  }
  $("#taught").hidden = teach.taught.length === 0 && teach.undoable === 0; // an old activity that was taught again has no name here
}

function about(teach, recording, state) {
  if (recording) {
    const why = state.complaint || teach.about;
    return `Recording ${words(teach.name)}: ${state.waiting ? "waiting for samples" : "keep on doing it"}.${why ? ` (${why})` : ""}`;
  }
  if (state.complaint) return state.complaint;
  if (teach.about) return teach.about;
  if (teach.lesson) return "";
  if (teach.left === 0) return "It has no room for another gesture: undo one.";
  return "Do something over and over, name it, and record it. It learns by a Hebbian rule, from that recording alone.";
}

function showLesson(lesson, emulated) {
  const result = $("#result");
  const key = JSON.stringify(lesson);
  if (result.dataset.key === key) return;
  result.dataset.key = key;
  result.hidden = lesson === null;
  result.replaceChildren();
  if (lesson === null) return;
  const bar = (share) => {
    const fill = el("span");
    fill.style.width = `${100 * share}%`;
    fill.style.setProperty("--hue", "var(--series-3)");
    return el("span", { className: "bar" }, fill);
  };
  const windows = `${lesson.windows} ${lesson.windows === 1 ? "window" : "windows"}`;
  result.replaceChildren(
    el("p", {}, el("strong", { textContent: words(lesson.name) }), ` learned from ${windows} in ${number(lesson.milliseconds)} ms${emulated ? " of the emulator" : ""}; ${lesson.recalled} of ${lesson.windows} recognised. `, badge(lesson.grade)),
    el("div", { className: "keep" },
      el("span", { textContent: "old activities before" }), bar(lesson.before), el("span", { textContent: percent(lesson.before, 1) }),
      el("span", { textContent: "and after" }), bar(lesson.after), el("span", { textContent: percent(lesson.after, 1) })),
    el("p", { className: "soft" }, `right on ${lesson.held_out.toLocaleString("en")} windows that were held out `, badge(lesson.grade)),
  );
}
