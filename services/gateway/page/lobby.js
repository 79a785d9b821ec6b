// @ts-check
/** What the games are, in words and pictures.
 * @typedef {import("./reelmesh.js").Game} Game
 */
import { element } from "./reels.js";
import { glyph, spoken } from "./symbols.js";

/** @param {Game} game what it is, in a few words */
export function kind(game) {
  const { display } = game;
  if (!display) return "published outcomes";
  const ways = game.rows ** game.reels;
  const wins = {
    LINES: `${game.lines} lines`,
    WAYS: `${ways} ways`,
    CLUSTERS: "clusters",
    ANYWHERE: "pays anywhere",
  }[display.evaluation];
  const features = [
    display.cascades && "cascades",
    display.awards_free_spins && "free spins",
    display.respins > 0 && "hold and win",
    game.offers_choice && "gamble",
  ].filter(Boolean);
  return [`${game.reels}×${game.rows}`, wins, ...features].join(" · ");
}

/** @param {Game} game */
export function summary(game) {
  const most = game.display ? ` · up to ${game.display.max_win_multiple.toLocaleString()}× the bet` : "";
  return `${kind(game)} · RTP ${percent(game.rtp_target)}${most}`;
}

/** @param {string} rtp a decimal */
const percent = (rtp) => `${(Number(rtp) * 100).toFixed(2)} %`;

/** Profiles of one game have its name, and are told apart by what they return. @param {Game} game @param {Game[]} games */
export function nameOf(game, games) {
  const alike = games.filter((one) => one.display_name === game.display_name).length > 1;
  return alike ? `${game.display_name} (${percent(game.rtp_target)})` : game.display_name;
}

/** @param {Game} game @param {string} name @param {(() => void) | null} play */
export function card(game, name, play) {
  const item = element("li", `card-game t-${game.game_id}`);
  const picture = element("div", "picture");
  for (const { symbol } of (game.display?.symbols ?? []).slice(0, 3)) {
    const tile = element("span", "tile");
    tile.innerHTML = glyph(symbol);
    picture.append(tile);
  }
  const text = element("div", "text");
  text.append(element("h2", "", name), element("p", "", kind(game)), element("p", "rtp", `RTP ${percent(game.rtp_target)}`));
  item.append(picture, text);
  if (play) {
    const button = element("button", "play", "Play");
    button.setAttribute("aria-label", `Play ${name} with play money`);
    button.addEventListener("click", play);
    item.append(button);
  }
  return item;
}

/** @param {HTMLElement} root @param {Game} game */
export function drawPays(root, game) {
  const display = game.display;
  root.replaceChildren();
  if (!display) return;
  const list = element("ul", "pays");
  for (const one of display.symbols) {
    const item = element("li");
    const tile = element("span", "tile");
    tile.innerHTML = glyph(one.symbol);
    const text = element("div");
    text.append(element("b", "", spoken(one.symbol)));
    if (one.kind !== "REGULAR") text.append(element("span", "kind", one.kind.toLowerCase() + (one.multiplier > 1 ? ` ×${one.multiplier}` : "")));
    const pays = one.pays.map(({ count, multiple }) => `${count}: ${multiple.toLocaleString()}×`).join("  ");
    if (pays) text.append(element("p", "", pays));
    item.append(tile, text);
    list.append(item);
  }
  const unit = `Multiples of one coin (the bet is ${display.coins} coins); a scatter's, of the bet.`;
  root.append(list, element("p", "small", unit));
}
