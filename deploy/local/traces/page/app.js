// One page, two views: a list of traces, or the trace that the address names. The address is all the state.

import { element } from "./dom.js";
import { list } from "./list.js";
import { openNamed, trace } from "./trace.js";

const TRACE_ID = /^[0-9a-f]{32}$/i;
const content = document.getElementById("content");
const form = document.getElementById("search");
const query = new URLSearchParams(location.search);

function fillForm() {
  for (const [name, value] of query) {
    if (name === "error") form.elements.error.checked = value === "true";
    else if (name === "round_id" || name === "trace_id") form.elements.id.value = value;
    else if (form.elements[name]) form.elements[name].value = value;
  }
}

function search(event) {
  event.preventDefault();
  const wanted = new URLSearchParams();
  for (const [name, text] of new FormData(form)) {
    const value = text.trim();
    if (value === "") continue;
    const parameter = name !== "id" ? name : TRACE_ID.test(value) ? "trace_id" : "round_id";
    wanted.set(parameter, value);
  }
  location.assign(`?${wanted}`);
}

function problem(title, text) {
  return element("section", { className: "notice", role: "alert" }, element("h1", {}, title), element("p", {}, text));
}

async function show() {
  const traceId = query.get("trace_id");
  const path = traceId ? `traces/${encodeURIComponent(traceId)}` : `traces${location.search}`;
  document.getElementById("json").href = path;
  let response;
  let told;
  try {
    response = await fetch(path);
    told = await response.json();
  } catch {
    content.replaceChildren(problem("Nothing answers", "Is make run still running?"));
    return;
  }
  if (response.status === 404) {
    content.replaceChildren(problem("Not kept here", `${told.error}. It may be older than what is kept, not sampled, or not here yet.`));
  } else if (!response.ok) {
    content.replaceChildren(problem("This cannot be searched for", told.error));
  } else {
    content.replaceChildren(traceId ? trace(told) : list(told, query));
    if (traceId) openNamed();
  }
}

form.addEventListener("submit", search);
fillForm();
show();
