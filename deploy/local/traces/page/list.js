// The list of traces, newest first.

import { chip, clock, count, element, milliseconds, traceUrl } from "./dom.js";

export function list(told, query) {
  const searched = [...query].some(([, value]) => value !== "");
  const title = searched ? "Traces found" : "Latest calls";
  document.title = `${title} · Reelmesh`;
  const heading = element("div", { className: "heading" }, element("h1", {}, title), element("p", {}, hint(told, searched)));
  if (told.traces.length === 0) return element("section", { className: "notice" }, heading);
  return element("section", {}, heading, table(told.traces));
}

function hint(told, searched) {
  if (told.traces.length === 0) {
    return searched
      ? "Nothing that is kept here matches. Spans arrive about half a second after the answer, relays a little later."
      : "No call yet. Play a spin, or make play SPINS=200 PLAYERS=8, then load this page again.";
  }
  const shown = told.more ? `the newest ${told.traces.length}; narrow the search for others` : count(told.traces.length, "trace");
  return searched ? `${shown}, batches and relays too` : `${shown}; batches and relays are behind their links`;
}

// With `directions`, trace id to words, a column says how each is linked.
export function table(traces, directions = null) {
  const longest = Math.max(...traces.map((one) => one.duration_ms));
  const head = [...(directions ? ["Link"] : []), "Began", directions ? "Trace" : "Call", "Services", "Spans", "Errors", "Took"];
  return element(
    "div",
    { className: "scroll" },
    element(
      "table",
      { className: "traces" },
      element("thead", {}, element("tr", {}, ...head.map((text) => element("th", { scope: "col", className: text.toLowerCase() }, text)))),
      element("tbody", {}, ...traces.map((one) => row(one, longest, directions))),
    ),
  );
}

function row(one, longest, directions) {
  const bar = element("span", { className: "bar" });
  bar.style.width = `${Math.max(1, (100 * one.duration_ms) / Math.max(longest, 1e-6))}%`;
  return element(
    "tr",
    { className: one.error_count ? "error" : "" },
    directions && element("td", { className: "link" }, directions.get(one.trace_id)),
    element("td", {}, clock(one.start_unix_ns)),
    element("td", { className: "name" }, element("a", { href: traceUrl(one.trace_id) }, one.name)),
    element("td", {}, element("span", { className: "chips" }, ...one.services.map(chip))),
    element("td", { className: "number" }, String(one.span_count)),
    element("td", { className: "number" }, one.error_count ? element("b", { className: "bad" }, String(one.error_count)) : "–"),
    element("td", { className: "took" }, element("span", { className: "track" }, bar), milliseconds(one.duration_ms)),
  );
}
