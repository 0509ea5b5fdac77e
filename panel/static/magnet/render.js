/* Model output as DOM. Text becomes text nodes: there is no HTML, no image and no live link to inject. */

const INLINE = /(`[^`\n]+`)|(\*\*[^*\n]+\*\*)|(\*[^*\s][^*\n]*\*)|(!?\[[^\]\n]*\]\([^)\s]+\))|(\[\d{1,4}\])/g;

export function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "class") node.className = value;
    else if (name === "text") node.textContent = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

function inlineLink(text) {
  const [, image, label, target] = /^(!?)\[([^\]]*)\]\(([^)]+)\)$/.exec(text);
  if (image) return document.createTextNode(label || target);
  return element("span", { class: "inert-link", title: target }, label || target);
}

/** Appends one line of text; marker(n) makes the node of a citation marker. */
function inline(node, text, marker) {
  let at = 0;
  for (const match of text.matchAll(INLINE)) {
    node.append(text.slice(at, match.index));
    const [all, code, strong, emphasis, link, cited] = match;
    if (code) node.append(element("code", {}, code.slice(1, -1)));
    else if (strong) inline(node.appendChild(element("strong")), strong.slice(2, -2), marker);
    else if (emphasis) inline(node.appendChild(element("em")), emphasis.slice(1, -1), marker);
    else if (link) node.append(inlineLink(link));
    else if (cited) node.append(marker(Number(cited.slice(1, -1))));
    at = match.index + all.length;
  }
  node.append(text.slice(at));
  return node;
}

function listItem(line) {
  return /^\s*(?:([-*•])|(\d{1,3})[.)])\s+(.*)$/.exec(line);
}

function fence(lines, from) {
  const end = lines.findIndex((line, at) => at > from && line.startsWith("```"));
  const stop = end < 0 ? lines.length : end;
  return [element("pre", {}, element("code", {}, lines.slice(from + 1, stop).join("\n"))), stop + 1];
}

function list(lines, from, marker) {
  const ordered = listItem(lines[from])[2] !== undefined;
  const node = element(ordered ? "ol" : "ul", ordered ? { start: listItem(lines[from])[2] } : {});
  let at = from;
  for (; at < lines.length && listItem(lines[at]); at += 1) {
    node.append(inline(element("li"), listItem(lines[at])[3], marker));
  }
  return [node, at];
}

function paragraph(lines, from, marker) {
  let at = from;
  while (at < lines.length && lines[at].trim() && !lines[at].startsWith("```") && (at === from || !listItem(lines[at]))) at += 1;
  const heading = at === from + 1 ? /^#{1,6}\s+(.*)$/.exec(lines[from]) : null;
  const quoted = lines.slice(from, at).every((line) => line.startsWith(">"));
  const text = heading ? heading[1] : lines.slice(from, at).map((line) => line.replace(/^>\s?/, "")).join("\n");
  const node = element(heading ? "h3" : quoted ? "blockquote" : "p");
  text.split("\n").forEach((line, index) => {
    if (index) node.append(element("br"));
    inline(node, line, marker);
  });
  return [node, at];
}

/** Replaces the content of `container` by the text: paragraphs, headings, lists, quotes, code. */
export function renderText(container, text, marker) {
  const lines = text.replace(/\r\n?/g, "\n").split("\n");
  const blocks = document.createDocumentFragment();
  let at = 0;
  while (at < lines.length) {
    if (!lines[at].trim()) {
      at += 1;
      continue;
    }
    let block;
    if (lines[at].startsWith("```")) [block, at] = fence(lines, at);
    else if (listItem(lines[at])) [block, at] = list(lines, at, marker);
    else [block, at] = paragraph(lines, at, marker);
    blocks.append(block);
  }
  container.replaceChildren(blocks);
}

/** Appends `text` with the exact quote marked; returns the mark, or null when the quote does not stand in it. */
export function renderQuoted(container, text, quote) {
  container.replaceChildren();
  const at = quote ? text.indexOf(quote) : -1;
  if (at < 0) {
    container.append(text);
    return null;
  }
  const mark = element("mark", {}, quote);
  container.append(text.slice(0, at), mark, text.slice(at + quote.length));
  return mark;
}

/** A link for http and https only; everything else stays text. */
export function outerLink(url, label) {
  let parsed;
  try {
    parsed = new URL(url);
  } catch {
    return null;
  }
  if (!["http:", "https:"].includes(parsed.protocol)) return null;
  return element("a", { href: parsed.href, rel: "noopener noreferrer nofollow", target: "_blank" }, label);
}
