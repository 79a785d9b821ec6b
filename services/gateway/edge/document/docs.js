// Shows /openapi.json, and sends what is written into its forms. No library, nothing from elsewhere.
"use strict";

/** An element with attributes and children; a string is text, never markup. */
function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** The schema behind a reference. */
function resolve(schema, api) {
  return schema.$ref ? api.components.schemas[schema.$ref.split("/").pop()] : schema;
}

/** A value that the schema would take, to begin with. */
function example(schema, api) {
  const whole = resolve(schema, api);
  if (whole.enum) return whole.enum.includes("EUR") ? "EUR" : whole.enum[0];
  if (whole.format === "uuid") return crypto.randomUUID ? crypto.randomUUID() : "";
  if (whole.type === "integer") return 100;
  if (whole.type === "array") return [];
  if (whole.type === "object") {
    const names = whole.required || Object.keys(whole.properties);
    return Object.fromEntries(names.map((name) => [name, example(whole.properties[name], api)]));
  }
  return "";
}

/** What a schema says of itself, in a few words. */
function words(schema, api) {
  if (schema.anyOf) return schema.anyOf.map((one) => (one.type === "null" ? "null" : words(one, api))).join(" or ");
  if (schema.type === "array") return `list of ${words(schema.items, api)}`;
  const name = schema.$ref ? schema.$ref.split("/").pop() : "";
  const whole = resolve(schema, api);
  if (whole.enum && whole.enum.length < 12) return whole.enum.join(", ");
  return name || whole.format || whole.type || "any JSON";
}

function table(rows) {
  return element("table", {}, ...rows.map((row) => element("tr", {}, ...row.map((cell) => element("td", {}, cell)))));
}

function fieldsOf(schema, api) {
  const whole = resolve(schema, api);
  return Object.entries(whole.properties || {}).map(([name, field]) => [
    name, words(field, api), field.description || "",
  ]);
}

function credentialFor(operation) {
  const form = document.getElementById("credentials");
  for (const scheme of operation.security) {
    for (const name of Object.keys(scheme)) if (form[name].value) return form[name].value;
  }
  return "";
}

async function send(path, method, operation, form, output) {
  const query = new URLSearchParams();
  let target = path;
  for (const parameter of operation.parameters || []) {
    const value = form[parameter.name].value;
    if (parameter.in === "path") target = target.replace(`{${parameter.name}}`, encodeURIComponent(value));
    else if (value) for (const one of parameter.schema.type === "array" ? value.split(",") : [value]) query.append(parameter.name, one);
  }
  if ([...query].length) target += `?${query}`;
  const headers = {};
  const credential = credentialFor(operation);
  if (credential) headers.authorization = `Bearer ${credential}`;
  const options = { method: method.toUpperCase(), headers };
  if (form.body) options.body = form.body.value;
  output.textContent = "Sent.";
  try {
    const answer = await fetch(target, options);
    const body = await answer.json();
    output.textContent = `${answer.status} trace ${answer.headers.get("x-trace-id")}\n${JSON.stringify(body, null, 1)}`;
  } catch (error) {
    output.textContent = `No answer: ${error.message}`;
  }
}

function operationForm(path, method, operation, api) {
  const output = element("pre", { role: "status" });
  const form = element("form");
  for (const parameter of operation.parameters || []) {
    const input = element("input", { name: parameter.name, title: parameter.description });
    if (parameter.required) input.required = true;
    form.append(element("label", {}, `${parameter.name} `, input));
  }
  const content = operation.requestBody && operation.requestBody.content["application/json"];
  if (content) {
    const body = JSON.stringify(example(content.schema, api), null, 1);
    const area = element("textarea", { name: "body", rows: Math.min(14, body.split("\n").length + 1), "aria-label": "body", spellcheck: "false" });
    area.value = body;
    form.append(area);
  }
  form.append(element("button", {}, "Send"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(path, method, operation, form, output);
  });
  return [form, output];
}

function describe(path, method, operation, api) {
  const shown = element("details", { id: operation.operationId },
    element("summary", {}, element("span", { class: "method" }, method.toUpperCase()), element("code", {}, path), ` ${operation.summary}`));
  // Made when it is looked at: most never are.
  shown.addEventListener("toggle", () => {
    if (!shown.open || shown.childElementCount > 1) return;
    const content = operation.requestBody && operation.requestBody.content["application/json"];
    const answer = operation.responses["200"].content["application/json"].schema;
    const problems = Object.entries(operation.responses).filter(([status]) => status !== "200");
    shown.append(element("p", {}, operation.description), ...operationForm(path, method, operation, api));
    if (operation.parameters) shown.append(element("h3", {}, "Parameters"), table(operation.parameters.map((one) => [one.name, words(one.schema, api), one.description])));
    if (content) shown.append(element("h3", {}, "Body"), table(fieldsOf(content.schema, api)));
    shown.append(element("h3", {}, "Answer"), table(fieldsOf(answer, api)));
    shown.append(element("h3", {}, "Refusals"), table(problems.map(([status, one]) => [status, one.description])));
  });
  return shown;
}

async function main() {
  const api = await (await fetch("/openapi.json")).json();
  document.getElementById("about").textContent = api.info.description;
  const shown = [];
  for (const tag of api.tags) {
    const section = element("section", {}, element("h2", {}, `${tag.name} operations`), element("p", {}, tag.description));
    for (const [path, methods] of Object.entries(api.paths)) {
      for (const [method, operation] of Object.entries(methods)) {
        if (operation.tags[0] !== tag.name) continue;
        const one = describe(path, method, operation, api);
        shown.push([one, `${method} ${path} ${operation.operationId} ${operation.summary}`.toLowerCase()]);
        section.append(one);
      }
    }
    document.getElementById("operations").append(section);
  }
  document.getElementById("find").addEventListener("input", (event) => {
    for (const [one, text] of shown) one.hidden = !text.includes(event.target.value.toLowerCase());
  });
}

main();
