// The line to the portal: files in pieces by tus, through Uppy. What arrived is never sent again: after a break Uppy asks how far each
// file is and goes on there. Uppy copies the list of its files with every step of progress, so it is only ever given a few dozen of them.
import { Tus, Uppy } from "uppy";

const PARALLEL = 3;
const WINDOW = 40;
const SMALL = 1_000_000; // comes with its creation, in one request
const STALLED = 60_000;
const PAUSES = [500, 1_000, 2_000, 4_000, 8_000, 15_000, ...Array(100).fill(30_000)]; // most of an hour, each time

export class Line {
  // tell: progress(item, bytes), arrived(item, answer), broken(item, words), refused(item, words, status)
  constructor(endpoint, token, tell) {
    this.tell = tell;
    this.items = new Map();
    this.queue = [];
    this.paused = false;
    this.heard = 0;
    this.uppy = new Uppy({ allowMultipleUploadBatches: true });
    this.uppy.use(Tus, {
      endpoint, limit: PARALLEL, retryDelays: PAUSES, storeFingerprintForResuming: false,
      headers: { "X-CSRFToken": token, Accept: "application/json" }, allowedMetaFields: ["name", "mark"],
      onShouldRetry: (error, attempt, options) => this.passing(error, options.item),
    });
    this.uppy.on("upload-progress", (file, { bytesUploaded }) => {
      this.heard = Date.now();
      if (file && this.items.has(file.id)) this.tell.progress(this.items.get(file.id), bytesUploaded);
    });
    this.uppy.on("upload-success", (file, response) => {
      const answer = answerOf(response.body.xhr); // now: Uppy aborts the request right after this, and its text is gone
      this.done(file.id, (item) => this.tell.arrived(item, answer));
    });
    this.uppy.on("upload-error", (file, error, response) => {
      const said = parsed(response?.body?.xhr?.responseText);
      this.done(file.id, (item) => this.failed(item, response?.status ?? 0, said));
    });
    window.addEventListener("online", () => this.nudge());
    setInterval(() => { if (this.items.size && Date.now() - this.heard > STALLED) this.nudge(); }, 10_000);
  }

  // Resolves when each of these has arrived or was given up.
  send(items) {
    this.queue = [...items];
    return new Promise((resolve) => { this.finished = resolve; this.feed(); });
  }

  pause() {
    this.paused = true;
    this.uppy.pauseAll();
  }

  resume() {
    this.paused = false;
    this.heard = Date.now();
    this.uppy.resumeAll();
    this.feed();
  }

  // Try again now, and not after the pause that is running.
  nudge() {
    if (this.paused || !this.items.size) return;
    this.heard = Date.now();
    this.uppy.pauseAll();
    this.uppy.resumeAll();
  }

  feed() {
    if (this.paused || this.items.size > WINDOW / 2) return;
    if (!this.items.size && !this.queue.length) return this.finished?.();
    this.heard = Date.now();
    while (this.items.size < WINDOW && this.queue.length) this.add(this.queue.shift());
    this.uppy.upload().catch(() => {}); // each file's trouble is told at the file
  }

  add(item) {
    const { file, name } = item;
    try {
      const id = this.uppy.addFile({ name, type: file.type, data: file, meta: { mark: markOf(file) } });
      const small = file.size > 0 && file.size <= SMALL;
      this.uppy.setFileState(id, { tus: { uploadUrl: item.address ?? null, uploadDataDuringCreation: small, item } });
      this.items.set(id, item);
    } catch {
      this.queue.push(item); // its namesake but for capitals is under way: after it
    }
  }

  done(id, tell) {
    const item = this.items.get(id);
    if (!item) return;
    setTimeout(() => {
      this.uppy.removeFile(id);
      this.items.delete(id);
      tell(item);
      this.feed();
    });
  }

  passing(error, item) {
    const response = error.originalResponse;
    const status = response?.getStatus() ?? 0;
    const said = parsed(response?.getBody());
    const passing = status === 0 || [408, 423, 429].includes(status) || status >= 500 || (status === 409 && said?.code !== "wrong_state");
    if (passing) this.tell.broken(item, said?.message && status !== 409 ? said.message : "The line to the portal broke.");
    return passing;
  }

  failed(item, status, said) {
    if (said?.outcome) return this.tell.arrived(item, said);
    this.tell.refused(item, wordsOf(status, said), status);
  }
}

export const markOf = (file) => `${file.size}-${file.lastModified}`;

function answerOf(xhr) {
  return parsed(xhr.responseText) ?? { outcome: xhr.getResponseHeader("Winnow-Outcome") ?? "arrived", message: "" };
}

function wordsOf(status, said) {
  if (status === 0) return "The line to the portal broke.";
  if (status === 401) return "You were logged out. Log in in another tab, then send the failed ones again.";
  if (status === 413) return "The file is too big for this server.";
  return said?.message ?? `The portal refused (${status}). Reload the page.`;
}

function parsed(text) {
  try { return JSON.parse(text); } catch { return null; }
}
