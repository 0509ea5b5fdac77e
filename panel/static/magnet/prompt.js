/* The admin's page to run a prompt template: its variables, what the model is sent, one or two variants side by side. */

import { element, renderText } from "./render.js";
import { Problem, Run } from "./stream.js";

const ZERO_ID = "00000000-0000-0000-0000-000000000000";
const PLACEHOLDER = /\{\{\s*([a-z][a-z0-9_]*)\s*\}\}/g;
const root = document.querySelector("#prompt");

function fact(label, value) {
  return element("li", {}, `${label} `, element("b", {}, value));
}

function time(value) {
  return value < 1000 ? `${Math.round(value)} ms` : `${(value / 1000).toFixed(1)} s`;
}

/** The input of a variable: its element, and what it says as a value of the variable's type. */
class VariableField {
  constructor({ name, type = "text", required = true, default: preset = null, sample = null, description = "" }) {
    this.name = name;
    this.type = type;
    const id = `variable-${name}`;
    const given = sample ?? preset;
    const initial = given === null ? "" : typeof given === "string" ? given : JSON.stringify(given);
    this.input = this.control(id, initial, required && preset === null);
    const hint = [type === "text" ? "" : type, required ? "" : "optional", description].filter(Boolean).join(" · ");
    this.node = element(
      "div",
      { class: "mg-field" },
      element("label", { for: id }, name, hint ? element("span", { class: "mg-muted" }, ` ${hint}`) : null),
      this.input,
    );
  }

  control(id, initial, required) {
    if (this.type === "boolean") {
      const input = element("input", { id, type: "checkbox" });
      input.checked = initial === "true";
      return input;
    }
    if (this.type === "number") return element("input", { id, type: "number", step: "any", value: initial, required });
    const input = element("textarea", { id, rows: 1, required, maxlength: 100000 });
    input.value = initial;
    return input;
  }

  /** undefined: nothing is said, so that the default holds. Throws for JSON that is none. */
  value() {
    if (this.type === "boolean") return this.input.checked;
    const text = this.input.value;
    if (text.trim() === "") return undefined;
    if (this.type === "text") return text;
    try {
      return JSON.parse(text);
    } catch {
      throw new Problem({ detail: `${this.name} must be JSON, such as ${this.type === "list" ? '["a", "b"]' : "{}"}.` }, 0);
    }
  }

  /** As the server writes it into the messages. */
  text() {
    const value = this.value();
    return value === undefined ? "" : typeof value === "string" ? value : JSON.stringify(value);
  }
}

/** One variant's answer: streams in, then says what it took. */
class Column {
  constructor(variant) {
    this.content = "";
    this.status = element("span", { class: "mg-muted" }, "…");
    this.body = element("div", { class: "mg-prose" });
    this.facts = element("ul", { class: "mg-timings" });
    this.node = element(
      "section",
      { class: "mg-section" },
      element("h2", {}, `Variant ${variant} `, this.status),
      this.body,
      this.facts,
    );
    this.begun = performance.now();
    this.first = null;
  }

  onEvent(name, data) {
    if (name === "message.delta") {
      if (this.first === null) this.first = performance.now() - this.begun;
      this.content += data.text;
      renderText(this.body, this.content, (marker) => document.createTextNode(`[${marker}]`));
    } else if (name === "run.failed") {
      this.fail(data.problem.detail || data.problem.title, data.answer);
    } else if (data.answer) {
      this.end(data.answer);
    }
  }

  end(answer) {
    if (answer.output !== null && answer.output !== undefined) {
      const text = JSON.stringify(answer.output, null, 2);
      this.body.replaceChildren(element("pre", {}, element("code", {}, text)));
    }
    const repaired = answer.repaired ? " · asked again, as the first answer did not fit" : "";
    this.status.textContent = (answer.status === "completed" ? "" : `${answer.status}: ${answer.finish_reason}`) + repaired;
    this.tell(answer);
  }

  tell({ usage = null, model = "", duration_ms: took = null, trace_id: trace = null }) {
    const items = [];
    if (this.first !== null) items.push(fact("first words", time(this.first)));
    if (took !== null) items.push(fact("in all", time(took)));
    if (model) items.push(fact("model", model));
    if (usage) {
      items.push(fact("tokens", `${usage.estimated ? "≈ " : ""}${usage.input_tokens} in, ${usage.output_tokens} out`));
      if (usage.cost) items.push(fact("cost", `${usage.cost} ${usage.currency}`));
    }
    if (trace) {
      const href = root.dataset.traceUrl.replace(ZERO_ID, trace);
      items.push(element("li", {}, element("a", { href }, "Trace: every step over time")));
    }
    this.facts.replaceChildren(...items);
  }

  fail(text, answer = null) {
    this.status.textContent = "failed";
    this.body.append(element("p", { class: "mg-note mg-is-bad", role: "alert" }, text));
    if (answer) this.tell(answer);
  }
}

class PromptPage {
  constructor(variants) {
    this.variants = variants;
    this.form = root.querySelector("form");
    this.runs = [];
    this.fields = new Map();
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.run();
    });
    this.form.addEventListener("input", () => this.preview());
    this.form.addEventListener("change", (event) => event.target.tagName === "SELECT" && this.choose());
    this.part("stop").addEventListener("click", () => this.runs.forEach((run) => run.cancel()));
    this.choose();
  }

  part(name) {
    return root.querySelector(`[data-${name}]`);
  }

  /** The numbers of the chosen variants, each once. */
  chosen() {
    const { variant, other } = this.form.elements;
    return [...new Set([variant.value, other ? other.value : ""])].filter(Boolean);
  }

  choose() {
    const specs = new Map(this.chosen().flatMap((n) => this.variants[n].variables).map((one) => [one.name, one]));
    const kept = new Map();
    for (const [name, spec] of specs) {
      const old = this.fields.get(name);
      kept.set(name, old && old.type === (spec.type || "text") ? old : new VariableField(spec));
    }
    this.fields = kept;
    this.part("fields").replaceChildren(...[...kept.values()].map((field) => field.node));
    this.preview();
  }

  /** What the server will send: placeholders are replaced once, and never evaluated. */
  preview() {
    const shown = this.chosen().map((n) => {
      const { messages, examples } = this.variants[n];
      const turns = examples.flatMap(({ input, output }) => [
        { role: "user", content: input, plain: true },
        { role: "assistant", content: output, plain: true },
      ]);
      const at = messages.findIndex(({ role }) => role !== "system");
      const all = at < 0 ? [...messages, ...turns] : [...messages.slice(0, at), ...turns, ...messages.slice(at)];
      return element("div", { class: "mg-messages" }, ...all.map((one) => this.message(one)));
    });
    this.part("preview").replaceChildren(...shown);
  }

  message({ role, content, plain = false }) {
    const body = element("div", { class: "mg-pre" });
    let at = 0;
    for (const found of plain ? [] : content.matchAll(PLACEHOLDER)) {
      body.append(content.slice(at, found.index), element("mark", {}, this.textOf(found[1]) || found[0]));
      at = found.index + found[0].length;
    }
    body.append(content.slice(at));
    return element("div", { class: "mg-message" }, element("b", { class: "mg-muted" }, role), body);
  }

  textOf(name) {
    try {
      return this.fields.get(name)?.text() || "";
    } catch {
      return "";
    }
  }

  values(n) {
    const found = this.variants[n].variables.map(({ name }) => [name, this.fields.get(name).value()]);
    return Object.fromEntries(found.filter(([, value]) => value !== undefined));
  }

  async run() {
    if (this.runs.length) return;
    const columns = this.chosen().map((n) => [n, new Column(n)]);
    this.part("answers").replaceChildren(...columns.map(([, column]) => column.node));
    this.part("preview-box").open = false;
    this.part("send").hidden = true;
    this.part("stop").hidden = false;
    await Promise.all(columns.map(([n, column]) => this.one(n, column)));
    this.runs = [];
    this.part("send").hidden = false;
    this.part("stop").hidden = true;
  }

  async one(n, column) {
    const { url, workspace, csrf } = root.dataset;
    const run = new Run({ url, workspace, csrf, onEvent: (name, data) => column.onEvent(name, data) });
    this.runs.push(run);
    try {
      await run.start({ variables: this.values(n), variant: Number(n) });
    } catch (error) {
      const parts = error instanceof Problem ? (error.body.errors || []).map((one) => `${one.pointer}: ${one.detail}`) : [];
      column.fail(error instanceof Problem ? [error.message, ...parts].join(" ") : "The server cannot be reached. Try again.");
    }
  }
}

if (root) new PromptPage(JSON.parse(document.querySelector("#prompt-variants").textContent));
