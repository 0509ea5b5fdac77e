/* The form of a model: asks the chosen provider which models it offers, and fills in what is known of the one that is
   picked. Without this script the identifier is typed, and the server fills in what it knows. */

import { element } from "./render.js";
import { callJson } from "./stream.js";

const ZERO_ID = "00000000-0000-0000-0000-000000000000";
const CAPABILITIES = ["json_mode", "json_schema", "tool_calling", "vision", "reasoning", "streaming"];
const identifier = document.querySelector("[data-models-url]");

function tell(input) {
  for (const name of ["input", "change"]) input.dispatchEvent(new Event(name, { bubbles: true }));
}

class Picker {
  constructor(form) {
    this.form = form;
    this.isNew = form.elements.json_mode?.tagName === "SELECT";
    this.offered = new Map();
    this.named = "";
    this.button = element("button", { type: "button", class: "mg-button", onclick: () => this.list() }, "List models");
    this.select = element("select", { id: "offered-models", "aria-describedby": "offered-note" });
    this.label = element("label", { for: "offered-models", class: "mg-muted" }, "Models that it offers");
    this.row = element("span", { class: "mg-pick-choice" }, this.label, this.select);
    this.note = element("p", { id: "offered-note", class: "mg-muted", role: "status" });
    this.error = element("p", { class: "mg-why", role: "alert" });
    this.names = element("datalist", { id: "offered-names" });
    this.select.addEventListener("change", () => this.pick(this.select.value));
    identifier.addEventListener("change", () => this.fill(identifier.value));
    window.django?.jQuery(this.provider).on("change", () => this.clear());
    identifier.setAttribute("list", "offered-names");
    identifier.after(
      element("div", { class: "mg-pick" }, this.button, this.row, this.note, this.error, this.names),
    );
    this.clear();
  }

  get provider() {
    return this.form.elements.provider;
  }

  clear() {
    this.offered.clear();
    this.row.hidden = true;
    this.note.textContent = this.error.textContent = "";
    this.names.replaceChildren();
  }

  async list() {
    this.clear();
    if (!this.provider.value) {
      this.error.textContent = "Choose a provider first.";
      return;
    }
    const asked = this.provider.value;
    this.button.disabled = true;
    this.note.textContent = "Asking the provider…";
    try {
      const { results } = await callJson(identifier.dataset.modelsUrl.replace(ZERO_ID, asked), {
        method: "POST",
        workspace: identifier.dataset.workspace,
        csrf: this.form.elements.csrfmiddlewaretoken.value,
      });
      if (asked === this.provider.value) this.show(results);
    } catch (problem) {
      this.note.textContent = "";
      this.error.textContent = problem.body ? problem.message : "The server cannot be reached.";
    } finally {
      this.button.disabled = false;
    }
  }

  show(results) {
    this.offered = new Map(results.map((one) => [one.identifier, one]));
    this.note.textContent = results.length
      ? `It offers ${results.length} models. Choose one, or type an identifier.`
      : "It answers, and offers no model. Type the identifier.";
    this.row.hidden = !results.length;
    const kinds = [...this.form.elements.kind.options].filter((one) => one.value);
    const groups = [...kinds.map((one) => [one.value, one.text]), ["", "Others"]].map(([kind, text]) => {
      const options = results.filter((one) => one.kind === kind).map((one) => this.option(one));
      return options.length ? element("optgroup", { label: text }, ...options) : null;
    });
    this.select.replaceChildren(element("option", { value: "" }, "Choose a model…"), ...groups.filter(Boolean));
    this.select.value = this.offered.has(identifier.value) ? identifier.value : "";
    this.names.replaceChildren(...results.map((one) => element("option", { value: one.identifier }, one.title)));
    this.select.focus();
  }

  option({ identifier: value, title, model }) {
    const said = [title && title !== value ? title : "", model ? `here as ${model}` : ""].filter(Boolean).join(", ");
    return element("option", { value }, said ? `${value} (${said})` : value);
  }

  pick(value) {
    if (!value) return;
    identifier.value = value;
    tell(identifier);
  }

  /** What is known of a model goes into the form; what is not is left to the server, or as it is stored. */
  fill(value) {
    const one = this.offered.get(value);
    if (!one) return;
    this.select.value = value;
    if (one.kind) this.set("kind", one.kind);
    this.set("max_input_tokens", one.max_input_tokens);
    this.set("dimensions", one.dimensions);
    for (const name of CAPABILITIES) this.setAbility(name, one.capabilities[name]);
    const name = this.form.elements.name;
    if (this.isNew && (!name.value || name.value === this.named)) {
      this.named = name.value = one.title || value;
      tell(name);
    }
    this.note.textContent = this.told(one);
  }

  set(name, value) {
    const input = this.form.elements[name];
    if (value === null && !this.isNew) return;
    input.value = value ?? "";
    tell(input);
  }

  setAbility(name, able) {
    const input = this.form.elements[name];
    if (this.isNew) input.value = able === undefined ? "unknown" : String(able);
    else if (able !== undefined) input.checked = able;
  }

  told({ kind, max_input_tokens: limit, dimensions, capabilities, model }) {
    const able = CAPABILITIES.filter((name) => capabilities[name]).map((name) => name.replace("_", " "));
    const facts = [
      limit ? `reads ${limit.toLocaleString("en")} tokens` : "",
      dimensions ? `${dimensions} dimensions` : "",
      able.length ? `can: ${able.join(", ")}` : "",
    ].filter(Boolean);
    const known = facts.length ? `Filled in: ${facts.join("; ")}.` : "The provider says no more of it.";
    const here = model ? ` It is here already, as “${model}”.` : "";
    const odd = kind ? "" : " Its kind is not known: it may be none that can be used here.";
    return known + here + odd;
  }
}

if (identifier && !identifier.readOnly) {
  const picker = new Picker(identifier.form);
  const asked = new URLSearchParams(location.search);
  if (asked.has("provider") && picker.provider.value && !identifier.value) picker.list();
}
