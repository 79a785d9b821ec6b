// @ts-check
/** How fast things are shown: normal, turbo, skipped, or without motion where the player's system asks for that. */
export class Pace {
  constructor() {
    this.turbo = false;
    this.skipped = false;
    this.motion = matchMedia("(prefers-reduced-motion: reduce)");
    /** @type {Set<() => void>} */
    this.endings = new Set();
  }

  /** Nothing may move. */
  get still() {
    return this.motion.matches || this.skipped;
  }

  /** A new round: nothing is skipped yet. */
  begin() {
    this.skipped = false;
  }

  /** Shows the end of the round at once. */
  skip() {
    this.skipped = true;
    for (const end of [...this.endings]) end();
  }

  /** @param {number} ms @returns {Promise<void>} */
  wait(ms) {
    if (this.skipped || ms <= 0) return Promise.resolve();
    return new Promise((resolve) => {
      const end = () => {
        clearTimeout(timer);
        this.endings.delete(end);
        resolve();
      };
      const timer = setTimeout(end, this.turbo ? ms / 3 : ms);
      this.endings.add(end);
    });
  }

  /** Ends when the movement has, or when it is skipped, or cannot be seen.
   * @param {HTMLElement} element @param {Keyframe[]} frames @param {number} ms @param {string} easing */
  async animate(element, frames, ms, easing) {
    if (this.still) return;
    const animation = element.animate(frames, { duration: this.turbo ? ms / 2.5 : ms, easing, fill: "backwards" });
    const end = () => animation.finish();
    this.endings.add(end);
    await animation.finished.catch(() => {});
    this.endings.delete(end);
  }
}
