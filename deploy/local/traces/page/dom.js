// Elements from data. Text is set as text, never as markup: names and attributes are others' words.

export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

// A service's hue is one of the style sheet's: its place in the flow of a spin, or the last one.
const HUES = ["gateway", "session", "game", "wallet", "events"];

export function hue(service) {
  const place = HUES.indexOf(service);
  return `hue-${place < 0 ? HUES.length : place}`;
}

export function chip(service) {
  return element("span", { className: `chip ${hue(service)}` }, service);
}

export function traceUrl(traceId, spanId = "") {
  return `?trace_id=${encodeURIComponent(traceId)}${spanId && `#span-${encodeURIComponent(spanId)}`}`;
}

export function milliseconds(number) {
  const digits = number < 10 ? 2 : number < 100 ? 1 : 0;
  return `${number.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits })} ms`;
}

export function clock(unixNs) {
  const date = new Date(unixNs / 1e6);
  const text = date.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3 });
  return element("time", { dateTime: date.toISOString(), title: date.toISOString() }, text);
}

export function count(number, one, many = `${one}s`) {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}
