// One trace: its waterfall, each span to be opened, and the traces that it links to and that link to it.

import { chip, clock, count, element, hue, milliseconds } from "./dom.js";
import { table } from "./list.js";
import { details } from "./span.js";

const TICKS = 5;

export function trace(told) {
  document.title = `${told.name} · Reelmesh`;
  const end = Math.max(...told.spans.map((span) => span.end_unix_ns));
  const length_ms = Math.max((end - told.start_unix_ns) / 1e6, 0.001);
  const view = { begin: told.start_unix_ns, length_ms, rounds: new Set(told.round_ids) };
  const rows = ordered(told.spans).map(([depth, span]) => row(span, depth, view));
  return element(
    "article",
    {},
    heading(told, length_ms),
    toolbar(rows),
    element("section", { className: "waterfall", "aria-label": "Spans" }, axis(view.length_ms), ...rows),
    linked(told.links_to, told.linked_from),
  );
}

// The span that the address names, opened and in sight; also after a link within the page.
export function openNamed() {
  const named = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!named?.matches("details.span")) return;
  named.open = true;
  named.scrollIntoView({ block: "center" });
  named.querySelector("summary").focus();
}
addEventListener("hashchange", openNamed);

function heading(told, length_ms) {
  const rounds = told.round_ids.slice(0, 3).map((id) =>
    element("span", {}, "round ", element("a", { className: "id", href: `?round_id=${encodeURIComponent(id)}` }, id)),
  );
  const more = told.round_ids.length > rounds.length ? [element("span", {}, `and ${told.round_ids.length - rounds.length} more`)] : [];
  const errors = told.error_count ? element("b", { className: "bad" }, count(told.error_count, "error")) : "no error";
  return element(
    "div",
    { className: "heading" },
    element("h1", {}, told.name),
    element("p", { className: "chips" }, ...told.services.map(chip)),
    element(
      "p",
      { className: "facts" },
      element("span", {}, clock(told.start_unix_ns)),
      element("span", {}, milliseconds(told.duration_ms)),
      // What goes on after the answer.
      length_ms > 1.01 * told.duration_ms ? element("span", {}, `${milliseconds(length_ms)} with what came after`) : null,
      element("span", {}, count(told.span_count, "span")),
      element("span", {}, errors),
      element("span", {}, "trace ", element("span", { className: "id" }, told.trace_id)),
      ...rounds,
      ...more,
    ),
  );
}

function toolbar(rows) {
  const all = (open) => () => rows.forEach((each) => { each.open = open; });
  return element(
    "p",
    { className: "toolbar" },
    element("button", { type: "button", onclick: all(true) }, "Open all"),
    element("button", { type: "button", onclick: all(false) }, "Close all"),
    element("span", {}, "→ counts the links of a span, ← those that lead to it; open the span to follow them"),
  );
}

function axis(length_ms) {
  const ticks = Array.from({ length: TICKS }, (_, at) => {
    const tick = element("span", {}, milliseconds((length_ms * at) / (TICKS - 1)));
    tick.style.left = `${(100 * at) / (TICKS - 1)}%`;
    return tick;
  });
  return element(
    "div",
    { className: "axis", "aria-hidden": "true" },
    element("span", {}, "Span"),
    element("span", { className: "track" }, ...ticks),
    element("span", { className: "took" }, "Took"),
  );
}

function row(span, depth, view) {
  const began_ms = (span.start_unix_ns - view.begin) / 1e6;
  const took_ms = (span.end_unix_ns - span.start_unix_ns) / 1e6;
  const bar = element("span", { className: `bar ${hue(span.service)}` });
  bar.style.left = `${Math.min(99.5, (100 * began_ms) / view.length_ms)}%`;
  bar.style.width = `${Math.max(0.4, (100 * took_ms) / view.length_ms)}%`;
  const name = element("span", { className: "name" }, chip(span.service), element("span", { className: "text" }, span.name));
  name.style.paddingInlineStart = `${Math.min(depth, 12) * 1.1}rem`;
  if (span.status === "ERROR") name.append(element("b", { className: "bad" }, "error"));
  name.append(badge("→", span.links, "links to"), badge("←", span.linked_from, "linked from"));
  return element(
    "details",
    { className: `span ${span.status === "ERROR" ? "error" : ""}`, id: `span-${span.span_id}` },
    element("summary", {}, name, element("span", { className: "track" }, bar), element("span", { className: "took" }, milliseconds(took_ms))),
    details(span, began_ms, view.rounds),
  );
}

function badge(arrow, ends, words) {
  if (ends.length === 0) return "";
  const label = `${words} ${count(ends.length, "span")}`;
  return element("span", { className: "badge", title: label }, element("span", { "aria-hidden": "true" }, `${arrow}${ends.length}`), element("span", { className: "unseen" }, label));
}

// Both directions in one table: a batch and its items name each other, a relay alone names the calls behind its events.
function linked(out, inward) {
  const traces = new Map([...out, ...inward].map((one) => [one.trace_id, one]));
  if (traces.size === 0) return null;
  const [to, from] = [out, inward].map((ones) => new Set(ones.map((one) => one.trace_id)));
  const words = (id) => (to.has(id) && from.has(id) ? "↔ both" : to.has(id) ? "→ to" : "← from");
  const directions = new Map([...traces.keys()].map((id) => [id, words(id)]));
  const sorted = [...traces.values()].sort((one, other) => one.start_unix_ns - other.start_unix_ns);
  return element(
    "section",
    { className: "linked" },
    element(
      "div",
      { className: "heading" },
      element("h2", {}, `Linked with ${count(sorted.length, "trace")}`),
      element("p", {}, "a call with the batches that it shared and the relays that brought its events; those with the calls that they served"),
    ),
    table(sorted, directions),
  );
}

// Depth first by start. A span whose parent was not received counts as a root.
function ordered(spans) {
  const known = new Set(spans.map((span) => span.span_id));
  const children = new Map();
  for (const span of spans) {
    const parent = known.has(span.parent_span_id) ? span.parent_span_id : "";
    children.set(parent, [...(children.get(parent) ?? []), span]);
  }
  const rows = [];
  const pending = (children.get("") ?? []).map((span) => [0, span]).reverse();
  while (pending.length) {
    const [depth, span] = pending.pop();
    rows.push([depth, span]);
    for (const child of (children.get(span.span_id) ?? []).reverse()) pending.push([depth + 1, child]);
  }
  return rows;
}
