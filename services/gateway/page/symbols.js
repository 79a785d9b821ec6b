// @ts-check
import { GLYPHS } from "./glyphs.js";

const COLOURS = ["red", "blue", "green", "purple", "orange", "teal", "magenta", "brown"];

/** @param {string} name as people read it: "Sunflower" */
export const spoken = (name) => name.charAt(0) + name.slice(1).toLowerCase().replaceAll("_", " ");

/** A symbol as markup. One of a game that brought no drawing is its first letters on a shape of its own colour.
 * @param {string} name */
export function glyph(name) {
  const known = GLYPHS[name];
  const [colour, art] = known ?? [COLOURS[hash(name) % COLOURS.length], plain(name)];
  return `<svg class="glyph c-${colour}" viewBox="0 0 64 64" aria-hidden="true" focusable="false">${art}</svg>`;
}

/** @param {string} name */
function plain(name) {
  const corners = 3 + (hash(name) % 6);
  const points = Array.from({ length: corners }, (_, i) => {
    const angle = (2 * Math.PI * i) / corners - Math.PI / 2;
    return `${(32 + 29 * Math.cos(angle)).toFixed(1)},${(33 + 29 * Math.sin(angle)).toFixed(1)}`;
  });
  // Symbol names are upper case letters, digits and underscores: nothing in them is markup.
  const letters = name.replace(/[^A-Z0-9]/g, "").slice(0, 2);
  return `<polygon class="a" points="${points.join(" ")}"/><text class="word" x="32" y="39" text-anchor="middle">${letters}</text>`;
}

/** @param {string} text */
function hash(text) {
  let value = 7;
  for (const character of text) value = (value * 31 + (character.codePointAt(0) ?? 0)) % 1_000_003;
  return value;
}
