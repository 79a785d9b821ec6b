// What an opened span shows: what it is, its attributes, events, and the ends of its links as hyperlinks.

import { chip, element, milliseconds, traceUrl } from "./dom.js";

const LINKS_SHOWN = 20;

export function details(span, began_ms, rounds) {
  const status = span.status_message ? `${span.status}: ${span.status_message}` : span.status;
  const facts = [
    ["kind", span.kind],
    ["status", status],
    ["began", `${milliseconds(began_ms)} after the trace`],
    ["span", span.span_id],
  ];
  return element(
    "div",
    { className: "inside" },
    pairs("Span", facts, rounds),
    pairs("Attributes", Object.entries(span.attributes), rounds),
    ...span.events.map((event) => pairs(`Event ${event.name}, ${milliseconds((event.time_unix_ns - span.start_unix_ns) / 1e6)} in`, Object.entries(event.attributes), rounds)),
    ends("Links to", span.links),
    ends("Linked from", span.linked_from),
  );
}

function pairs(title, entries, rounds) {
  if (entries.length === 0 && title === "Attributes") return null;
  const rows = entries.flatMap(([key, value]) => [element("dt", {}, key), element("dd", {}, shown(value, rounds))]);
  return element("section", {}, element("h3", {}, title), element("dl", {}, ...rows));
}

function shown(value, rounds) {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return rounds.has(value) ? element("a", { href: `?round_id=${encodeURIComponent(text)}` }, text) : text;
}

function ends(title, links) {
  if (links.length === 0) return null;
  const items = links.map(end);
  const shownAtOnce = element("ul", {}, ...items.slice(0, LINKS_SHOWN));
  const rest = items.slice(LINKS_SHOWN);
  const more = rest.length ? element("details", {}, element("summary", {}, `${rest.length} more`), element("ul", {}, ...rest)) : null;
  return element("section", { className: "ends" }, element("h3", {}, title), shownAtOnce, more);
}

function end(link) {
  if (link.name === null) {
    return element("li", {}, element("span", { className: "id" }, link.span_id), ` of trace `, element("span", { className: "id" }, link.trace_id), ", not kept here");
  }
  return element("li", {}, chip(link.service), element("a", { href: traceUrl(link.trace_id, link.span_id) }, link.name), element("span", { className: "id" }, link.trace_id));
}
