/* The place to drop files on: each is sent on its own, with its progress and its own error. */

import { element } from "./render.js";

const PARALLEL = 3;
const REFRESH_AFTER_MS = 900;

class Upload {
  constructor(zone, file) {
    Object.assign(this, { zone, file });
    this.bar = element("progress", { class: "mg-bar", max: "100", value: "0", "aria-label": file.name });
    this.state = element("span", { class: "mg-muted mg-small" }, "waiting");
    this.row = element("li", {}, element("span", {}, file.name), this.state, this.bar);
  }

  send() {
    return new Promise((done) => {
      const body = new FormData();
      body.append("file", this.file, this.file.name);
      const request = new XMLHttpRequest();
      request.open("POST", this.zone.dataset.upload);
      request.setRequestHeader("X-CSRFToken", this.zone.dataset.csrf);
      request.setRequestHeader("X-Workspace", this.zone.dataset.workspace);
      request.setRequestHeader("Accept", "application/json");
      request.upload.addEventListener("progress", (event) => this.progress(event));
      request.addEventListener("load", () => done(this.answered(request)));
      request.addEventListener("error", () => done(this.fail("The connection was lost.")));
      request.send(body);
    });
  }

  progress(event) {
    if (!event.lengthComputable) return;
    this.bar.value = (event.loaded / event.total) * 100;
    this.state.textContent = event.loaded < event.total ? "sending" : "checking";
  }

  answered(request) {
    if (request.status >= 200 && request.status < 300) {
      this.state.textContent = "received";
      this.bar.remove();
      return true;
    }
    let problem = {};
    try {
      problem = JSON.parse(request.responseText);
    } catch {
      // A proxy's own error page: the status has to do.
    }
    return this.fail(problem.detail || `The server refused it (${request.status}).`);
  }

  fail(text) {
    this.bar.remove();
    this.state.textContent = "not taken";
    this.row.append(element("span", { class: "mg-file-error", role: "alert" }, text));
    return false;
  }
}

/** Unfold expects a text box beside every file input and fails without one, so this input says that it is served. */
function fileInput(zone) {
  const input = element("input", { type: "file", id: "upload-files", multiple: true, class: "visually-hidden" });
  input.hasChangeListener = true;
  zone.querySelector("label").before(input);
  return input;
}

function setUp(zone) {
  const list = zone.querySelector(".mg-files");
  const input = fileInput(zone);
  const queue = [];
  let running = 0;
  let taken = 0;

  async function next() {
    if (running >= PARALLEL || !queue.length) return;
    const upload = queue.shift();
    running += 1;
    if (await upload.send()) taken += 1;
    running -= 1;
    if (!queue.length && !running && taken) {
      taken = 0;
      setTimeout(showFresh, REFRESH_AFTER_MS);
    }
    next();
  }

  function add(files) {
    for (const file of files) {
      const upload = new Upload(zone, file);
      list.append(upload.row);
      queue.push(upload);
    }
    for (let n = 0; n < PARALLEL; n += 1) next();
  }

  input.addEventListener("change", () => {
    add([...input.files]);
    input.value = "";
  });
  for (const name of ["dragenter", "dragover"]) {
    zone.addEventListener(name, (event) => {
      event.preventDefault();
      zone.classList.add("is-over");
    });
  }
  zone.addEventListener("dragleave", (event) => {
    if (!zone.contains(event.relatedTarget)) zone.classList.remove("is-over");
  });
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    zone.classList.remove("is-over");
    add([...event.dataTransfer.files].filter((file) => file.size || file.type));
  });
}

/** Marks the list as live and lets admin.js fetch it. */
function showFresh() {
  for (const id of ["documents-live", "documents-count"]) document.getElementById(id)?.setAttribute("data-live", "on");
  dispatchEvent(new Event("magnet:refresh"));
}

document.querySelectorAll("[data-upload]").forEach(setUp);
