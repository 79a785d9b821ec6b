// @ts-check
/** The drawings of the shipped games' symbols, in a square of 64: shapes of the classes that style.css paints.
 *
 * a, b: the symbol's colour and its shade; w: light; k: the outline's colour; n: no fill. `rope` is a thick line.
 */

/** @param {string} d */
const rope = (d) => `<path class="rope-edge" d="${d}"/><path class="rope" d="${d}"/>`;

/** @param {string} text */
const letter = (text) =>
  `<rect class="b" x="9" y="7" width="46" height="50" rx="9"/><rect class="w" x="13" y="11" width="38" height="42" rx="6"/>` +
  `<text class="letter" x="32" y="46" text-anchor="middle">${text}</text>`;

const around = (/** @type {number} */ n, /** @type {string} */ shape, from = 0) =>
  Array.from({ length: n }, (_, i) => `<g transform="rotate(${from + (360 * i) / n} 32 32)">${shape}</g>`).join("");

const flame = "M32 5 C38 17 51 23 51 40 A19 19 0 0 1 13 40 C13 31 19 27 21 18 C26 22 29 17 32 5 Z";
const drop = "M32 6 C40 20 52 28 52 41 A20 18 0 0 1 12 41 C12 28 24 20 32 6 Z";

/** Colour and drawing by the symbol's name. @type {Record<string, [string, string]>} */
export const GLYPHS = {
  // Harbour Lights
  LIGHTHOUSE: [
    "red",
    `<path class="glow" d="M32 14 L2 4 V26 Z M32 14 L62 4 V26 Z"/><path class="w" d="M25 22 H39 L44 58 H20 Z"/>` +
      `<path class="a" d="M24.2 28 H39.8 L41 37 H23 Z M22 45 H42 L43.2 53 H20.8 Z"/><rect class="gold" x="26" y="10" width="12" height="12"/>` +
      `<path class="a" d="M23 11 L32 3 L41 11 Z"/><path class="k" d="M14 58 H50"/>`,
  ],
  LANTERN: [
    "gold",
    `<path class="n" d="M21 17 A11 11 0 0 1 43 17"/><path class="b" d="M20 16 H44 L48 24 H16 Z"/><rect class="w" x="18" y="24" width="28" height="26" rx="3"/>` +
      `<path class="a" d="M32 27 C37 33 40 36 40 41 A8 8 0 0 1 24 41 C24 36 28 34 32 27 Z"/><rect class="b" x="15" y="50" width="34" height="8" rx="3"/>`,
  ],
  TRAWLER: [
    "blue",
    `<path class="n" d="M22 36 V8 L44 30"/><rect class="w" x="34" y="24" width="14" height="14" rx="2"/><rect class="sky" x="38" y="28" width="6" height="5"/>` +
      `<path class="a" d="M6 36 H58 L50 54 H14 Z"/><path class="w" d="M7.5 39 H56.5 L55 43 H9.2 Z"/><path class="n wave" d="M4 57 q5 -5 10 0 t10 0 t10 0 t10 0 t10 0 t8 0"/>`,
  ],
  CAPTAIN: [
    "navy",
    `<circle class="skin" cx="32" cy="36" r="17"/><path class="w" d="M15 38 C16 58 48 58 49 38 C44 46 40 42 32 42 C24 42 20 46 15 38 Z"/>` +
      `<circle class="dot" cx="26" cy="33" r="2.4"/><circle class="dot" cx="38" cy="33" r="2.4"/>` +
      `<path class="w" d="M10 20 C12 6 52 6 54 20 L48 24 H16 Z"/><path class="a" d="M14 22 H50 V28 C40 31 24 31 14 28 Z"/><circle class="gold" cx="32" cy="16" r="4.5"/>`,
  ],
  ANCHOR: [
    "steel",
    rope("M32 20 V54 M20 27 H44 M9 38 C11 52 20 55 32 55 C44 55 53 52 55 38") + `<circle class="n thick" cx="32" cy="13" r="6.5"/><path class="a" d="M3 42 L9 30 L16 41 Z M61 42 L55 30 L48 41 Z"/>`,
  ],
  COMPASS: [
    "gold",
    `<circle class="a" cx="32" cy="32" r="26"/><circle class="w" cx="32" cy="32" r="20"/><path class="red" d="M32 14 L38 32 H26 Z"/>` +
      `<path class="steel" d="M32 50 L26 32 H38 Z"/><circle class="gold" cx="32" cy="32" r="3.5"/><path class="n" d="M32 6 V10 M32 54 V58 M6 32 H10 M54 32 H58"/>`,
  ],
  BELL: [
    "gold",
    `<circle class="b" cx="32" cy="52" r="6"/><path class="a" d="M32 7 C47 7 47 24 48 34 C49 42 54 44 55 48 H9 C10 44 15 42 16 34 C17 24 17 7 32 7 Z"/>` +
      `<path class="shine" d="M23 16 C20 22 21 30 20 38"/><circle class="b" cx="32" cy="7" r="4"/>`,
  ],
  GULL: [
    "sky",
    `<path class="w" d="M3 22 C14 12 24 16 31 28 C38 16 50 12 61 22 C52 22 46 28 43 38 C40 48 24 48 21 38 C18 28 12 22 3 22 Z"/>` +
      `<path class="a" d="M3 22 C9 17 15 17 19 19 L14 24 C11 22 7 22 3 22 Z M61 22 C55 17 49 17 45 19 L50 24 C53 22 57 22 61 22 Z"/>` +
      `<circle class="w" cx="32" cy="32" r="9"/><circle class="dot" cx="28.5" cy="31" r="1.9"/><circle class="dot" cx="35.5" cy="31" r="1.9"/><path class="gold" d="M28 36 H36 L32 42 Z"/>`,
  ],
  CRAB: [
    "red",
    `<path class="n" d="M18 42 L6 46 M19 48 L9 55 M46 42 L58 46 M45 48 L55 55 M19 33 L12 25 M45 33 L52 25"/>` +
      `<path class="a" d="M4 17 A9 9 0 1 1 18 23 L13 18 L9 24 A9 9 0 0 1 4 17 Z M60 17 A9 9 0 1 0 46 23 L51 18 L55 24 A9 9 0 0 0 60 17 Z"/>` +
      `<path class="n" d="M26 32 V24 M38 32 V24"/><ellipse class="a" cx="32" cy="42" rx="18" ry="13"/><circle class="w" cx="26" cy="22" r="4"/><circle class="w" cx="38" cy="22" r="4"/>` +
      `<circle class="dot" cx="26" cy="22" r="1.8"/><circle class="dot" cx="38" cy="22" r="1.8"/><path class="n" d="M26 46 Q32 50 38 46"/>`,
  ],
  KNOT: ["brown", rope("M6 46 C22 46 46 34 46 24 A11 11 0 0 0 24 24 C24 38 44 46 58 46") + rope("M18 54 C24 50 28 46 30 43")],
  SHELL: [
    "pink",
    `<path class="a" d="M24 56 L26 50 C10 42 6 30 8 22 C11 8 24 7 32 7 C40 7 53 8 56 22 C58 30 54 42 38 50 L40 56 Z"/>` +
      `<path class="n" d="M28 50 L14 20 M30 50 L24 11 M34 50 L40 11 M36 50 L50 20"/>`,
  ],
  // Double Dawn
  SUNRISE: [
    "orange",
    `<g class="n thick">${around(1, "")}<path d="M32 5 V13 M10 14 L16 20 M54 14 L48 20 M2 36 H10 M54 36 H62"/></g><path class="a" d="M14 44 A18 18 0 0 1 50 44 Z"/>` +
      `<path class="gold" d="M21 44 A11 11 0 0 1 43 44 Z"/><path class="b" d="M4 44 H60 V48 H4 Z M12 52 H52 V56 H12 Z"/>`,
  ],
  ROOSTER: [
    "red",
    `<path class="a" d="M20 24 C16 14 24 12 26 15 C27 6 36 7 36 14 C42 10 46 16 42 24 Z"/><path class="w" d="M31 18 C46 18 46 32 46 36 C50 44 52 52 52 58 H14 C14 48 18 42 20 36 C16 26 22 18 31 18 Z"/>` +
      `<path class="gold" d="M21 28 L7 33 L21 38 Z"/><path class="a" d="M19 38 C14 42 16 50 20 50 C25 50 26 42 23 38 Z"/><circle class="dot" cx="28" cy="28" r="2.6"/><path class="n" d="M38 44 q4 4 8 0 M34 51 q5 4 10 0"/>`,
  ],
  SUNFLOWER: ["gold", around(12, `<ellipse class="a" cx="32" cy="12" rx="6" ry="10"/>`) + `<circle class="brown" cx="32" cy="32" r="14"/><path class="n thin" d="M24 26 L38 40 M40 26 L26 40 M22 32 H42 M32 22 V42"/>`],
  LARK: [
    "brown",
    `<path class="a" d="M4 50 L16 38 C16 24 26 15 38 15 C46 15 50 20 50 25 C50 42 40 52 26 52 L14 47 Z"/><path class="w" d="M50 25 C50 42 40 52 28 52 C36 46 42 36 40 26 Z"/>` +
      `<path class="b" d="M18 40 C22 28 32 28 36 32 C34 42 26 46 18 40 Z"/><path class="gold" d="M49 20 L61 24 L49 29 Z"/><circle class="dot" cx="43" cy="22" r="2.4"/><path class="n" d="M28 52 V59 M35 50 V58"/>`,
  ],
  DEWDROP: ["sky", `<path class="a" d="${drop}"/><path class="shine" d="M21 40 C21 34 25 28 29 23"/><circle class="light" cx="40" cy="46" r="3"/>`],
  CLOUD: ["steel", `<path class="w" d="M17 50 A13 13 0 0 1 16 24 A17 17 0 0 1 48 22 A14 14 0 0 1 48 50 Z"/><path class="a" d="M17 50 A13 13 0 0 1 5 40 C20 46 44 46 61 39 A14 14 0 0 1 48 50 Z"/>`],
  OWL: [
    "purple",
    `<path class="a" d="M12 8 C20 12 26 12 32 12 C38 12 44 12 52 8 C56 20 56 58 32 58 C8 58 8 20 12 8 Z"/><path class="b" d="M22 42 C28 38 36 38 42 42 C42 54 22 54 22 42 Z"/>` +
      `<circle class="w" cx="22" cy="27" r="9.5"/><circle class="w" cx="42" cy="27" r="9.5"/><circle class="dot" cx="23" cy="27" r="4"/><circle class="dot" cx="41" cy="27" r="4"/><path class="gold" d="M28 32 H36 L32 41 Z"/>`,
  ],
  // Ember Paths
  SPARK: ["gold", `<path class="a" d="M32 3 L39 25 L61 32 L39 39 L32 61 L25 39 L3 32 L25 25 Z"/><path class="w" d="M32 19 L36 28 L45 32 L36 36 L32 45 L28 36 L19 32 L28 28 Z"/>`],
  BLAZE: ["orange", `<path class="a" d="${flame}"/><path class="gold" d="M32 27 C36 35 43 38 43 46 A11 11 0 0 1 21 46 C21 39 29 37 32 27 Z"/><path class="w" d="M32 42 C35 46 37 48 37 51 A5 5 0 0 1 27 51 C27 48 30 46 32 42 Z"/>`],
  BEACON: [
    "red",
    `<path class="orange" d="M32 3 C36 11 45 15 45 25 H19 C19 19 24 16 25 11 C28 13 30 10 32 3 Z"/><path class="gold" d="M32 13 C35 18 38 20 38 25 H26 C26 21 30 19 32 13 Z"/>` +
      `<path class="a" d="M12 25 H52 L46 36 H18 Z"/><path class="stone" d="M22 36 H42 L47 59 H17 Z"/><path class="n" d="M20 47 H44 M32 36 V47 M26 47 V59 M39 47 V59"/>`,
  ],
  PHOENIX: [
    "orange",
    `<path class="a" d="M32 34 C22 32 8 24 4 8 C14 14 20 12 26 20 L32 14 L38 20 C44 12 50 14 60 8 C56 24 42 32 32 34 Z"/><path class="gold" d="M24 30 C26 44 22 50 16 58 C26 57 30 52 32 46 C34 52 38 57 48 58 C42 50 38 44 40 30 Z"/>` +
      `<path class="red" d="M24 24 C24 12 40 12 40 24 C40 36 36 42 32 42 C28 42 24 36 24 24 Z"/><path class="gold" d="M29 25 H35 L32 31 Z"/><circle class="light" cx="28.5" cy="21" r="1.8"/><circle class="light" cx="35.5" cy="21" r="1.8"/><path class="n" d="M32 14 V6 M28 15 L25 8 M36 15 L39 8"/>`,
  ],
  IDOL: [
    "gold",
    `<path class="a" d="M14 10 H50 L54 26 C54 46 44 58 32 58 C20 58 10 46 10 26 Z"/><path class="b" d="M14 10 H50 L52 18 H12 Z"/><path class="k" d="M18 26 L28 29 L26 34 H19 Z M46 26 L36 29 L38 34 H45 Z"/>` +
      `<path class="b" d="M30 30 H34 L36 41 H28 Z"/><path class="k" d="M22 46 H42 L38 52 H26 Z"/><circle class="red" cx="32" cy="14" r="3.5"/>`,
  ],
  TORCH: ["orange", `<path class="brown" d="M26 34 H38 L34 61 H30 Z"/><path class="steel" d="M21 30 H43 L40 38 H24 Z"/><path class="a" d="M32 2 C36 10 46 14 44 30 H20 C19 20 24 18 25 11 C29 13 31 9 32 2 Z"/><path class="gold" d="M32 15 C35 20 39 22 37 30 H27 C26 23 30 22 32 15 Z"/>`],
  COAL: ["dark", `<path class="a" d="M8 40 L16 20 L34 10 L52 22 L57 42 L42 56 L20 55 Z"/><path class="b" d="M34 10 L30 30 L8 40 L16 20 Z"/><path class="ember" d="M30 30 L44 34 L57 42 M44 34 L40 55 M30 30 L22 44"/>`],
  FLINT: ["steel", `<path class="a" d="M12 52 L22 14 L40 6 L54 30 L42 56 Z"/><path class="w" d="M22 14 L40 6 L36 28 Z"/><path class="b" d="M36 28 L54 30 L42 56 L12 52 Z"/>`],
  ASH: ["stone", `<path class="a" d="M4 54 C12 40 20 42 25 33 C31 24 39 32 43 39 C49 41 56 46 60 54 Z"/><path class="b" d="M4 54 C20 46 44 48 60 54 Z"/><path class="n thin" d="M20 24 l3 4 M34 14 l-3 5 M45 20 l2 5 M27 8 l1 4 M12 34 l2 3 M52 32 l-2 3"/>`],
  SMOKE: ["lilac", `<path class="a" d="M20 58 C8 54 12 42 22 43 C14 33 24 24 32 28 C28 18 38 8 47 14 C57 20 52 32 44 32 C54 36 52 48 43 48 C44 56 32 60 20 58 Z"/><path class="n" d="M26 51 C32 53 36 49 34 44 M34 36 C40 38 44 32 40 27"/>`],
  // Iron Vault
  WILD: ["purple", `<path class="gold" d="M32 2 L40 20 L60 22 L45 35 L50 55 L32 45 L14 55 L19 35 L4 22 L24 20 Z"/><rect class="a" x="3" y="25" width="58" height="18" rx="5"/><text class="word" x="32" y="39" text-anchor="middle">WILD</text>`],
  COIN: ["gold", `<circle class="b" cx="32" cy="34" r="26"/><circle class="a" cx="32" cy="31" r="26"/><circle class="n" cx="32" cy="31" r="19.5"/><path class="shine" d="M15 24 A19 19 0 0 1 26 14"/>`],
  VAULT: [
    "steel",
    `<rect class="b" x="5" y="5" width="54" height="54" rx="8"/><circle class="a" cx="32" cy="32" r="21"/><circle class="w" cx="32" cy="32" r="14"/>` +
      around(6, `<path class="gold" d="M30 32 V18 H34 V32 Z"/>`) + `<circle class="gold" cx="32" cy="32" r="5.5"/>`,
  ],
  GOLD: ["gold", `<path class="a" d="M22 14 H42 L48 32 H16 Z"/><path class="light-fill" d="M22 14 H42 L43.6 19 H20.4 Z"/><path class="a" d="M8 36 H27 L32 54 H2 Z M37 36 H56 L62 54 H32 Z"/><path class="light-fill" d="M8 36 H27 L28.4 41 H6.3 Z M37 36 H56 L57.6 41 H35.5 Z"/>`],
  CROWN: ["gold", `<path class="a" d="M9 48 L6 20 L20 31 L32 10 L44 31 L58 20 L55 48 Z"/><rect class="b" x="9" y="47" width="46" height="9" rx="3"/><circle class="red" cx="32" cy="38" r="4.5"/><circle class="sky" cx="19" cy="40" r="3"/><circle class="sky" cx="45" cy="40" r="3"/><circle class="a" cx="6" cy="17" r="4"/><circle class="a" cx="58" cy="17" r="4"/><circle class="a" cx="32" cy="8" r="4.5"/>`],
  KEY: ["teal", `<path class="a" fill-rule="evenodd" d="M20 6 A15 15 0 1 1 26 34.6 L26 34 L30 38 L30 58 H22 V54 H14 V47 H22 V44 H16 V38 H20 L20 34.8 A15 15 0 0 1 20 6 Z M23 13 A7.5 7.5 0 1 0 23 28 A7.5 7.5 0 0 0 23 13 Z" transform="rotate(-40 32 32) translate(9 0)"/>`],
  LOCK: ["orange", `<path class="n thick" d="M20 30 V20 A12 12 0 0 1 44 20 V30"/><rect class="a" x="11" y="28" width="42" height="30" rx="6"/><path class="k" d="M32 36 A5 5 0 0 1 35 45 L36 52 H28 L29 45 A5 5 0 0 1 32 36 Z"/>`],
  ACE: ["red", letter("A")],
  KING: ["blue", letter("K")],
  QUEEN: ["green", letter("Q")],
  // Coral Bloom
  PEARL: ["lilac", `<path class="pink" d="M6 34 C8 50 20 58 32 58 C44 58 56 50 58 34 C50 40 14 40 6 34 Z"/><path class="n" d="M20 40 L24 55 M32 41 V57 M44 40 L40 55"/><circle class="w" cx="32" cy="25" r="17"/><circle class="light" cx="26" cy="19" r="4"/><path class="a thin" d="M47 22 A17 17 0 0 1 22 39 C36 40 44 32 47 22 Z"/>`],
  SPRING: ["sky", `<path class="a" d="M30 56 C30 34 28 22 16 20 C8 19 5 26 8 32 C9 22 20 26 22 56 Z M34 56 C34 34 36 22 48 20 C56 19 59 26 56 32 C55 22 44 26 42 56 Z"/><path class="w" d="M28 56 C29 34 28 16 32 6 C36 16 35 34 36 56 Z"/><path class="stone" d="M8 52 H56 L50 61 H14 Z"/><circle class="light" cx="14" cy="42" r="3"/><circle class="light" cx="50" cy="42" r="3"/>`],
  SEAHORSE: [
    "orange",
    rope("M31 24 C46 32 46 44 34 50 C24 55 22 46 29 44") + `<path class="a" d="M8 22 L22 17 C24 8 40 4 45 15 C48 22 44 29 37 31 C30 33 26 28 24 25 L9 27 Z"/><path class="gold" d="M44 30 C53 28 57 36 52 42 L44 40 Z M33 8 L37 2 L40 8 Z"/><circle class="w" cx="32" cy="17" r="4"/><circle class="dot" cx="31" cy="17" r="1.9"/>`,
  ],
  STARFISH: ["coral", `<path class="a" d="M32 4 C36 4 38 18 41 22 C45 24 60 22 61 26 C62 31 49 36 47 41 C46 46 53 57 49 60 C45 62 36 51 32 51 C28 51 19 62 15 60 C11 57 18 46 17 41 C15 36 2 31 3 26 C4 22 19 24 23 22 C26 18 28 4 32 4 Z"/><g class="light-dots"><circle cx="32" cy="16" r="2"/><circle cx="20" cy="29" r="2"/><circle cx="44" cy="29" r="2"/><circle cx="25" cy="46" r="2"/><circle cx="39" cy="46" r="2"/><circle cx="32" cy="33" r="3"/></g>`],
  ANEMONE: ["magenta", rope("M20 46 C10 38 8 28 12 16") + rope("M44 46 C54 38 56 28 52 16") + rope("M26 44 C20 32 22 20 24 9") + rope("M38 44 C44 32 42 20 40 9") + `<path class="b" d="M12 44 C20 38 44 38 52 44 L47 59 H17 Z"/>`],
  URCHIN: ["purple", around(14, `<path class="b" d="M29 22 L32 2 L35 22 Z"/>`) + `<circle class="a" cx="32" cy="32" r="17"/><circle class="light" cx="26" cy="26" r="3.2"/>`],
  KELP: ["green", rope("M32 60 C26 48 38 40 31 28 C26 18 36 12 32 4") + `<path class="a" d="M30 46 C18 48 12 40 8 32 C20 30 30 34 30 46 Z M34 38 C46 40 52 32 56 24 C44 22 34 26 34 38 Z M30 26 C22 26 16 20 14 12 C24 12 31 16 30 26 Z"/>`],
  SNAIL: ["lime", `<path class="sand" d="M4 54 C6 44 14 46 20 46 L50 46 C52 36 50 30 54 24 C60 26 60 40 60 46 C60 52 56 56 50 56 H10 C6 56 4 56 4 54 Z"/><path class="n" d="M54 25 L51 15 M57 26 L60 16"/><circle class="a" cx="28" cy="32" r="20"/><path class="n" d="M28 32 A5 5 0 0 1 36 30 A9 9 0 0 1 22 40 A12 12 0 0 1 26 18 A14 14 0 0 1 42 30"/>`],
  // Sky Orchard
  BLOSSOM: ["pink", around(5, `<ellipse class="a" cx="32" cy="16" rx="11" ry="14"/>`) + `<circle class="gold" cx="32" cy="32" r="8"/>`],
  RING: ["sky", `<path class="gold" fill-rule="evenodd" d="M32 24 A18 18 0 1 1 31.9 24 Z M32 31 A11 11 0 1 0 32.1 31 Z"/><path class="a" d="M22 6 H42 L49 14 L32 30 L15 14 Z"/><path class="n thin" d="M15 14 H49 M26 14 L32 29 L38 14 L34 6 M26 14 L30 6"/>`],
  CHALICE: ["teal", `<path class="n thick" d="M15 15 C4 16 8 32 20 31 M49 15 C60 16 56 32 44 31"/><path class="a" d="M13 8 H51 C51 30 44 38 36 40 V50 H28 V40 C20 38 13 30 13 8 Z"/><rect class="b" x="18" y="50" width="28" height="8" rx="3"/><path class="shine" d="M20 14 C20 22 22 28 26 32"/>`],
  PLUM: ["purple", `<path class="green" d="M33 14 C38 2 52 4 56 8 C52 18 42 20 33 14 Z"/><path class="n" d="M32 18 C31 12 29 8 25 5"/><path class="a" d="M32 17 C46 10 57 22 56 36 C55 50 44 59 32 59 C20 59 9 50 8 36 C7 22 18 10 32 17 Z"/><path class="n thin" d="M32 17 C26 28 27 44 32 58"/><path class="shine" d="M16 32 C16 27 19 24 22 22"/>`],
  PEAR: ["lime", `<path class="n" d="M32 12 C32 8 34 5 38 3"/><path class="green" d="M34 11 C40 4 50 6 52 10 C48 16 40 16 34 11 Z"/><path class="a" d="M32 11 C41 11 41 22 44 29 C47 35 54 38 53 47 C52 56 42 60 32 60 C22 60 12 56 11 47 C10 38 17 35 20 29 C23 22 23 11 32 11 Z"/><path class="shine" d="M20 46 C19 41 23 37 26 33"/>`],
  FIG: ["magenta", `<path class="n" d="M32 12 V4"/><path class="b" d="M32 8 C36 18 56 26 56 42 C56 54 44 60 32 60 C20 60 8 54 8 42 C8 26 28 18 32 8 Z"/><path class="w" d="M32 22 C36 28 49 32 49 43 C49 51 41 55 32 55 C23 55 15 51 15 43 C15 32 28 28 32 22 Z"/><path class="coral" d="M32 31 C36 35 43 37 43 44 C43 49 38 51 32 51 C26 51 21 49 21 44 C21 37 28 35 32 31 Z"/><g class="light-dots"><circle cx="28" cy="42" r="1.6"/><circle cx="36" cy="42" r="1.6"/><circle cx="32" cy="47" r="1.6"/><circle cx="32" cy="38" r="1.6"/></g>`],
  GRAPE: ["blue", `<path class="n" d="M32 14 V5"/><path class="green" d="M34 10 C42 2 54 6 56 12 C48 18 40 16 34 10 Z"/><circle class="a" cx="19" cy="22" r="9"/><circle class="a" cx="45" cy="22" r="9"/><circle class="a" cx="32" cy="20" r="9"/><circle class="a" cx="25" cy="35" r="9"/><circle class="a" cx="39" cy="35" r="9"/><circle class="a" cx="32" cy="50" r="9"/><circle class="light" cx="29" cy="16" r="2"/><circle class="light" cx="22" cy="31" r="2"/><circle class="light" cx="29" cy="46" r="2"/>`],
};
