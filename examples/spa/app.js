/* A page on an origin of its own: signs in with a session, streams an answer, signs out. No library, no build step. */

const MAGNET = document.querySelector('meta[name="magnet"]').content.replace(/\/$/, "");
const TERMINAL = new Set(["run.completed", "run.failed", "run.cancelled"]);
const find = (id) => document.getElementById(id);

let session = null; // {user, workspaces, csrf_token}
let csrf = "";
let running = null; // the id of the run that streams

/** A request with the session's cookie. Unsafe methods carry the CSRF token in a header, which forms cannot forge. */
async function call(path, { method = "GET", body, accept = "application/json" } = {}) {
  const headers = { Accept: accept };
  if (session?.workspaces.length) headers["X-Workspace"] = session.workspaces[0].slug;
  if (body) headers["Content-Type"] = "application/json";
  if (method !== "GET") headers["X-CSRFToken"] = csrf;
  const response = await fetch(`${MAGNET}/api/v1/${path}`, {
    method,
    headers,
    credentials: "include",
    body: body && JSON.stringify(body),
  });
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  if (problem.csrf_token) csrf = problem.csrf_token; // a visitor gets the token for signing in with the 401
  throw Object.assign(new Error(problem.detail ?? `Magnet answered with ${response.status}.`), {
    status: response.status,
  });
}

/** Server-sent events over fetch, which unlike EventSource can POST and send headers. */
async function* eventsOf(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const frames = (rest + value).split("\n\n");
    rest = frames.pop();
    for (const frame of frames) {
      const name = /^event: (.*)$/m.exec(frame)?.[1];
      const data = frame.split("\n").filter((line) => line.startsWith("data: ")).map((line) => line.slice(6));
      if (name) yield [name, JSON.parse(data.join("\n"))];
    }
  }
}

async function ask(question) {
  find("asked").textContent = question;
  find("text").textContent = "";
  find("sources").replaceChildren();
  find("answer").hidden = false;
  const response = await call(`rag-tools/${find("tool").value}/query`, {
    method: "POST",
    body: { question, stream: true },
    accept: "text/event-stream",
  });
  let ended = false;
  for await (const [name, data] of eventsOf(response)) {
    running = data.run_id;
    ended ||= TERMINAL.has(name);
    if (name === "message.delta") find("text").append(data.text);
    if (name === "run.failed") throw new Error(data.problem.detail);
    if (name === "run.completed" || name === "run.cancelled") show(data.answer);
  }
  if (!ended) throw new Error("The connection was lost before the answer ended. Ask again.");
}

/** The whole answer. Everything that comes from a model or a document goes into text nodes, never into HTML. */
function show({ content, citations = [] }) {
  const words = content || "The sources say nothing about this.";
  const cited = new Map(citations.map((one) => [one.marker, one]));
  const parts = words.split(/\[(\d+)\]/).map((part, index) => {
    if (index % 2 === 0) return part;
    const link = Object.assign(document.createElement("a"), { href: `#source-${part}`, textContent: `[${part}]` });
    return cited.has(Number(part)) ? link : `[${part}]`;
  });
  find("text").replaceChildren(...parts);
  find("sources").replaceChildren(
    ...[...cited.values()].map((one) => {
      const item = Object.assign(document.createElement("li"), { id: `source-${one.marker}`, value: one.marker });
      const quote = Object.assign(document.createElement("q"), { textContent: one.quote });
      item.append(one.page ? `${one.title}, page ${one.page}` : one.title, quote);
      return item;
    }),
  );
}

/** Show what fits the session: the sign-in form, or the tools that this person may ask. */
async function render() {
  find("sign-in").hidden = Boolean(session);
  find("who").hidden = find("ask").hidden = !session;
  if (!session) {
    find("answer").hidden = true;
    find("login-email").focus();
    return;
  }
  find("email").textContent = session.user.email;
  const { results } = await (await call("rag-tools/?limit=200")).json();
  find("tool").replaceChildren(...results.map((tool) => new Option(tool.name, tool.slug)));
  find("question").focus();
}

async function load(request) {
  session = await (await request).json();
  csrf = session.csrf_token; // it changes at each login
}

async function start() {
  try {
    await load(call("session/"));
  } catch (error) {
    if (error.status !== 401) throw error;
  }
  await render();
}

/** Run what a person asked for; say what went wrong in words. */
async function attempt(work) {
  find("problem").hidden = true;
  try {
    await work();
  } catch (error) {
    const offline = `Magnet does not answer at ${MAGNET}, or its CORS_ALLOWED_ORIGINS does not list ${location.origin}.`;
    find("problem").textContent = error instanceof TypeError ? offline : error.message;
    find("problem").hidden = false;
    if (error.status === 401 && session) {
      session = null;
      await start();
    }
  }
}

find("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  const form = event.target;
  attempt(async () => {
    await load(call("session/", { method: "POST", body: Object.fromEntries(new FormData(form)) }));
    form.reset();
    await render();
  });
});

find("ask").addEventListener("submit", async (event) => {
  event.preventDefault();
  find("send").disabled = true;
  find("stop").hidden = false;
  find("answer").setAttribute("aria-busy", "true");
  await attempt(() => ask(find("question").value));
  running = null;
  find("send").disabled = false;
  find("stop").hidden = true;
  find("answer").setAttribute("aria-busy", "false");
});

find("stop").addEventListener("click", () => {
  if (running) attempt(() => call(`runs/${running}/cancel`, { method: "POST" }));
});

find("sign-out").addEventListener("click", () =>
  attempt(async () => {
    await call("session/", { method: "DELETE" });
    session = null;
    await start();
  }),
);

attempt(start);
