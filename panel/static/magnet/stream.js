/* A run as a stream of events: server-sent events over fetch, resumed where the connection dropped. */

const TERMINAL = new Set(["run.completed", "run.failed", "run.cancelled"]);
const RESUME_DELAYS_MS = [300, 1000, 2000, 4000, 8000];

export class Problem extends Error {
  /** An answer of the API that says what is wrong (RFC 9457). */
  constructor(body, status) {
    super(body.detail || body.title || `The server answered with ${status}.`);
    this.body = body;
    this.status = status;
  }
}

/** Splits a byte stream into events. Handles CR, LF and CRLF, and a chunk that ends anywhere. */
export class EventParser {
  constructor(onEvent) {
    this.onEvent = onEvent;
    this.decoder = new TextDecoder();
    this.rest = "";
    this.reset();
  }

  reset() {
    this.event = { id: null, name: "message", data: [] };
  }

  feed(bytes) {
    this.rest += this.decoder.decode(bytes, { stream: true });
    const held = this.rest.endsWith("\r") ? "\r" : "";
    const lines = this.rest.slice(0, this.rest.length - held.length).split(/\r\n|\r|\n/);
    this.rest = lines.pop() + held;
    for (const line of lines) this.line(line);
  }

  line(line) {
    if (line === "") {
      if (this.event.data.length) this.onEvent({ ...this.event, data: this.event.data.join("\n") });
      this.reset();
      return;
    }
    if (line.startsWith(":")) return;
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "id") this.event.id = value;
    else if (field === "event") this.event.name = value;
    else if (field === "data") this.event.data.push(value);
  }
}

async function problemOf(response) {
  try {
    return new Problem(await response.json(), response.status);
  } catch {
    return new Problem({}, response.status);
  }
}

export class Run {
  /** headers: {workspace, csrf}. onEvent(name, data) is called for each event in order, once. */
  constructor({ url, workspace, csrf, onEvent, onState = () => {} }) {
    Object.assign(this, { url, workspace, csrf, onEvent, onState });
    this.id = null;
    this.lastId = null;
    this.ended = false;
    this.aborter = new AbortController();
  }

  headers(extra) {
    const headers = { Accept: "text/event-stream", ...extra };
    if (this.workspace) headers["X-Workspace"] = this.workspace;
    return headers;
  }

  /** Sends the question and follows the run to its terminal event. Throws a Problem, or a TypeError without network. */
  async start(body) {
    const response = await fetch(this.url, {
      method: "POST",
      credentials: "same-origin",
      headers: this.headers({ "Content-Type": "application/json", "X-CSRFToken": this.csrf }),
      body: JSON.stringify({ ...body, stream: true }),
      signal: this.aborter.signal,
    });
    if (!response.ok) throw await problemOf(response);
    await this.read(response);
    await this.resume();
  }

  async resume() {
    for (const delay of RESUME_DELAYS_MS) {
      if (this.ended || this.aborter.signal.aborted) return;
      if (!this.id) break;
      this.onState("reconnecting");
      await new Promise((done) => setTimeout(done, delay));
      await this.reconnect();
    }
    if (!this.ended) throw new Problem({ detail: "The connection was lost before the answer ended. Ask again." }, 0);
  }

  async reconnect() {
    try {
      const response = await fetch(`/api/v1/runs/${this.id}/events`, {
        credentials: "same-origin",
        headers: this.headers(this.lastId === null ? {} : { "Last-Event-ID": this.lastId }),
        signal: this.aborter.signal,
      });
      if (!response.ok) throw await problemOf(response);
      this.onState("connected");
      await this.read(response);
    } catch (error) {
      if (error instanceof Problem && error.status < 500) throw error;
    }
  }

  async read(response) {
    const parser = new EventParser((event) => this.take(event));
    const reader = response.body.getReader();
    try {
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return;
        parser.feed(value);
      }
    } catch (error) {
      if (this.aborter.signal.aborted) throw error;
    }
  }

  take({ id, name, data }) {
    if (this.ended || (id !== null && this.lastId !== null && Number(id) <= Number(this.lastId))) return;
    if (id !== null) this.lastId = id;
    const body = JSON.parse(data);
    if (body.run_id) this.id = body.run_id;
    if (TERMINAL.has(name)) this.ended = true;
    this.onEvent(name, body);
  }

  /** Asks the server to stop. The stream then ends with run.cancelled, its text kept. */
  async cancel() {
    if (!this.id) {
      this.aborter.abort();
      return;
    }
    await fetch(`/api/v1/runs/${this.id}/cancel`, {
      method: "POST",
      credentials: "same-origin",
      headers: { ...this.headers({}), Accept: "application/json", "X-CSRFToken": this.csrf },
    });
  }
}

/** GET or POST of JSON with the session. Throws a Problem. */
export async function callJson(url, { method = "GET", body, workspace, csrf } = {}) {
  const headers = { Accept: "application/json" };
  if (workspace) headers["X-Workspace"] = workspace;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (method !== "GET") headers["X-CSRFToken"] = csrf;
  const response = await fetch(url, {
    method,
    credentials: "same-origin",
    headers,
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (!response.ok) throw await problemOf(response);
  return response.status === 204 ? null : response.json();
}
