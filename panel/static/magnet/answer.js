/* One question and its answer on the page: streams in, cites, opens passages. Used by the panel and the admin. */

import { Problem, Run } from "./stream.js";
import { element, outerLink, renderQuoted, renderText } from "./render.js";

const ZERO_ID = "00000000-0000-0000-0000-000000000000";

/** The dialog that shows a passage with the quoted words marked. */
export class PassageDialog {
  constructor(dialog, { documentUrl = null } = {}) {
    this.dialog = dialog;
    this.documentUrl = documentUrl;
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  }

  part(name) {
    return this.dialog.querySelector(`[data-part="${name}"]`);
  }

  open({ passage, citation, marker }) {
    const found = { ...(passage || {}), ...(citation || {}) };
    const headings = (found.heading_path || []).join(" › ");
    const page = found.page ? `page ${found.page}` : "";
    this.part("title").textContent = found.title || "Passage";
    this.part("place").textContent = [`[${marker}]`, headings, page].filter(Boolean).join(" · ");
    const text = passage ? passage.text : "";
    const mark = renderQuoted(this.part("text"), text, citation ? citation.quote : "");
    if (!mark && citation && citation.quote) {
      this.part("text").prepend(element("blockquote", {}, element("mark", {}, citation.quote)));
    }
    this.part("state").textContent = this.state(citation);
    this.links(found);
    this.dialog.showModal();
    (mark || this.part("text")).scrollIntoView({ block: "center" });
  }

  state(citation) {
    if (!citation) return "The answer was given this passage and does not quote it.";
    const changed = { changed: " The document has changed since.", deleted: " The document has been deleted since." };
    const support = citation.verified
      ? "The marked words stand in the document and support the answer."
      : "The marked words stand in the document; check whether they say the same as the answer.";
    return support + (changed[citation.source_status] || "");
  }

  links(found) {
    const links = this.part("links");
    links.replaceChildren();
    const outer = found.url ? outerLink(found.url, "Open the original") : null;
    if (outer) links.append(outer);
    if (this.documentUrl && found.document_id) {
      const href = this.documentUrl.replace(ZERO_ID, found.document_id);
      links.append(element("a", { href }, "Show the document in the admin"));
    }
  }
}

/** An article with question, answer, sources. hooks.onRetrieval(data) and hooks.onEnd(answer) let a page show more. */
export class AnswerView {
  constructor({ question, dialog, hooks = {} }) {
    this.question = question;
    this.dialog = dialog;
    this.hooks = hooks;
    this.text = "";
    this.passages = new Map();
    this.citations = new Map();
    this.body = element("div", { class: "answer-text", "aria-live": "polite", "aria-busy": "true" });
    this.status = element("p", { class: "answer-status", role: "status" }, "Searching the sources…");
    this.sources = element("div", { class: "answer-sources", hidden: true });
    this.foot = element("p", { class: "answer-foot" });
    this.article = element(
      "article",
      { class: "answer is-running" },
      element("h2", { class: "answer-question" }, question),
      this.status,
      this.body,
      this.sources,
      this.foot,
    );
  }

  /** Follows the run to its end; resolves to the answer object, or null when there is none. */
  async run({ url, body, workspace, csrf }) {
    this.request = new Run({
      url,
      workspace,
      csrf,
      onEvent: (name, data) => this.take(name, data),
      onState: (state) => this.say(state === "reconnecting" ? "The connection dropped; trying again…" : "Answering…"),
    });
    try {
      await this.request.start(body);
    } catch (error) {
      this.fail(error);
    }
    this.article.classList.remove("is-running");
    this.body.setAttribute("aria-busy", "false");
    return this.answer || null;
  }

  stop() {
    this.say("Stopping…");
    return this.request.cancel();
  }

  say(text) {
    this.status.textContent = text;
    this.status.hidden = !text;
  }

  take(name, data) {
    const handlers = {
      "retrieval.completed": () => this.retrieved(data),
      "message.delta": () => this.delta(data.text),
      citation: () => this.citations.set(data.marker, data),
      "run.completed": () => this.completed(data.answer || data),
      "run.cancelled": () => this.cancelled(data.answer || data),
      "run.failed": () => this.fail(new Problem(data.problem || data, 0)),
    };
    if (handlers[name]) handlers[name]();
  }

  retrieved(data) {
    for (const passage of data.results || []) this.passages.set(passage.marker, passage);
    this.say(this.passages.size ? "Reading the passages…" : "Answering…");
    if (this.hooks.onRetrieval) this.hooks.onRetrieval(data);
  }

  delta(text) {
    if (!this.text) this.say("Answering…");
    this.text += text || "";
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = null;
      this.draw();
    });
  }

  draw() {
    renderText(this.body, this.text, (number) => this.marker(number));
  }

  marker(number) {
    if (!this.passages.has(number) && !this.citations.has(number)) return document.createTextNode(`[${number}]`);
    const title = (this.citations.get(number) || this.passages.get(number)).title;
    return element(
      "button",
      { type: "button", class: "marker", "aria-label": `Source ${number}: ${title}`, onclick: () => this.open(number) },
      String(number),
    );
  }

  open(number) {
    this.dialog.open({ marker: number, passage: this.passages.get(number), citation: this.citations.get(number) });
  }

  adopt(answer) {
    this.answer = answer;
    if (typeof answer.content === "string") this.text = answer.content;
    (answer.retrieved || []).forEach((passage, index) => {
      const number = passage.marker || index + 1;
      this.passages.set(number, { ...this.passages.get(number), ...passage });
    });
    for (const citation of answer.citations || []) this.citations.set(citation.marker, citation);
    if (this.frame) cancelAnimationFrame(this.frame);
    this.frame = null;
    this.draw();
  }

  completed(answer) {
    this.adopt(answer);
    this.say("");
    if (answer.resolution === "not_answered" || answer.resolution === "no_results") this.notInSources(answer);
    else this.showSources();
    if (answer.status === "incomplete") this.warn("The answer was cut off before its end. Ask again for a whole one.");
    if ((answer.degraded || []).includes("dense")) {
      this.warn("The search by meaning was down; the passages were found by their words alone.");
    }
    const loose = (answer.unsupported || []).length;
    if (loose && answer.resolution === "answered") {
      this.warn(loose === 1 ? "One sentence has no support in the sources." : `${loose} sentences have no support in the sources.`);
    }
    if (this.hooks.onEnd) this.hooks.onEnd(answer);
  }

  cancelled(answer) {
    this.adopt(answer);
    this.say("");
    this.warn(this.text ? "Stopped. This is as far as it came." : "Stopped before the answer began.");
    if (this.hooks.onEnd) this.hooks.onEnd(answer);
  }

  notInSources(answer) {
    this.article.classList.add("is-refusal");
    this.body.prepend(element("p", { class: "refusal-title" }, "Not in the sources"));
    const searched = this.passages.size;
    if (answer.resolution === "not_answered" && searched) {
      this.warn(`${searched} passages were read, and none holds the answer. Other words may find more.`);
    } else {
      this.warn("No passage was close enough to the question. Other words may find more.");
    }
  }

  showSources() {
    const cited = [...this.citations.keys()].sort((a, b) => a - b);
    if (!cited.length) return;
    const items = cited.map((number) => {
      const one = this.citations.get(number);
      const place = [...(one.heading_path || []).slice(-1), one.page ? `page ${one.page}` : ""].filter(Boolean).join(" · ");
      return element(
        "li",
        {},
        element(
          "button",
          { type: "button", class: "source", onclick: () => this.open(number) },
          element("span", { class: "source-number" }, String(number)),
          element("span", { class: "source-title" }, one.title),
          place ? element("span", { class: "source-place" }, place) : null,
        ),
      );
    });
    this.sources.replaceChildren(element("h3", {}, "Sources"), element("ul", {}, ...items));
    this.sources.hidden = false;
  }

  warn(text) {
    this.foot.append(element("span", {}, text), " ");
  }

  fail(error) {
    this.say("");
    if (error.name === "AbortError") {
      this.warn("Stopped before the answer began.");
      return;
    }
    const known = error instanceof Problem;
    const text = known ? error.message : "The server cannot be reached. Check your connection and ask again.";
    this.article.classList.add("is-failed");
    this.article.append(element("p", { class: "answer-error", role: "alert" }, text));
    if (known && error.body.request_id) {
      this.article.append(element("p", { class: "answer-foot" }, `Request ${error.body.request_id}`));
    }
    if (this.hooks.onFail) this.hooks.onFail(error);
  }
}
