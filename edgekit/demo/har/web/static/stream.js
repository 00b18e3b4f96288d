// The connection: it asks for the scene, reads the stream, and comes back by itself when either is lost.

const RETRY = 1500; // ms
const SILENT = 15000; // ms without a word from the server, which speaks every 5 s

export class Stream {
  #token = null;
  #launch = null;
  #on;

  constructor(on) {
    this.#on = on;
  }

  async run() {
    for (;;) {
      let ended = false;
      try {
        ended = await this.#once();
      } catch {
        // said below: whatever the reason, the page tries again
      }
      if (!ended) this.#on.link("lost", "connection lost, trying again");
      await new Promise((done) => setTimeout(done, RETRY));
      if (ended) await this.#nextLaunch();
    }
  }

  // What was asked: null when it was done, else why it was not.
  async ask(path, given = {}) {
    try {
      const headers = { "content-type": "application/json", "x-edgekit-token": this.#token };
      const answer = await fetch(path, { method: "POST", headers, body: JSON.stringify(given) });
      return answer.ok ? null : (await answer.json()).error;
    } catch {
      return "The server does not answer.";
    }
  }

  async #scene() {
    const answer = await fetch("/scene", { signal: AbortSignal.timeout(SILENT) });
    if (!answer.ok) throw new Error(`scene: ${answer.status}`);
    return answer.json();
  }

  async #nextLaunch() {
    for (;;) {
      try {
        if ((await this.#scene()).launch !== this.#launch) return;
      } catch {
        // still down
      }
      await new Promise((done) => setTimeout(done, RETRY));
    }
  }

  async #once() {
    const { launch, token, scene } = await this.#scene();
    const restarted = this.#launch !== null && this.#launch !== launch;
    this.#launch = launch;
    this.#token = token;
    const watch = new AbortController();
    let alarm = 0;
    const alive = () => {
      clearTimeout(alarm);
      alarm = setTimeout(() => watch.abort(), SILENT);
    };
    try {
      alive();
      const answer = await fetch("/events", { headers: { "x-edgekit-token": token }, signal: watch.signal });
      if (!answer.ok) {
        this.#on.link("lost", (await answer.json()).error);
        return false;
      }
      this.#on.scene(scene, restarted);
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let waiting = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return false;
        alive();
        const events = (waiting + value).split("\n\n");
        waiting = events.pop();
        for (const event of events) {
          const [kind, data] = event.split("\ndata: ");
          if (kind === "event: frames") this.#on.frames(JSON.parse(data));
          if (kind === "event: closed") return false;
          if (kind === "event: ended") {
            this.#on.link("ended", JSON.parse(data).text);
            return true;
          }
        }
      }
    } finally {
      clearTimeout(alarm);
      watch.abort();
    }
  }
}
