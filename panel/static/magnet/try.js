/* The admin's pages to ask a RAG tool and to search a retrieval tool: the answer, its passages, times and usage. */

import { AnswerView, PassageDialog } from "./answer.js";
import { element } from "./render.js";
import { callJson, Problem } from "./stream.js";

const ZERO_ID = "00000000-0000-0000-0000-000000000000";
const TIMES = {
  embed_ms: "embedding", search_ms: "search", rerank_ms: "rerank", total_ms: "retrieval", first_token_ms: "first words",
};
const DOWN = {
  dense: "The search by meaning was down: found by words alone.",
  rerank: "The rerank model was down: the passages stand in the order of the search.",
};
const root = document.querySelector("#try");

function score(value) {
  return value === null || value === undefined ? "—" : Number(value).toFixed(3);
}

function rank(place, value) {
  return place ? `#${place} (${score(value)})` : "—";
}

function passageTable(passages, open) {
  const heads = ["#", "Passage", "Score", "By meaning", "By words", "Rerank"].map((text) => element("th", {}, text));
  const rows = passages.map((one, index) => {
    const place = [...(one.heading_path || []).slice(-1), one.page ? `page ${one.page}` : ""].filter(Boolean).join(" · ");
    return element(
      "tr",
      {},
      element("td", { class: "mg-number" }, String(one.marker || index + 1)),
      element(
        "td",
        { class: "mg-passage-cell" },
        element("button", { type: "button", onclick: () => open(one, index) }, one.title),
        place ? ` · ${place}` : "",
        element("span", { class: "mg-clip" }, one.text),
      ),
      element("td", { class: "mg-number" }, score(one.score)),
      element("td", { class: "mg-number" }, rank(one.dense_rank, one.dense_score)),
      element("td", { class: "mg-number" }, rank(one.lexical_rank, one.lexical_score)),
      element("td", { class: "mg-number" }, score(one.rerank_score)),
    );
  });
  return element(
    "div",
    { class: "mg-scroll" },
    element("table", { class: "mg-table" }, element("thead", {}, element("tr", {}, ...heads)), element("tbody", {}, ...rows)),
  );
}

function fact(label, value) {
  return element("li", {}, `${label} `, element("b", {}, value));
}

function milliseconds(value) {
  return value < 1000 ? `${Math.round(value)} ms` : `${(value / 1000).toFixed(1)} s`;
}

function facts({ timings = {}, usage = null, model = "", variant = null, duration_ms: took = null, trace_id: trace = null }) {
  const items = Object.entries(timings).map(([name, value]) => fact(TIMES[name] || name, milliseconds(value)));
  if (took !== null) items.push(fact("in all", milliseconds(took)));
  if (model) items.push(fact("model", model));
  if (variant) items.push(fact("variant", String(variant)));
  if (usage) {
    const sign = usage.estimated ? "≈ " : "";
    items.push(fact("tokens", `${sign}${usage.input_tokens} in, ${usage.output_tokens} out`));
    if (usage.cost) items.push(fact("cost", `${usage.cost} ${usage.currency}`));
  }
  if (trace) {
    const href = root.dataset.traceUrl.replace(ZERO_ID, trace);
    items.push(element("li", {}, element("a", { href }, "Trace: every step over time")));
  }
  return element("ul", { class: "mg-timings" }, ...items);
}

function setUpAsk(form, answers, dialog) {
  const send = form.querySelector("[data-send]");
  const stop = form.querySelector("[data-stop]");
  const note = root.querySelector("[data-extractive-note]");
  let current = null;

  function showNote() {
    note.hidden = form.elements.variant.selectedOptions[0]?.dataset.extractive === undefined;
  }

  async function ask(question) {
    if (current || !question) return;
    const detail = element("section", { class: "mg-section" });
    detail.hidden = true;
    const view = new AnswerView({
      question,
      dialog,
      hooks: {
        onRetrieval: (data) => {
          const open = (one) => view.open(one.marker);
          detail.replaceChildren(element("h2", {}, "Passages"), facts(data), passageTable(data.results || [], open));
          detail.hidden = false;
        },
        onEnd: (answer) => detail.querySelector(".mg-timings")?.replaceWith(facts(answer)),
      },
    });
    current = view;
    answers.prepend(view.article, detail);
    send.hidden = true;
    stop.hidden = stop.disabled = false;
    await view.run({
      url: root.dataset.url,
      body: { question, variant: Number(form.elements.variant.value) },
      workspace: root.dataset.workspace,
      csrf: root.dataset.csrf,
    });
    current = null;
    send.hidden = false;
    stop.hidden = true;
  }

  stop.addEventListener("click", () => {
    stop.disabled = true;
    current?.stop();
  });
  form.elements.variant.addEventListener("change", showNote);
  for (const sample of root.querySelectorAll("[data-question]")) {
    sample.addEventListener("click", () => ask(sample.dataset.question));
  }
  showNote();
  return ask;
}

function setUpSearch(form, answers, dialog) {
  const send = form.querySelector("[data-send]");
  return async function search(query) {
    if (!query) return;
    send.disabled = true;
    try {
      const found = await callJson(root.dataset.url, {
        method: "POST",
        body: { query, variant: Number(form.elements.variant.value) },
        workspace: root.dataset.workspace,
        csrf: root.dataset.csrf,
      });
      const open = (one, index) => dialog.open({ marker: index + 1, passage: one, citation: null });
      const degraded = (found.degraded || []).map((part) => element("p", { class: "mg-note mg-is-warn" }, DOWN[part] || part));
      const body = found.results.length
        ? passageTable(found.results, open)
        : element("p", { class: "mg-muted" }, "No passage passed the threshold of this variant.");
      answers.replaceChildren(
        element("section", { class: "mg-section" }, element("h2", {}, query), ...degraded, facts(found), body),
      );
    } catch (error) {
      const text = error instanceof Problem ? error.message : "The server cannot be reached. Try again.";
      answers.replaceChildren(element("p", { class: "mg-note mg-is-bad", role: "alert" }, text));
    }
    send.disabled = false;
  };
}

if (root) {
  const form = root.querySelector("form");
  const answers = root.querySelector("[data-answers]");
  const dialog = new PassageDialog(document.querySelector("#passage"), { documentUrl: root.dataset.documentUrl });
  const act = (root.dataset.kind === "ask" ? setUpAsk : setUpSearch)(form, answers, dialog);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    act(form.elements.question.value.trim());
  });
  form.elements.question.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    form.requestSubmit();
  });
  form.elements.question.focus({ preventScroll: true });
}
